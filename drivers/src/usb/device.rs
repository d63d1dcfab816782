//! Devices that are shared, and opened again when they come back.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
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
    /// The serial number that it told when it was asked.
    told: Option<String>,
}

/// How long a call waits for a device that is not there, unless the configuration says so: as long
/// as it takes to plug it in again, or to enumerate the hub that it hangs on.
pub(crate) const fn patience() -> Duration {
    Duration::from_secs(5)
}

/// Asks a device for the serial number that is not in its descriptors. Blocks.
pub(crate) type AskSerial = fn(&mut dyn Connection) -> Result<String>;

/// One user's view of a device.
#[derive(Debug)]
pub(crate) struct Device {
    bus: Arc<Bus>,
    search: Search,
    /// How long a call waits for the device to come back.
    patience: Duration,
    /// Whether other programs may use the device between two calls.
    is_shared: bool,
    /// Keeps the device open between two calls.
    kept: Arc<Kept>,
}

/// How a device is found.
#[derive(Debug, Clone)]
struct Search {
    wanted: Wanted,
    /// The numbers of vendor and product, if the configuration has some.
    numbers: Option<(u16, u16)>,
    ask_serial: Option<AskSerial>,
    /// Whether one of several is not chosen by chance.
    only: bool,
}

type Kept = Mutex<Last>;

/// Which device it was the last time.
#[derive(Debug, Default)]
struct Last {
    path: String,
    slot: Option<Hold>,
}

/// Keeps a device open. The last one closes it while it has the slot locked, so that whoever opens it
/// next waits for that.
#[derive(Debug, Clone)]
struct Hold(Arc<Slot>);

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

    fn slot(&self, path: &str) -> Hold {
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

    /// Finds the device, opens it if it isn't, and does `work` with it. Blocks.
    fn attempt<T>(
        &self,
        Search { wanted, numbers, ask_serial, only }: &Search,
        kept: &Kept,
        work: impl Fn(&Plugged, &mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        let mut plugged = self.plugged()?;
        plugged.retain(|device| numbers.is_none_or(|(v, p)| device.is_one_of(v, &[p])));
        let Some((ask, serial)) = ask_serial.zip(wanted.serial.as_ref()) else {
            let device =
                if *only { wanted.choose_only(plugged)? } else { wanted.choose(plugged)? };
            let slot = self.slot(&device.path);
            keep(kept, &device.path, slot.clone());
            return self.with(device, wanted.kind.claim, &slot, |opened| {
                work(&opened.device, &mut *opened.connection)
            });
        };
        let alike = wanted.alike(plugged)?.into_iter();
        let mut places: Vec<_> = alike.map(|device| (self.slot(&device.path), device)).collect();
        // The one that it was the last time comes first, so that the others are left alone.
        let last = lock(kept).path.clone();
        places.sort_by_key(|(_, device)| device.path != last);
        let mut seen = Vec::new();
        for (slot, device) in places {
            let (path, mut is_meant) = (device.path.clone(), false);
            let outcome = self.with(device, wanted.kind.claim, &slot, |opened| {
                let told = match opened.told.take() {
                    Some(told) => told,
                    None => ask(&mut *opened.connection)?,
                };
                is_meant = told == *serial;
                seen.push(format!("{told} at {path}"));
                opened.told = Some(told);
                is_meant.then(|| work(&opened.device, &mut *opened.connection)).transpose()
            });
            match outcome {
                Ok(Some(done)) => {
                    keep(kept, &path, slot);
                    return Ok(done);
                }
                Ok(None) => {}
                Err(error) if is_meant => return Err(error),
                // It may be the one, but the others may be it as well.
                Err(error) => seen.push(error.to_string()),
            }
        }
        Err(DriverError::NotFound(format!("there is no {wanted}, but: {}", seen.join("; "))))
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
    fn with<T>(
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

impl Device {
    /// A device that need not be there yet.
    pub(crate) fn new(bus: Arc<Bus>, wanted: Wanted, patience: Duration) -> Self {
        let search = Search { wanted, numbers: None, ask_serial: None, only: false };
        Self { bus, search, patience, is_shared: false, kept: Arc::default() }
    }

    /// A device that tells its serial number only when it is asked.
    pub(crate) fn that_is_asked(mut self, ask_serial: AskSerial) -> Self {
        self.search.ask_serial = Some(ask_serial);
        self
    }

    /// A device that must not be taken for another: if several are like it, the configuration has to
    /// say which is meant.
    pub(crate) fn that_is_unmistakable(mut self) -> Self {
        self.search.only = true;
        self
    }

    /// A device that is closed after every call, so that other programs can have their turn, and is
    /// waited for while one has it.
    pub(crate) fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// A device with these numbers of vendor and product.
    pub(crate) fn with_numbers(mut self, numbers: Option<(u16, u16)>) -> Self {
        self.search.numbers = numbers;
        self
    }

    /// Does `work` with the device, within `limit` once it is there. If it is not, or is unplugged
    /// meanwhile, `work` begins again as soon as it is back.
    pub(crate) async fn run<T, W>(&self, limit: Duration, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: Fn(&mut dyn Connection) -> Result<T> + Clone + Send + 'static,
    {
        self.run_on(limit, move |_: &Plugged, connection: &mut dyn Connection| work(connection))
            .await
    }

    /// As [`run`](Self::run), with what the kernel knows of the device.
    pub(crate) async fn run_on<T, W>(&self, limit: Duration, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: Fn(&Plugged, &mut dyn Connection) -> Result<T> + Clone + Send + 'static,
    {
        let deadline = Instant::now() + self.patience;
        loop {
            let (bus, search) = (Arc::clone(&self.bus), self.search.clone());
            let (kept, work) = (Arc::clone(&self.kept), work.clone());
            let attempt = move || bus.attempt(&search, &kept, work);
            let outcome =
                blocking::run(&format!("use {}", self.search.wanted), limit, attempt).await;
            if self.is_shared {
                self.release();
            }
            match outcome {
                Err(error) if self.may_pass(&error) && Instant::now() < deadline => {
                    tracing::debug!("waiting for {}: {error}", self.search.wanted);
                }
                outcome => return outcome,
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// As [`Bus::find`].
    pub(crate) async fn find(&self, limit: Duration) -> Result<PathBuf> {
        let (bus, wanted) = (Arc::clone(&self.bus), self.search.wanted.clone());
        let what = format!("find {wanted}");
        blocking::run(&what, limit, move || bus.find(&wanted)).await
    }

    /// Whether an error means that the device is not there, not yet or not any more.
    fn may_pass(&self, error: &DriverError) -> bool {
        let is_taken = self.is_shared && matches!(error, DriverError::Busy(_));
        is_taken || error.may_pass() || matches!(error, DriverError::Disconnected(_))
    }

    /// Closes the device, unless others have a use for it.
    pub(crate) fn release(&self) {
        let kept = lock(&self.kept).slot.take();
        if let Some(slot) = kept {
            blocking::discard(slot);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.release();
    }
}

/// Keeps a device open, instead of the one that was kept before.
fn keep(kept: &Kept, path: &str, slot: Hold) {
    let last = Last { path: path.to_owned(), slot: Some(slot) };
    // Dropped here, where it may block, and not while it is locked.
    let before = std::mem::replace(&mut *lock(kept), last);
    drop(before);
}

/// What a panic of somebody else left behind is closed and opened again anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
