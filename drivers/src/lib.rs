//! Hilt's device drivers: everything that touches hardware, and nothing that knows who asks.
//!
//! A [`Driver`] is one device of a bench, or a group of them. It says which [methods](Method) it has
//! and in which [`Shape`] each is called: as a plain [call](Driver::call), as a sequence of
//! [items](Driver::items), or as a [byte stream](Driver::connect). It is built once from its
//! `config:` block without touching the device, [opened](Driver::open) and [closed](Driver::close)
//! around every use of the bench, and fails with [categories](DriverError) that a caller can act on.
//!
//! | room | what it is for |
//! |---|---|
//! | [`driver`], [`args`], [`error`] | the trait, and what goes in and comes out |
//! | [`stream`] | byte streams: chunks from and to a device |
//! | [`usb`] | devices on USB: found, opened once for all, opened again when they come back |
//! | [`discover`] | what is plugged into a host, and how it is configured |
//! | [`http`], [`secret`] | requests to small web servers; what is never printed |
//! | [`registry`] | every driver there is, one line each |
//! | [`tree`] | the drivers of one exporter: built, found by id, opened and closed |
//! | [`blocking`] | where work may block a thread; everywhere else, readiness is waited for |
//! | [`power`], [`serial`], [`storage`], [`network`], [`shell`], [`composite`] | the devices |
//! | [`dutlink`], [`simulated`] | boards that are several devices at once |
//!
//! # Add a driver
//!
//! One file and one line. The file has the device, its settings, and what it can do: the trait of
//! its kind, such as [`Power`](power::Power), or [`Driver`] itself if it is the first of its kind.
//! Here is the whole of a relay that the kernel shows as a file:
//!
//! ```
//! use std::path::PathBuf;
//! use std::time::Duration;
//!
//! use drivers::power::Power;
//! use drivers::registry::Build;
//! use drivers::{DriverError, Result, blocking};
//! use serde::Deserialize;
//!
//! /// How long the kernel may take to switch.
//! const SWITCH_LIMIT: Duration = Duration::from_secs(1);
//!
//! /// `acme.Relay`.
//! #[derive(Debug)]
//! pub struct Relay(Config);
//!
//! /// The `config:` block of a relay.
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! pub struct Config {
//!     /// The file that switches the relay.
//!     value: PathBuf,
//! }
//!
//! impl Build for Relay {
//!     type Config = Config;
//!
//!     fn build(config: Config) -> Result<Self> {
//!         Ok(Self(config))
//!     }
//! }
//!
//! impl Power for Relay {
//!     async fn on(&self) -> Result<()> {
//!         self.switch("1").await
//!     }
//!
//!     async fn off(&self) -> Result<()> {
//!         self.switch("0").await
//!     }
//! }
//!
//! impl Relay {
//!     async fn switch(&self, value: &'static str) -> Result<()> {
//!         let path = self.0.value.clone();
//!         blocking::run("switch the relay", SWITCH_LIMIT, move || {
//!             std::fs::write(&path, value)
//!                 .map_err(|error| DriverError::io(format!("write {}", path.display()), error))
//!         })
//!         .await
//!     }
//! }
//! #
//! # let folder = tempfile::tempdir().unwrap();
//! # let value = folder.path().join("value");
//! # let relay = Relay::build(Config { value: value.clone() }).unwrap();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(relay.on()).unwrap();
//! # assert_eq!(std::fs::read_to_string(value).unwrap(), "1");
//! ```
//!
//! And the line in the [registry], with the names that a configuration may use for it:
//!
//! ```text
//! power::<Relay>(&["acme.Relay"]),
//! ```

pub mod args;
pub mod blocking;
pub mod composite;
pub mod discover;
pub mod driver;
pub mod dutlink;
pub mod encoding;
pub mod error;
pub mod http;
pub mod network;
pub mod number;
pub mod power;
mod readiness;
pub mod registry;
pub mod secret;
pub mod serial;
pub mod shell;
pub mod simulated;
pub mod storage;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;
pub mod usb;

pub use args::Args;
pub use driver::{Call, Driver, Method, Resources, Shape};
pub use encoding::Encoding;
pub use error::{DriverError, Result};
pub use stream::{ByteStream, ChunkReader, ChunkWriter, Sink, Source};
pub use tree::Tree;
