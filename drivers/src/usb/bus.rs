//! A host's devices, each of which is open once in this process.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::connection::{Claim, Connection, Libusb, Open};
use super::listing::{Plugged, Wanted, plugged};
use crate::{DriverError, Result};

/// The devices of a host.
#[derive(Debug)]
pub(crate) struct Bus {
    /// The kernel's list.
    list: PathBuf,
    open: Box<dyn Open>,
    /// By path; a device is open as long as somebody has a use for it.
    slots: Mutex<HashMap<String, Weak<Slot>>>,
}

/// The place of one device; locked while somebody speaks with it.
type Slot = Mutex<Option<Opened>>;

/// A device that is open.
#[derive(Debug)]
pub(super) struct Opened {
    /// What was opened: something else may be plugged into the same socket by now.
    pub(super) device: Plugged,
    claim: Claim,
    pub(super) connection: Box<dyn Connection>,
    /// The serial number that it told when it was asked.
    pub(super) told: Option<String>,
}

/// Keeps a device open. The last one closes it while it has the slot locked, so that whoever opens it
/// next waits for that.
#[derive(Debug, Clone)]
pub(super) struct Hold(Arc<Slot>);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut place = lock(&self.0);
        if Arc::strong_count(&self.0) == 1 {
            *place = None;
        }
    }
}

impl Bus {
    /// The devices of this host, for everybody in this process.
    pub(crate) fn host() -> Arc<Self> {
        static HOST: OnceLock<Arc<Bus>> = OnceLock::new();
        Arc::clone(HOST.get_or_init(|| Arc::new(Self::at("/sys/bus/usb/devices".into()))))
    }

    /// The devices of a list, opened by libusb.
    pub(crate) fn at(list: PathBuf) -> Self {
        Self::new(list, Box::new(Libusb))
    }

    /// The devices of a list, and a way to open them.
    pub(crate) fn new(list: PathBuf, open: Box<dyn Open>) -> Self {
        Self { list, open, slots: Mutex::default() }
    }

    /// Where a device is plugged in: its directory in `/sys`, without links. Blocks.
    ///
    /// # Errors
    ///
    /// It is not there, or it may be any of several.
    pub(crate) fn find(&self, wanted: &Wanted) -> Result<PathBuf> {
        let device = wanted.choose_only(plugged(&self.list)?)?;
        let directory = self.list.join(&device.path);
        let failed = |error| DriverError::io(format!("find {device} in /sys"), error);
        fs::canonicalize(directory).map_err(failed)
    }

    /// The place of the device with this path.
    pub(super) fn slot(&self, path: &str) -> Hold {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = slots.get(path).and_then(Weak::upgrade) {
            return Hold(slot);
        }
        let slot = Arc::new(Slot::default());
        slots.insert(path.to_owned(), Arc::downgrade(&slot));
        Hold(slot)
    }

    /// The kernel's list: a directory for each device and each of its interfaces.
    pub(crate) fn list(&self) -> &Path {
        &self.list
    }

    /// Everything that is plugged in. Blocks.
    pub(crate) fn plugged(&self) -> Result<Vec<Plugged>> {
        plugged(&self.list)
    }

    /// Asks a device that is plugged in, which is left open to whoever has it open. Blocks.
    pub(crate) fn ask<T>(
        &self,
        device: &Plugged,
        work: impl FnOnce(&mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        let slot = self.slot(&device.path);
        self.with(device.clone(), Claim::Nothing, &slot, |opened| work(&mut *opened.connection))
    }

    /// Opens a device if it isn't, and does `work` with it. Blocks.
    pub(super) fn with<T>(
        &self,
        device: Plugged,
        claim: Claim,
        Hold(slot): &Hold,
        work: impl FnOnce(&mut Opened) -> Result<T>,
    ) -> Result<T> {
        let mut place = lock(slot);
        // What was plugged in there before has to be closed before this is opened.
        let still_open =
            place.take().filter(|opened| opened.device == device && opened.claim == claim);
        let mut opened = match still_open {
            Some(opened) => opened,
            None => {
                tracing::debug!("opening {device}");
                let connection = self.open.open(&device, claim)?;
                Opened { device, claim, connection, told: None }
            }
        };
        let outcome = work(&mut opened);
        // After a failure nobody knows what is still under way: it is opened anew the next time.
        if outcome.is_ok() {
            *place = Some(opened);
        }
        outcome
    }
}

/// What a panic of somebody else left behind is closed and opened again anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
