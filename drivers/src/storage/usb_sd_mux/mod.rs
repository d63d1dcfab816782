//! Linux Automation's USB-SD-Mux, classic and FAST: a card reader with a switch between its card and
//! a DUT's slot.
//!
//! ```text
//! UsbSdMux ──► expander: which lines, in which order
//!                 │
//!                 ▼
//!              bridge: I2C by commands to the card reader
//!                 │
//!                 ▼
//!              scsi: /dev/sgN          and the card itself: /dev/sdX, of the same device on USB
//! ```
//!
//! Sources: linux-automation's `usbsdmux` for the lines and their order, Microchip's "I2C over USB"
//! for the commands.

mod bridge;
mod expander;
mod scsi;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use self::bridge::Chip;
use self::expander::Model;
use self::scsi::{Kernel, Scsi};
use super::block::{self, BlockStorage, Mux, Node, Settings, Setup, Side};
use super::reader::{self, Slot};
use crate::number::seconds;
use crate::registry::Build;
use crate::usb::{Bus, Claim, Kind, Wanted};
use crate::{DriverError, Result, blocking};

/// `hilt.storage.UsbSdMux`: the mux with the card in it.
pub type UsbSdMux = BlockStorage<Switch>;

/// The mux, without the card.
#[derive(Debug)]
pub struct Switch(Arc<Host>);

/// Where the mux is looked for.
#[derive(Debug)]
struct Host {
    wanted: Wanted,
    bus: Arc<Bus>,
    scsi: Box<dyn Scsi>,
    /// `/dev`, and the kernel's list of readers that take commands.
    dev: PathBuf,
    generic: PathBuf,
    /// How long it may be unplugged.
    patience: Duration,
}

/// The `config:` block of a mux.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial number, as in `/dev/usb-sd-mux/id-*`; without it there must be only one mux.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to it, as in `1-1.4`.
    #[serde(default)]
    path: Option<String>,
    /// The size of the card in bytes; any other is not the card.
    size: Option<u64>,
    /// How long the mux may be unplugged, and the card may take to appear, in seconds.
    #[serde(default = "block::default_timeout", deserialize_with = "seconds")]
    timeout: Duration,
    /// Whether what was written is read back.
    #[serde(default = "block::yes")]
    verify: bool,
    /// Whether zeros are passed over. Only for cards that are blank.
    #[serde(default)]
    skip_zeros: bool,
    /// Whether an image that begins like compressed data is decompressed.
    #[serde(default = "block::yes")]
    decompress: bool,
}

/// How long the card has no power on its way, until all of it is gone.
const POWER_DOWN: Duration = Duration::from_secs(1);

/// How long a step of the switching may take; each is a few commands.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// How soon to look again for a mux that is not there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const KIND: Kind = Kind {
    name: "USB-SD-Mux",
    // The numbers are those of every reader with this chip.
    is_like: |device| {
        matches!(&*device.manufacturer, "Pengutronix" | "Linux Automation GmbH")
            && device.product_name.starts_with("usb-sd-mux")
    },
    claim: Claim::Nothing,
};

impl Build for UsbSdMux {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let host = |wanted, patience| Host {
            wanted,
            bus: Bus::host(),
            scsi: Box::new(Kernel),
            dev: "/dev".into(),
            generic: "/sys/class/scsi_generic".into(),
            patience,
        };
        Ok(with(host, config))
    }
}

/// The mux of a host.
fn with(host: impl FnOnce(Wanted, Duration) -> Host, config: Config) -> UsbSdMux {
    let Config { serial, path, size, timeout, verify, skip_zeros, decompress } = config;
    let host = host(Wanted { kind: KIND, serial, path }, timeout);
    let sync_limit = block::default_sync_limit();
    let settings = Settings { verify, skip_zeros, decompress, sync_limit, leeway: Duration::ZERO };
    let setup = Setup { device: None, size, serial: None, patience: timeout, settings };
    BlockStorage::new(Switch(Arc::new(host)), setup)
}

impl Mux for Switch {
    /// Switches unless it is there: a card that moves loses its power for a second.
    async fn switch(&self, side: Side) -> Result<()> {
        let now = self.appeared(|chip, model| expander::side(&chip, model)).await?;
        if now == Some(side) {
            tracing::debug!("the card is there already: {side}");
            return Ok(());
        }
        self.step(|chip, model| expander::disconnect(&chip, model)).await?;
        sleep(POWER_DOWN).await;
        match side {
            Side::Off => {}
            Side::Host | Side::Dut => {
                self.step(move |chip, model| expander::connect(&chip, model, side)).await?;
            }
        }
        tracing::info!("{side}");
        Ok(())
    }

    async fn node(&self) -> Result<Node> {
        let host = Arc::clone(&self.0);
        blocking::run("find the card of the mux", STEP_LIMIT, move || host.card()).await
    }
}

impl Switch {
    /// As [`step`](Self::step), once the mux is there.
    async fn appeared<T: Send + 'static>(
        &self,
        work: impl Fn(Chip<'_>, Model) -> Result<T> + Copy + Send + 'static,
    ) -> Result<T> {
        let deadline = Instant::now() + self.0.patience;
        loop {
            match self.step(work).await {
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    tracing::debug!("waiting for the {}: {error}", self.0.wanted);
                }
                outcome => return outcome,
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Does something with the chip that switches, wherever the mux is plugged in now.
    async fn step<T: Send + 'static>(
        &self,
        work: impl FnOnce(Chip<'_>, Model) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let host = Arc::clone(&self.0);
        blocking::run(&format!("switch the {}", self.0.wanted), STEP_LIMIT, move || {
            let (_, slot, model) = host.slot()?;
            let reader = host.reader(&slot)?;
            work(Chip { scsi: &*host.scsi, reader: &reader, address: model.address() }, model)
        })
        .await
    }
}

impl Host {
    /// The slot of the mux, what it is plugged in with, and which mux it is.
    fn slot(&self) -> Result<(PathBuf, Slot, Model)> {
        let device = self.bus.find(&self.wanted)?;
        let slots = reader::slots(&device);
        let known = |slot: Slot| Model::of(&slot.model()).map(|model| (slot, model));
        let models: Vec<_> = slots.iter().map(|slot| format!("'{}'", slot.model())).collect();
        match slots.into_iter().find_map(known) {
            Some((slot, model)) => Ok((device, slot, model)),
            None if models.is_empty() => Err(DriverError::NotFound(format!(
                "the {} has no card reader yet; if it stays so, the kernel lacks usb-storage",
                self.wanted
            ))),
            None => Err(DriverError::Unsupported(format!(
                "the {} says that it is {}; known are 'sdmux ...' and 'sdFST ...'",
                self.wanted,
                models.join(", ")
            ))),
        }
    }

    /// What takes commands to the reader.
    fn reader(&self, slot: &Slot) -> Result<PathBuf> {
        match slot.generic(&self.dev) {
            Some(reader) => Ok(reader),
            None if !Path::exists(&self.generic) => Err(DriverError::Unsupported(
                "the kernel's module sg, which takes commands to the mux, is not loaded: run \
                 `modprobe sg`, and put `sg` into a file in /etc/modules-load.d"
                    .into(),
            )),
            None => Err(DriverError::NotFound(format!(
                "the {} has no device for commands yet",
                self.wanted
            ))),
        }
    }

    fn card(&self) -> Result<Node> {
        let (device, slot, _) = self.slot()?;
        let card = slot.disk(&self.dev);
        let missing = || DriverError::NotFound(format!("the {} has no disk yet", self.wanted));
        Ok(Node { path: card.ok_or_else(missing)?, below: Some(device) })
    }
}
