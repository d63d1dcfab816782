//! An exporter's configuration: the YAML file, and everything that can be wrong with it.
//!
//! ```text
//! bytes ─ yaml ─► nodes with positions ─ decode ─► Config ─ devices ─► built once, for its mistakes
//!                        └──────────── mistakes, each with its place ────────────┘
//! ```
//!
//! Files are those of Jumpstarter (`jumpstarter.dev/v1alpha1`, `kind: ExporterConfig`): every key,
//! alias, default and coercion of the reference, read with its YAML 1.1 rules, so that an existing
//! file means the same. What differs is told instead of passed over: keys that nobody reads are
//! warnings, keys given twice are errors, and a driver whose node is malformed, which the reference
//! silently turns into an empty group, is an error.

mod decode;
mod devices;
pub mod discover;
mod environment;
pub mod export;
mod exposure;
pub mod hooks;
mod host;
mod load;
mod mistake;
mod nearest;
mod refusal;
pub mod watch;
mod way;
mod yaml;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::environment::Environment;
pub use self::export::DriverNode;
pub use self::hooks::Hooks;
pub use self::load::{Loaded, load, load_to_run, parse};
pub use self::mistake::{Mistake, Mistakes, Position, Severity};
use crate::secret::Secret;

/// One exporter: who it is, what it exports, and what it does around every lease.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `metadata`: who it is.
    pub metadata: Metadata,
    /// `endpoint`: the controller's `host:port`. Only needed to be scheduled by one.
    pub endpoint: Option<String>,
    /// `tls`: how to trust the controller and its routers.
    pub tls: Tls,
    /// `token`: what the exporter shows the controller.
    pub token: Option<Secret>,
    /// `grpcOptions`: gRPC core channel arguments, such as `grpc.keepalive_time_ms`.
    pub grpc_options: BTreeMap<String, GrpcOption>,
    /// `description`: help text for the bench.
    pub description: Option<String>,
    /// `motd`: what clients are greeted with.
    pub motd: Option<String>,
    /// `export`: the devices, in the order of the file.
    pub export: Vec<(String, DriverNode)>,
    /// `hooks`: scripts around the life of a lease and of the exporter.
    pub hooks: Hooks,
    /// `failureDetection`: when to stop starting again.
    pub failure_detection: FailureDetection,
    /// `exitOnLeaseEnd`: whether to stop after the first lease. Default: no.
    pub exit_on_lease_end: bool,
    /// `labels`: what the lab of this host schedules by. A remote controller keeps its own labels.
    pub labels: BTreeMap<String, String>,
    /// `allowWritableConfig`: run even where others may change what hooks do. Default: no.
    pub allow_writable_config: bool,
    /// `python`: interpreter for `.py` hooks and for drivers in Python. Default: `python3` on PATH.
    pub python: Option<String>,
}

/// `metadata`: who the exporter is. Missing keys come from `JMP_NAMESPACE` and `JMP_NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The controller's namespace; none if the file says `null`.
    pub namespace: Option<String>,
    /// Its name there.
    pub name: String,
}

/// `tls`: how to trust the controller and its routers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `ca`: certificates in PEM, decoded from base64. None: the system's roots.
    pub ca: Option<String>,
    /// `insecure`: trust whoever answers. The connection is encrypted all the same. Default: no.
    pub insecure: bool,
}

/// The value of a gRPC core channel argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcOption {
    /// A number.
    Integer(i64),
    /// A text, even one of digits.
    Text(String),
}

/// `failureDetection`: when an exporter that fails again and again stops being started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureDetection {
    /// `maxRapidFailures`: how many rapid failures in a row are enough. Default: 5.
    pub max_rapid_failures: u32,
    /// `rapidFailureWindow`: a failure sooner than this after the start is rapid. In seconds;
    /// default: 60.
    pub rapid_failure_window: Duration,
}

impl Default for FailureDetection {
    fn default() -> Self {
        Self { max_rapid_failures: 5, rapid_failure_window: Duration::from_secs(60) }
    }
}
