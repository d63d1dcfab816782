//! A card between two slots: a mux connects it to the host's reader, to the DUT, or to nobody.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;

/// Who has the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Host,
    Dut,
    Nobody,
}

/// How a card breaks that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// It becomes as small as this, in sectors.
    Shrinks(u32),
    /// It can only be read from now on, as cards do that are worn out.
    Locks,
    /// It takes what comes after this sector, and keeps nothing of it: it is smaller than it says.
    IsCounterfeit(u64),
}

/// A card, which is a file, and the mux around it.
#[derive(Debug)]
pub(crate) struct MuxedCard {
    file: File,
    sectors: u32,
    defect: Mutex<Option<Defect>>,
    /// Whether it was written since it has the defect.
    is_broken: AtomicBool,
    side: watch::Sender<Side>,
    /// The mux takes commands, and does not move.
    is_stuck: AtomicBool,
    /// Data are on their way from the host to the card.
    is_written: AtomicBool,
    /// What was done to it that a card may not survive.
    abuse: Mutex<Vec<String>>,
}

/// The bytes of a sector.
pub(crate) const SECTOR: u64 = 512;

impl MuxedCard {
    /// The card in `path`, with the DUT as a mux has it that was just plugged in.
    pub(crate) fn new(path: &Path, size: u64) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.context("making a card")?;
        file.set_len(size).context("making a card")?;
        let sectors = u32::try_from(size / SECTOR).context("a card has less than 2 TB")?;
        let side = watch::channel(Side::Dut).0;
        Ok(Self {
            file,
            sectors,
            defect: Mutex::default(),
            is_broken: AtomicBool::default(),
            side,
            is_stuck: AtomicBool::default(),
            is_written: AtomicBool::default(),
            abuse: Mutex::default(),
        })
    }

    /// Its size.
    pub(crate) fn sectors(&self) -> u32 {
        match self.defect() {
            Some(Defect::Shrinks(sectors)) if self.is_broken.load(Ordering::Relaxed) => sectors,
            Some(Defect::Shrinks(_) | Defect::Locks | Defect::IsCounterfeit(_)) | None => {
                self.sectors
            }
        }
    }

    /// Whether nothing can be written to it any more.
    pub(crate) fn is_locked(&self) -> bool {
        self.defect() == Some(Defect::Locks) && self.is_broken.load(Ordering::Relaxed)
    }

    /// From now on it breaks like this as soon as somebody writes to it, or is new.
    pub(crate) fn break_when_written(&self, defect: Option<Defect>) {
        self.is_broken.store(false, Ordering::Relaxed);
        *self.defect.lock().unwrap_or_else(PoisonError::into_inner) = defect;
    }

    fn defect(&self) -> Option<Defect> {
        *self.defect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has it, and will have.
    pub(crate) fn sides(&self) -> watch::Receiver<Side> {
        self.side.subscribe()
    }

    /// Who has it now.
    pub(crate) fn side(&self) -> Side {
        *self.side.borrow()
    }

    /// What the mux does.
    pub(crate) fn move_to(&self, side: Side) {
        if self.is_stuck.load(Ordering::Relaxed) {
            return;
        }
        let moved = self.side.send_if_modified(|now| std::mem::replace(now, side) != side);
        if moved && self.is_written.load(Ordering::Relaxed) {
            self.abused(format!("it was moved to {side:?} while it was written"));
        }
    }

    /// From now on the mux moves nothing, or moves again.
    pub(crate) fn get_stuck(&self, stuck: bool) {
        self.is_stuck.store(stuck, Ordering::Relaxed);
    }

    /// Data begin to flow from the host to the card, or end.
    pub(crate) fn is_written(&self, written: bool) {
        self.is_written.store(written, Ordering::Relaxed);
    }

    /// Something happened that a card may not survive.
    pub(crate) fn abused(&self, how: impl Into<String>) {
        self.abuse.lock().unwrap_or_else(PoisonError::into_inner).push(how.into());
    }

    /// Nothing of the kind has happened.
    pub(crate) fn was_treated_well(&self) -> Result<()> {
        let abuse = self.abuse.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(abuse.is_empty(), "the card was abused: {}", abuse.join("; "));
        Ok(())
    }

    pub(crate) fn read(&self, sector: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length];
        self.file.read_exact_at(&mut data, sector * SECTOR)?;
        Ok(data)
    }

    pub(crate) fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        self.is_broken.store(true, Ordering::Relaxed);
        match self.defect() {
            Some(Defect::IsCounterfeit(end)) if sector >= end => Ok(()),
            Some(Defect::Shrinks(_) | Defect::Locks | Defect::IsCounterfeit(_)) | None => {
                self.file.write_all_at(data, sector * SECTOR)
            }
        }
    }
}
