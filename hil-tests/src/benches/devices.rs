//! The emulated devices of a bench, and what a case does to them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;

use super::description::{self, Place};
use crate::bench::{Bench, POLL};
use crate::emulator::{
    Device, Ftdi, FuseWithBadBlock, Loop, Mood, Plugged, Reader, Shown, Testbed, Ykush,
    map_with_bad_block, plug,
};
use crate::peers::serial::Echo;
use crate::process::patiently;

/// The ports that the devices are plugged in to.
const HUB: u8 = 0;
const CONSOLE: u8 = 1;

/// A YKUSH.
#[derive(Debug)]
pub(crate) struct Hub {
    device: Arc<Device<Ykush>>,
    plugged: Mutex<Option<Cable>>,
    /// None: it is plugged in to a kernel of its own.
    testbed: Option<Testbed>,
}

/// What a device is plugged in with. Dropping it pulls it out.
#[derive(Debug)]
enum Cable {
    Kernel { _plugged: Plugged },
    Testbed { _shown: Shown },
}

impl Hub {
    pub(super) fn new(place: Place, bench: &Bench, serial: &str) -> Result<Self> {
        let testbed = match place {
            Place::Sim => Some(Testbed::new(bench.path("testbed"))?),
            Place::Kernel | Place::Lab => None,
        };
        let device = Arc::new(Device::new(Ykush::new(serial)));
        let hub = Self { device, plugged: Mutex::default(), testbed };
        hub.plug_in()?;
        Ok(hub)
    }

    /// The board itself.
    pub(super) const fn device(&self) -> &Arc<Device<Ykush>> {
        &self.device
    }

    /// Where it is shown to the exporter, if it is not plugged in to a kernel.
    pub(super) const fn testbed(&self) -> Option<&Testbed> {
        self.testbed.as_ref()
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) {
        self.device.with(|hub| hub.answer(mood));
    }

