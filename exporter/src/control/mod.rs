//! How people and programs of this host speak with a running exporter.
//!
//! Each exporter listens on a Unix socket in its state directory, which only its owner may enter,
//! and speaks HTTP with JSON there:
//!
//! | request | what it does |
//! |---|---|
//! | `GET /v1/status` | says what the bench is doing, and why: a [`BenchStatus`] |
//! | `POST /v1/reload` | reads the configuration again; 422 with the mistakes if it can't be used |
//! | `POST /v1/release` | ends a quarantine; 409 if there is none |
//! | `POST /v1/down` | ends the exporter for good, with its `down` hooks |
//!
//! Whatever is refused has a body with one field, `error`.

mod client;
mod server;

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::client::{Client, ControlError};
pub use self::server::{Desk, serve};
use crate::lease::overview::QuarantineOverview;

/// The name of the socket in a state directory.
const SOCKET: &str = "control.sock";

/// What a bench is doing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchStatus {
    /// The exporter's name.
    pub exporter: String,
    /// Its process.
    pub pid: u32,
    /// The protocol's word for what it is doing.
    pub status: String,
    /// Why, for people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// Who has the bench.
    pub lease: Option<LeaseStatus>,
    /// Why the bench is out of service, if it is.
    pub quarantine: Option<QuarantineOverview>,
    /// How many leases in a row have failed.
    pub failures: u32,
}

/// Who has a bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The lease's name.
    pub name: String,
    /// Who holds it; empty where nobody says.
    pub client: String,
}

/// A body that says why not.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    error: String,
}

/// A path to the socket of a state directory that is never too long for a socket's address. It leads
/// there for as long as `directory` is open.
fn socket_in(directory: &std::fs::File) -> std::path::PathBuf {
    use std::os::fd::AsRawFd as _;
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(SOCKET)
}
