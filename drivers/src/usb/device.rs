//! Devices that are shared, and opened again when they come back.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{Claim, Connection, Libusb, Open};
use super::listing::{Plugged, Wanted, plugged};
use crate::{DriverError, Result, blocking};

/// How soon to look again for a device that is not there. Nothing in sysfs tells of a change, and
/// what udev announces does not reach a container.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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

#[derive(Debug)]
struct Opened {
    /// What was opened: something else may be plugged into the same socket by now.
    device: Plugged,
    claim: Claim,
    connection: Box<dyn Connection>,
}

/// One user's view of a device.
#[derive(Debug)]
pub(crate) struct Device {
    bus: Arc<Bus>,
    wanted: Arc<Wanted>,
    /// How long a call waits for the device to come back.
    patience: Duration,
    /// Keeps the device open between two calls.
    slot: Arc<Mutex<Option<Arc<Slot>>>>,
}

impl Bus {
    /// The devices of this host, for everybody in this process.
    pub(crate) fn host() -> Arc<Self> {
        static HOST: OnceLock<Arc<Bus>> = OnceLock::new();
        let host = || Arc::new(Self::new("/sys/bus/usb/devices".into(), Box::new(Libusb)));
        Arc::clone(HOST.get_or_init(host))
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

    fn slot(&self, path: &str) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = slots.get(path).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot::default());
        slots.insert(path.to_owned(), Arc::downgrade(&slot));
        slot
    }

    /// Finds the device, opens it if it isn't, and does `work` with it. Blocks.
    fn attempt<T>(
        &self,
        wanted: &Wanted,
        kept: &Mutex<Option<Arc<Slot>>>,
        work: impl FnOnce(&mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        let device = wanted.choose(plugged(&self.list)?)?;
        let slot = self.slot(&device.path);
        *lock(kept) = Some(Arc::clone(&slot));
        let mut place = lock(&slot);
        // What was plugged in there before has to be closed before this is opened.
        let still_open = place
            .take()
            .filter(|opened| opened.device == device && opened.claim == wanted.kind.claim);
        let mut opened = match still_open {
            Some(opened) => opened,
            None => {
                tracing::debug!("opening {device}");
                let claim = wanted.kind.claim;
                Opened { connection: self.open.open(&device, claim)?, device, claim }
            }
        };
        let outcome = work(&mut *opened.connection);
        // After a failure nobody knows what is still under way: it is opened anew the next time.
        if outcome.is_ok() {
            *place = Some(opened);
        }
        outcome
    }
}

impl Device {
    /// A device that need not be there yet.
    pub(crate) fn new(bus: Arc<Bus>, wanted: Wanted, patience: Duration) -> Self {
        Self { bus, wanted: Arc::new(wanted), patience, slot: Arc::default() }
    }

    /// Does `work` with the device, within `limit` once it is there. If it is not, or is unplugged
    /// meanwhile, `work` begins again as soon as it is back.
    pub(crate) async fn run<T, W>(&self, limit: Duration, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: Fn(&mut dyn Connection) -> Result<T> + Clone + Send + 'static,
    {
        let deadline = Instant::now() + self.patience;
        loop {
            let (bus, wanted) = (Arc::clone(&self.bus), Arc::clone(&self.wanted));
            let (kept, work) = (Arc::clone(&self.slot), work.clone());
            let attempt = move || bus.attempt(&wanted, &kept, work);
            match blocking::run(&format!("use {}", self.wanted), limit, attempt).await {
                Err(error) if is_away(&error) && Instant::now() < deadline => {
                    tracing::debug!("waiting for {}: {error}", self.wanted);
                }
                outcome => return outcome,
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// As [`Bus::find`].
    pub(crate) async fn find(&self, limit: Duration) -> Result<PathBuf> {
        let (bus, wanted) = (Arc::clone(&self.bus), Arc::clone(&self.wanted));
        blocking::run(&format!("find {}", self.wanted), limit, move || bus.find(&wanted)).await
    }

    /// Closes the device, unless others have a use for it.
    pub(crate) fn release(&self) {
        if let Some(slot) = lock(&self.slot).take() {
            blocking::discard(slot);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether an error means that the device is not there, not yet or not any more.
fn is_away(error: &DriverError) -> bool {
    error.may_pass() || matches!(error, DriverError::Disconnected(_))
}

/// What a panic of somebody else left behind is closed and opened again anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
