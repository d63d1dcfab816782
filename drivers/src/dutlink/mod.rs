//! DUT Link: a board that is a power switch, a storage mux and a serial adapter at once.
//!
//! ```text
//! power ────┐
//!           ├──► Board: requests to the vendor's interface, one at a time
//! storage ──┘
//! console ─────► the terminal that the same board is, too
//! ```
//!
//! Source: the board's firmware, `jumpstarter-dev/dutlink-firmware`. A lease that begins or ends
//! switches nothing.

mod board;
mod console;
mod power;
mod storage;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use self::board::Board;
use self::console::Console;
use self::power::Supply;
use self::storage::Switch;
use crate::driver::Driver;
use crate::number::{seconds, whole};
use crate::power::PowerDriver;
use crate::registry::{Build as _, BuildGroup};
use crate::serial::PySerial;
use crate::storage::block::{self, BlockStorage, Settings, Setup};
use crate::usb::Bus;
use crate::{DriverError, Result};

/// `jumpstarter_driver_dutlink.driver.Dutlink`: a group of `power`, `storage` and `console`.
#[derive(Debug)]
pub struct Dutlink;

/// The `config:` block of a board.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial number; without it there must be only one board.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to the board, as in `1-1.4`. Not in the reference.
    #[serde(default)]
    path: Option<String>,
    /// How long the board may take for a request, in seconds. It does nothing else while it works off
    /// a sequence for power.
    #[serde(default = "default_timeout", rename = "timeout_s", deserialize_with = "seconds")]
    timeout: Duration,
    /// Where the storage is on the host, which is whatever is plugged into the board.
    storage_device: PathBuf,
    /// How long the storage may take to appear on the host, in seconds.
    #[serde(default = "block::default_timeout", deserialize_with = "seconds")]
    storage_timeout: Duration,
    /// How long the storage is left alone when it is written, in seconds. The reference's default
    /// is 6.
    #[serde(default, deserialize_with = "seconds")]
    storage_leeway: Duration,
    /// How long the storage may take to store what it has been sent, in seconds.
    #[serde(default = "block::default_sync_limit", deserialize_with = "seconds")]
    storage_fsync_timeout: Duration,
    /// A serial port in place of the board's own.
    #[serde(default)]
    alternate_console: Option<String>,
    /// In bits per second.
    #[serde(default = "default_baudrate", deserialize_with = "whole")]
    baudrate: NonZeroU32,
    /// The size of the storage in bytes; any other is not the storage. Neither this nor what follows
    /// is in the reference.
    size: Option<u64>,
    /// Whether what was written is read back.
    #[serde(default = "block::yes")]
    verify: bool,
    /// Whether zeros are passed over. Only for storages that are blank.
    #[serde(default)]
    skip_zeros: bool,
    /// Whether an image that begins like compressed data is decompressed.
    #[serde(default = "block::yes")]
    decompress: bool,
}

const fn default_timeout() -> Duration {
    Duration::from_secs(20)
}

const fn default_baudrate() -> NonZeroU32 {
    NonZeroU32::new(115_200).expect("115200 is not zero")
}

impl BuildGroup for Dutlink {
    type Config = Config;

    fn build(config: Config) -> Result<Vec<(&'static str, Arc<dyn Driver>)>> {
        with(Bus::host(), "/dev".into(), config)
    }
}

/// The board of a host.
fn with(
    bus: Arc<Bus>,
    dev: PathBuf,
    config: Config,
) -> Result<Vec<(&'static str, Arc<dyn Driver>)>> {
    let board = Arc::new(Board::new(bus, config.serial, config.path, config.timeout));
    let settings = Settings {
        verify: config.verify,
        skip_zeros: config.skip_zeros,
        decompress: config.decompress,
        sync_limit: config.storage_fsync_timeout,
        leeway: config.storage_leeway,
    };
    let setup = Setup {
        device: Some(config.storage_device),
        size: config.size,
        serial: None,
        patience: config.storage_timeout,
        settings,
    };
    let console: Arc<dyn Driver> = match config.alternate_console {
        Some(port) => Arc::new(alternate(&port, config.baudrate)?),
        None => Arc::new(Console::new(Arc::clone(&board), dev, config.baudrate)?),
    };
    Ok(vec![
        ("power", Arc::new(PowerDriver(Supply::new(Arc::clone(&board))))),
        ("storage", Arc::new(BlockStorage::new(Switch::new(board), setup))),
        ("console", console),
    ])
}

/// The port may be the DUT's own, which is there only while that has power: it is waited for when it
/// is used. The reference switches the DUT on and off to see it.
fn alternate(port: &str, baudrate: NonZeroU32) -> Result<PySerial> {
    serial(port, baudrate, false)
}

/// A serial port with the usual settings.
fn serial(port: &str, baudrate: NonZeroU32, check_present: bool) -> Result<PySerial> {
    let config = json!({"url": port, "baudrate": baudrate, "check_present": check_present});
    let config = serde_json::from_value(config)
        .map_err(|error| DriverError::InvalidArgument(format!("{port}: {error}")))?;
    PySerial::build(config)
}