    /// Waits until it has got another report.
    pub(crate) async fn hears(&self, before: usize) -> Result<()> {
        let heard = async {
            while self.heard() == before {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the hub to be asked", heard).await
    }

    /// How many reports it has got so far.
    pub(crate) fn heard(&self) -> usize {
        self.device.with(|hub| hub.heard())
    }

    /// The ports of the board are like this.
    pub(crate) fn must_have(&self, expected: [bool; 3]) -> Result<()> {
        let ports = *self.device.with(|hub| hub.ports()).borrow();
        ensure!(ports == expected, "the ports should be {expected:?} and are {ports:?}");
        Ok(())
    }

    /// Plugs it in.
    pub(crate) fn plug_in(&self) -> Result<()> {
        let cable = match &self.testbed {
            Some(testbed) => Cable::Testbed { _shown: testbed.plug(HUB + 1, &self.device)? },
            None => Cable::Kernel { _plugged: plug(HUB, &self.device)? },
        };
        *self.plugged.lock().unwrap_or_else(PoisonError::into_inner) = Some(cable);
        Ok(())
    }

    /// Pulls it out. It keeps its state, as a board with a supply of its own does.
    pub(crate) async fn unplug(&self) -> Result<()> {
        drop(self.plugged.lock().unwrap_or_else(PoisonError::into_inner).take());
        match self.testbed {
            Some(_) => Ok(()),
            None => is_gone(HUB).await,
        }
    }
}

/// A serial port.
#[derive(Debug)]
pub(crate) enum Console {
    Adapter(Adapter),
    /// A terminal of which what is sent comes back.
    Terminal(Echo),
}

/// An adapter on USB.
#[derive(Debug)]
pub(crate) struct Adapter {
    device: Arc<Device<Ftdi>>,
    plugged: Mutex<Option<Plugged>>,
}

impl Console {
    const PORT: &str = "/dev/ttyUSB0";

    /// A terminal.
    pub(super) fn terminal() -> Result<Self> {
        Ok(Self::Terminal(Echo::start()?))
    }

    /// An adapter, and what the host sends through it.
    pub(super) async fn adapter(
        serial: &str,
    ) -> Result<(Self, Arc<Device<Ftdi>>, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (ftdi, sent) = Ftdi::new(serial);
        let device = Arc::new(Device::new(ftdi));
        let adapter = Adapter { device: Arc::clone(&device), plugged: Mutex::default() };
        let console = Self::Adapter(adapter);
        console.plug_in()?;
        let there = async {
            while !Path::new(Self::PORT).exists() {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the kernel to find the adapter", there).await?;
        Ok((console, device, sent))
    }

    /// The path of the port.
    pub(super) fn port(&self) -> &str {
        match self {
            Self::Adapter(_) => Self::PORT,
            Self::Terminal(terminal) => terminal.port(),
        }
    }

    /// Plugs it in.
    pub(crate) fn plug_in(&self) -> Result<()> {
        let adapter = self.on_usb()?;
        let plugged = plug(CONSOLE, &adapter.device)?;
        *adapter.plugged.lock().unwrap_or_else(PoisonError::into_inner) = Some(plugged);
        Ok(())
    }

    /// Pulls it out.
    pub(crate) async fn unplug(&self) -> Result<()> {
        drop(self.on_usb()?.plugged.lock().unwrap_or_else(PoisonError::into_inner).take());
        is_gone(CONSOLE).await
    }

    fn on_usb(&self) -> Result<&Adapter> {
        match self {
            Self::Adapter(adapter) => Some(adapter),
            Self::Terminal(_) => None,
        }
        .context("a terminal has no plug")
    }
}

/// The kernel has noticed that a port of the virtual host controller is empty: only then is it free
/// for something else.
async fn is_gone(port: u8) -> Result<()> {
    let empty = async {
        loop {
            let status = fs::read_to_string("/sys/devices/platform/vhci_hcd.0/status")?;
            // Speed, port, and a state that is 4 if the port is free.
            let prefix = format!("hs  {port:04} 004 ");
            if status.lines().any(|line| line.starts_with(&prefix)) {
                return std::io::Result::Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    patiently("the kernel to notice the unplugging", empty).await?.context("asking the kernel")
}

/// A card that is with the host.
#[derive(Debug)]
pub(crate) struct Card {
    file: PathBuf,
    size: u64,
    slot: Slot,
    /// Where the card is seen with a bad block, as a link.
    worn: PathBuf,
    view: Mutex<Option<FuseWithBadBlock>>,
}

/// What a card is in.
#[derive(Debug)]
enum Slot {
    Reader(Reader),
    Loop(Loop),
}

impl Card {
    /// A blank card.
    pub(super) fn new(place: Place, bench: &Bench, card: &description::Card) -> Result<Self> {
        let file = bench.path("card");
        File::create(&file).and_then(|file| file.set_len(card.size)).context("making a card")?;
        let slot = match place {
            Place::Kernel => {
                let reader = Reader::new(&card.serial)?;
                reader.insert(&file, false)?;
                reader.plug_in()?;
                Slot::Reader(reader)
            }
            Place::Sim | Place::Lab => Slot::Loop(Loop::new(&file)?),
        };
        let worn = bench.path("worn");
        Ok(Self { file, size: card.size, slot, worn, view: Mutex::default() })
    }

    /// The device that it is for the host.
    pub(super) fn device(&self) -> &str {
        match &self.slot {
            // Where the kernel puts the first disk.
            Slot::Reader(_) => "/dev/sda",
            Slot::Loop(disk) => disk.device(),
        }
    }

    /// What is on it.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// In bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// What is on it, from its start.
    pub(crate) fn content(&self, length: usize) -> Result<Vec<u8>> {
        if let Slot::Loop(disk) = &self.slot {
            // What was written may not have reached the file yet.
            File::open(disk.device()).and_then(|disk| disk.sync_all()).context("syncing")?;
        }
        let mut content = fs::read(&self.file).context("reading the card")?;
        content.truncate(length);
        Ok(content)
    }

    /// Waits until somebody has begun to write an image, whose start may be written last.
    pub(crate) async fn receives(&self, image: &[u8]) -> Result<()> {
        const START: usize = 2 << 20;
        const END: usize = START + 4096;
        let begun = async {
            while self.content(END)?[START..] != image[START..END] {
                tokio::time::sleep(POLL / 10).await;
            }
            Ok(())
        };
        patiently("the image to be written", begun).await?
    }

    /// Pulls the reader out.
    pub(crate) fn pull(&self) -> Result<()> {
        self.reader()?.pull()
    }

    /// Plugs the reader in again.
    pub(crate) fn plug_in(&self) -> Result<()> {
        self.reader()?.plug_in()
    }

    fn reader(&self) -> Result<&Reader> {
        match &self.slot {
            Slot::Reader(reader) => Some(reader),
            Slot::Loop(_) => None,
        }
        .context("a loop device is not in a reader")
    }

    /// The block at this offset can't be written any more by who has the card as `worn`.
    pub(crate) async fn wear_out(&self, at: u64) -> Result<()> {
        let link = |device: &str| symlink(device, &self.worn).context("linking to the worn card");
        match &self.slot {
            Slot::Reader(_) => {
                let mapped = map_with_bad_block(&self.file, self.size, at)?;
                link(&mapped.display().to_string())
            }
            Slot::Loop(_) => {
                let mount = self.file.with_extension("view");
                let view = FuseWithBadBlock::new(&self.file, &mount, self.size, at).await?;
                link(view.device()?)?;
                *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
                Ok(())
            }
        }
    }

    /// Puts it in with its lock on, or off.
    pub(crate) fn lock(&self, locked: bool) -> Result<()> {
        self.reader()?.insert(&self.file, locked)
    }
}
