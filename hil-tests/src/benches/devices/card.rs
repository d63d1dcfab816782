//! Cards, in a reader, as a loop device, or behind a mux.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;

use super::dutlink::DutLink;
use super::host::{Host, OnUsb};
use crate::bench::{Bench, POLL};
use crate::benches::description::{self, Holder, Place};
use crate::emulator::{
    Defect, Expander, FuseWithBadBlock, Generation, Loop, MassStorage, MuxedCard, Reader, SdWire,
    Side, Slot as ScsiSlot, Worn, map_worn,
};
use crate::process::patiently;

/// A card.
#[derive(Debug)]
pub(crate) struct Card {
    file: PathBuf,
    size: u64,
    slot: Slot,
    /// Where the card is seen as a worn one, as a link.
    worn: PathBuf,
    view: Mutex<Option<FuseWithBadBlock>>,
}

/// What a card is in.
#[derive(Debug)]
enum Slot {
    Reader(Reader),
    Loop(Loop),
    SdWire { card: Arc<MuxedCard>, chip: OnUsb<SdWire>, reader: OnUsb<MassStorage> },
    UsbSdMux { card: Arc<MuxedCard>, reader: OnUsb<MassStorage> },
    DutLink(DutLink),
}

impl Card {
    /// A blank card.
    pub(in crate::benches) async fn new(
        place: Place,
        host: &Arc<Host>,
        bench: &Bench,
        name: &str,
        card: &description::Card,
    ) -> Result<Self> {
        let file = bench.path(&format!("card-{name}"));
        let blank = || File::create(&file)?.set_len(card.size);
        let slot = match (card.holder, place) {
            (Holder::Reader, Place::Kernel) => {
                blank().context("making a card")?;
                let reader = Reader::new(&card.serial)?;
                reader.insert(&file, false)?;
                reader.plug_in()?;
                Slot::Reader(reader)
            }
            (Holder::Reader, Place::Sim | Place::Lab) => {
                blank().context("making a card")?;
                Slot::Loop(Loop::new(&file)?)
            }
            (Holder::Sdwire, _) => {
                let muxed = Arc::new(MuxedCard::new(&file, card.size)?);
                sdwire(host, &card.serial, muxed).await?
            }
            (Holder::Dutlink, _) => {
                let muxed = Arc::new(MuxedCard::new(&file, card.size)?);
                Slot::DutLink(DutLink::new(host, &card.serial, muxed).await?)
            }
            (Holder::UsbSdMux, _) => {
                let muxed = Arc::new(MuxedCard::new(&file, card.size)?);
                usb_sd_mux(host, 6, &card.serial, muxed, Generation::Classic).await?
            }
            (Holder::UsbSdMuxFast, _) => {
                let muxed = Arc::new(MuxedCard::new(&file, card.size)?);
                usb_sd_mux(host, 7, &card.serial, muxed, Generation::Fast).await?
            }
        };
        let worn = bench.path("worn");
        Ok(Self { file, size: card.size, slot, worn, view: Mutex::default() })
    }

    /// The device that it is for the host, unless a mux finds it by itself.
    pub(in crate::benches) fn device(&self) -> &str {
        match &self.slot {
            // Where the kernel puts the first disk.
            Slot::Reader(_) | Slot::DutLink(_) => "/dev/sda",
            Slot::Loop(disk) => disk.device(),
            Slot::SdWire { .. } | Slot::UsbSdMux { .. } => "",
        }
    }

    /// What is on it.
    pub(in crate::benches) fn file(&self) -> &Path {
        &self.file
    }

    /// Who has it, and will have.
    pub(in crate::benches) fn sides(&self) -> watch::Receiver<Side> {
        match self.muxed() {
            Ok(card) => card.sides(),
            // Nothing takes it from anybody.
            Err(_) => watch::channel(Side::Dut).1,
        }
    }

    /// What the same device gives power to.
    pub(in crate::benches) fn power(&self) -> Option<watch::Receiver<bool>> {
        match &self.slot {
            Slot::DutLink(board) => Some(board.power()),
            Slot::Reader(_) | Slot::Loop(_) | Slot::SdWire { .. } | Slot::UsbSdMux { .. } => None,
        }
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

    /// Waits until a part of an image is on it that is larger than [`WELL_BEGUN`]. How it begins is no
    /// sign: that may be written last.
    pub(crate) async fn receives(&self, image: &[u8]) -> Result<()> {
        let file = File::open(&self.file).context("opening the card")?;
        let wanted = &image[WELL_BEGUN..WELL_BEGUN + 4096];
        let mut block = vec![0; wanted.len()];
        let begun = async {
            loop {
                file.read_exact_at(&mut block, WELL_BEGUN as u64).context("reading the card")?;
                if block == wanted {
                    return Ok(());
                }
                tokio::time::sleep(POLL / 10).await;
            }
        };
        patiently("the image to be written", begun).await?
    }
}

/// How much of an image is written before it is certainly under way, in bytes.
const WELL_BEGUN: usize = 4 << 20;

/// What a case does to a card that is in a reader.
impl Card {
    /// Pulls the reader out.
    pub(crate) fn pull(&self) -> Result<()> {
        self.reader()?.pull()
    }

    /// Plugs the reader in again.
    pub(crate) fn plug_in(&self) -> Result<()> {
        self.reader()?.plug_in()
    }

