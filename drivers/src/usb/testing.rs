//! A host with devices that exist only in a test.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;

use super::bus::Bus;
use super::connection::{Claim, Connection, Control, Open, failure};
use super::listing::Plugged;
use crate::{DriverError, Result};

/// What a device's program does with transfers. It stalls what it does not know.
pub(crate) trait Firmware: Debug + Send + 'static {
    /// Takes a report.
    fn write(&mut self, report: &[u8]) -> Result<(), rusb::Error> {
        unreachable!("this device has no endpoint for the report {report:02x?}")
    }

    /// Has a report, or has not.
    fn read(&mut self) -> Option<Vec<u8>> {
        unreachable!("this device has no endpoint for reports")
    }

    /// Takes a request with data.
    fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error>;

    /// Answers a request with at most `length` bytes.
    fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error>;
}

/// What a device does with the next transfer, apart from what it should.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mood {
    /// It does not answer.
    Silent,
    /// It refuses.
    Stall,
    /// It sends half an answer.
    Short,
    /// It answers something else.
    Garbage,
    /// It is unplugged, though still in the kernel's list.
    Gone,
}

/// A device that exists only in a test.
#[derive(Debug)]
pub(crate) struct Faked<F> {
    pub(crate) firmware: F,
    /// One for each of the next transfers; none is as it should.
    pub(crate) moods: VecDeque<Option<Mood>>,
    /// What was claimed each time that it was opened, and whether it is open.
    pub(crate) claims: Vec<Claim>,
    pub(crate) open: bool,
    /// How often it will be in use by another program.
    pub(crate) taken: usize,
}

/// A host: the kernel's list, and a device for each path.
#[derive(Debug)]
pub(crate) struct Host<F> {
    list: TempDir,
    devices: Devices<F>,
    pub(crate) bus: Arc<Bus>,
}

type Devices<F> = Arc<Mutex<BTreeMap<String, Arc<Mutex<Faked<F>>>>>>;

impl<F: Firmware> Host<F> {
    pub(crate) fn new() -> Self {
        let (list, devices) = (tempfile::tempdir().unwrap(), Devices::default());
        let open = Box::new(Opener(Arc::clone(&devices)));
        let bus = Arc::new(Bus::new(list.path().to_owned(), open));
        Self { list, devices, bus }
    }

    pub(crate) fn list(&self) -> &Path {
        self.list.path()
    }

    /// Puts a device with these numbers and attributes into the socket `path`.
    pub(crate) fn plug(
        &self,
        path: &str,
        numbers: (u16, u16),
        attributes: &[(&str, &str)],
        firmware: F,
    ) {
        let device =
            Faked { firmware, moods: VecDeque::new(), claims: Vec::new(), open: false, taken: 0 };
        let mut devices = self.devices.lock().unwrap();
        let address = u8::try_from(devices.len()).unwrap() + 1;
        devices.insert(path.to_owned(), Arc::new(Mutex::new(device)));
        plug_with(self.list(), path, numbers, address, attributes);
    }

    /// Looks into a device.
    pub(crate) fn at<T>(&self, path: &str, look: impl FnOnce(&mut Faked<F>) -> T) -> T {
        let device = Arc::clone(&self.devices.lock().unwrap()[path]);
        let mut device = device.lock().unwrap();
        look(&mut device)
    }
}

#[derive(Debug)]
struct Opener<F>(Devices<F>);

impl<F: Firmware> Open for Opener<F> {
    fn open(&self, device: &Plugged, claim: Claim) -> Result<Box<dyn Connection>> {
        let faked = Arc::clone(&self.0.lock().unwrap()[&device.path]);
        {
            let mut faked = faked.lock().unwrap();
            if faked.taken > 0 {
                faked.taken -= 1;
                return Err(DriverError::Busy(format!("open {device}: in use by a test")));
            }
            assert!(!faked.open, "{device} is opened once");
            faked.open = true;
            faked.claims.push(claim);
        }
        Ok(Box::new(Endpoints { what: device.to_string(), faked }))
    }
}

