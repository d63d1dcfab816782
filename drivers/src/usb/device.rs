//! Devices that are shared, and opened again when they come back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bus::{Bus, Hold, lock};
use super::connection::Connection;
use super::listing::{Plugged, Wanted};
use crate::{DriverError, Result, blocking};

/// How soon to look again for a device that is not there. Nothing in sysfs tells of a change, and
/// what udev announces does not reach a container.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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

impl Search {
    /// Finds the device, opens it if it isn't, and does `work` with it. Blocks.
    fn attempt<T>(
        &self,
        bus: &Bus,
        kept: &Kept,
        work: impl Fn(&Plugged, &mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        let Self { wanted, numbers, ask_serial, only } = self;
        let mut plugged = bus.plugged()?;
        plugged.retain(|device| numbers.is_none_or(|(v, p)| device.is_one_of(v, &[p])));
        let Some((ask, serial)) = ask_serial.zip(wanted.serial.as_ref()) else {
            let device =
                if *only { wanted.choose_only(plugged)? } else { wanted.choose(plugged)? };
            let slot = bus.slot(&device.path);
            keep(kept, &device.path, slot.clone());
            return bus.with(device, wanted.kind.claim, &slot, |opened| {
                work(&opened.device, &mut *opened.connection)
            });
        };
        let alike = wanted.alike(plugged)?.into_iter();
        let mut places: Vec<_> = alike.map(|device| (bus.slot(&device.path), device)).collect();
        // The one that it was the last time comes first, so that the others are left alone.
        let last = lock(kept).path.clone();
        places.sort_by_key(|(_, device)| device.path != last);
        let mut seen = Vec::new();
        for (slot, device) in places {
            let (path, mut is_meant) = (device.path.clone(), false);
            let outcome = bus.with(device, wanted.kind.claim, &slot, |opened| {
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

    /// A device that is closed after every call, so that other programs can have their turn, and is
    /// waited for while one has it.
    pub(crate) fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// A device that must not be taken for another: if several are like it, the configuration has to
    /// say which is meant.
    pub(crate) fn that_is_unmistakable(mut self) -> Self {
        self.search.only = true;
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
            let attempt = move || search.attempt(&bus, &kept, work);
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

    /// Whether an error means that the device is not there, not yet or not any more.
    fn may_pass(&self, error: &DriverError) -> bool {
        let is_taken = self.is_shared && matches!(error, DriverError::Busy(_));
        is_taken || error.may_pass() || matches!(error, DriverError::Disconnected(_))
    }

    /// As [`Bus::find`].
    pub(crate) async fn find(&self, limit: Duration) -> Result<PathBuf> {
        let (bus, wanted) = (Arc::clone(&self.bus), self.search.wanted.clone());
        let what = format!("find {wanted}");
        blocking::run(&what, limit, move || bus.find(&wanted)).await
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