    /// Takes the kernel's own switch away of the port that the reader is plugged in to.
    pub(crate) fn hide_switch_of_port(&self) -> Result<()> {
        self.reader()?.hide_switch_of_port()
    }

    fn reader(&self) -> Result<&Reader> {
        match &self.slot {
            Slot::Reader(reader) => Some(reader),
            Slot::Loop(_) | Slot::SdWire { .. } | Slot::UsbSdMux { .. } | Slot::DutLink(_) => None,
        }
        .context("the card is not in a reader alone")
    }

    /// From now on it is as worn as this for who has it as `worn`.
    pub(crate) async fn wear_out(&self, worn: Worn) -> Result<()> {
        let link = |device: &str| symlink(device, &self.worn).context("linking to the worn card");
        match &self.slot {
            Slot::Reader(_) | Slot::SdWire { .. } | Slot::UsbSdMux { .. } | Slot::DutLink(_) => {
                let mapped = map_worn(&self.file, self.size, worn)?;
                link(&mapped.display().to_string())
            }
            Slot::Loop(_) => {
                let mount = self.file.with_extension("view");
                let view = FuseWithBadBlock::new(&self.file, &mount, self.size, worn).await?;
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

/// What a case does to a card that is behind a mux.
impl Card {
    /// Somebody has it, whatever anybody says.
    pub(crate) fn must_be_with(&self, side: Side) -> Result<()> {
        let now = self.side()?;
        ensure!(now == side, "the card should be with {side:?}, and is with {now:?}");
        Ok(())
    }

    /// Who has it.
    pub(crate) fn side(&self) -> Result<Side> {
        Ok(self.muxed()?.side())
    }

    /// Nothing was done to it that a card may not survive.
    pub(crate) fn was_treated_well(&self) -> Result<()> {
        self.muxed()?.was_treated_well()
    }

    /// From now on the mux takes every command and switches nothing, or it switches again.
    pub(crate) fn get_stuck(&self, stuck: bool) -> Result<()> {
        self.muxed()?.get_stuck(stuck);
        Ok(())
    }

    /// From now on the card breaks like this as soon as somebody writes to it, or is new.
    pub(crate) fn break_when_written(&self, defect: Option<Defect>) -> Result<()> {
        self.muxed()?.break_when_written(defect);
        Ok(())
    }

    /// Pulls the mux out, with its reader.
    pub(crate) async fn unplug(&self) -> Result<()> {
        match &self.slot {
            Slot::SdWire { chip, reader, .. } => {
                reader.unplug().await?;
                chip.unplug().await
            }
            Slot::UsbSdMux { reader, .. } => reader.unplug().await,
            Slot::DutLink(board) => board.unplug().await,
            Slot::Reader(_) | Slot::Loop(_) => anyhow::bail!("the card is not behind a mux"),
        }
    }

    /// Plugs the mux in again.
    pub(crate) fn replug(&self) -> Result<()> {
        match &self.slot {
            Slot::SdWire { chip, reader, .. } => chip.plug_in().and(reader.plug_in()),
            Slot::UsbSdMux { reader, .. } => reader.plug_in(),
            Slot::DutLink(board) => board.plug_in(),
            Slot::Reader(_) | Slot::Loop(_) => anyhow::bail!("the card is not behind a mux"),
        }
    }

    fn muxed(&self) -> Result<&MuxedCard> {
        match &self.slot {
            Slot::SdWire { card, .. } | Slot::UsbSdMux { card, .. } => Some(&**card),
            Slot::DutLink(board) => Some(&*board.stick),
            Slot::Reader(_) | Slot::Loop(_) => None,
        }
        .context("the card is not behind a mux")
    }
}

/// The chip and, in the port beside it, the reader.
async fn sdwire(host: &Arc<Host>, serial: &str, card: Arc<MuxedCard>) -> Result<Slot> {
    let slot = ScsiSlot::new(Arc::clone(&card), ("Generic", "Ultra HS-SD/MMC"), None);
    // SMSC's reader, which has no name of its own on an SDWire.
    let reader = MassStorage::new(
        READER_OF_SDWIRE,
        ["Generic", "Ultra Fast Media Reader", &format!("{serial}-reader")],
        slot,
    );
    let chip = OnUsb::new(host, 4, SdWire::new(serial, Arc::clone(&card)))?;
    let reader = OnUsb::new(host, 5, reader)?;
    chip.is_there().await?;
    reader.is_there().await?;
    Ok(Slot::SdWire { card, chip, reader })
}

async fn usb_sd_mux(
    host: &Arc<Host>,
    port: u8,
    serial: &str,
    card: Arc<MuxedCard>,
    generation: Generation,
) -> Result<Slot> {
    let slot = ScsiSlot::new(
        Arc::clone(&card),
        ("LinuxAut", generation.model()),
        Some(Expander::new(generation)),
    );
    let strings = ["Linux Automation GmbH", "usb-sd-mux_rev2", serial];
    let reader = OnUsb::new(host, port, MassStorage::new(READER_OF_MUX, strings, slot))?;
    reader.is_there().await?;
    Ok(Slot::UsbSdMux { card, reader })
}

/// Microchip's readers, by the numbers of vendor and product.
const READER_OF_SDWIRE: (u16, u16) = (0x0424, 0x4050);
const READER_OF_MUX: (u16, u16) = (0x0424, 0x4041);