#[derive(Debug)]
struct Endpoints<F> {
    what: String,
    faked: Arc<Mutex<Faked<F>>>,
}

impl<F> Drop for Endpoints<F> {
    fn drop(&mut self) {
        self.faked.lock().unwrap().open = false;
    }
}

impl<F: Firmware> Endpoints<F> {
    /// What comes of a transfer, with the mood that the device is in.
    fn transfer<T>(
        &self,
        work: impl FnOnce(&mut Faked<F>, Option<Mood>) -> Result<T, rusb::Error>,
    ) -> Result<T> {
        let mut faked: MutexGuard<'_, _> = self.faked.lock().unwrap();
        let mood = faked.moods.pop_front().flatten();
        let outcome = match mood {
            Some(Mood::Silent) => Err(rusb::Error::Timeout),
            Some(Mood::Stall) => Err(rusb::Error::Pipe),
            Some(Mood::Gone) => Err(rusb::Error::NoDevice),
            Some(Mood::Short | Mood::Garbage) | None => work(&mut faked, mood),
        };
        outcome.map_err(|error| failure(&self.what, error))
    }
}

/// Copies an answer as far as it is sent, and fits; returns its length.
fn deliver(mut answer: Vec<u8>, mood: Option<Mood>, into: &mut [u8]) -> usize {
    match mood {
        Some(Mood::Short) => answer.truncate(answer.len() / 2),
        Some(Mood::Garbage) => answer.fill(0xA5),
        _ => {}
    }
    assert!(answer.len() <= into.len(), "an answer of {} bytes for {}", answer.len(), into.len());
    into[..answer.len()].copy_from_slice(&answer);
    answer.len()
}

impl<F: Firmware> Connection for Endpoints<F> {
    fn write(&mut self, report: &[u8], _: Duration) -> Result<()> {
        self.transfer(|faked, _| faked.firmware.write(report))
    }

    fn read(&mut self, report: &mut [u8], _: Duration) -> Result<usize> {
        self.transfer(|faked, mood| {
            let answer = faked.firmware.read().ok_or(rusb::Error::Timeout)?;
            Ok(deliver(answer, mood, report))
        })
    }

    fn control_out(&mut self, request: Control, data: &[u8], _: Duration) -> Result<()> {
        self.transfer(|faked, _| faked.firmware.control_out(request, data))
    }

    fn control_in(&mut self, request: Control, data: &mut [u8], _: Duration) -> Result<usize> {
        self.transfer(|faked, mood| {
            let answer = faked.firmware.control_in(request, data.len())?;
            Ok(deliver(answer, mood, data))
        })
    }
}

/// Puts a device of Yepkit's vendor into the kernel's list.
pub(crate) fn plug(list: &Path, path: &str, product: u16, serial: &str, address: u8) {
    plug_with(list, path, (0x04d8, product), address, &[("serial", serial)]);
}

/// Puts a device with these numbers of vendor and product, and these attributes, into the kernel's
/// list.
pub(crate) fn plug_with(
    list: &Path,
    path: &str,
    (vendor, product): (u16, u16),
    address: u8,
    attributes: &[(&str, &str)],
) {
    let directory = list.join(path);
    fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), format!("{text}\n")).unwrap();
    };
    write("idVendor", &format!("{vendor:04x}"));
    write("idProduct", &format!("{product:04x}"));
    write("bDeviceClass", "00");
    write("version", " 2.00");
    write("busnum", "1");
    for (name, text) in attributes {
        write(name, text);
    }
    // Last, because without it there is no device.
    write("devnum", &address.to_string());
}

/// Takes a device out of the kernel's list.
pub(crate) fn unplug(list: &Path, path: &str) {
    fs::remove_dir_all(list.join(path)).unwrap();
}
