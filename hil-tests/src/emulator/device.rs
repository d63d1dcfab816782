//! A USB device as a program plays it, whatever bus it is plugged in to.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// What a device is and does beyond what every device does.
pub(crate) trait Model: fmt::Debug + Send + 'static {
    /// What it says about itself.
    fn descriptors(&self) -> &Descriptors;

    /// Answers a class or vendor request; `data` is what came with it. None is a stall.
    fn request(&mut self, setup: Setup, data: &[u8]) -> Option<Vec<u8>>;

    /// Takes what was sent to an endpoint. None is a stall.
    fn output(&mut self, data: &[u8]) -> Option<()>;

    /// Gives what it has for whoever reads from its endpoint. None: nothing now.
    fn input(&mut self) -> Option<Vec<u8>>;
}

/// What a device says about itself; chapter 9 of the USB specification.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) device: [u8; 18],
    /// With all that belongs to it: interfaces, endpoints.
    pub(crate) configuration: &'static [u8],
    /// Manufacturer, product, serial number.
    pub(crate) strings: [String; 3],
}

impl Descriptors {
    /// The identity in a device descriptor.
    pub(crate) fn vendor_and_product(&self) -> (u16, u16) {
        let [.., v0, v1, p0, p1, _, _, _, _, _, _] = self.device;
        (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([p0, p1]))
    }
}

/// The eight bytes that begin a control transfer, as far as a device here asks for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// `bmRequestType`
    pub(crate) kind: u8,
    pub(crate) request: u8,
    pub(crate) value: u16,
    pub(crate) length: u16,
}

impl Setup {
    /// Reads them as they are on the wire.
    pub(crate) fn parse(bytes: [u8; 8]) -> Self {
        let [kind, request, v0, v1, _, _, l0, l1] = bytes;
        let word = u16::from_le_bytes;
        Self { kind, request, value: word([v0, v1]), length: word([l0, l1]) }
    }
}

/// A device that can be plugged in, and looked at meanwhile.
#[derive(Debug)]
pub(crate) struct Device<M> {
    model: Mutex<M>,
    changed: Notify,
}

impl<M: Model> Device<M> {
    pub(crate) fn new(model: M) -> Self {
        Self { model: Mutex::new(model), changed: Notify::new() }
    }

    /// Looks at the device, or does something to it; whoever waits for its data looks again.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut M) -> T) -> T {
        let outcome = work(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
        outcome
    }

    /// Waits until [`Device::with`] was called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A control transfer; the answer has at most the length that was asked for. None is a stall.
    pub(crate) fn control(&self, setup: Setup, data: &[u8]) -> Option<Vec<u8>> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match standard(model.descriptors(), setup) {
            Some(answer) => answer,
            None => model.request(setup, data),
        };
        answer.map(|mut answer| {
            answer.truncate(setup.length.into());
            answer
        })
    }

    /// See [`Model::output`].
    pub(crate) fn output(&self, data: &[u8]) -> Option<()> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).output(data)
    }

    /// See [`Model::input`].
    pub(crate) fn input(&self) -> Option<Vec<u8>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).input()
    }

    /// What it says about itself, copied.
    pub(crate) fn describe<T>(&self, work: impl FnOnce(&Descriptors) -> T) -> T {
        work(self.model.lock().unwrap_or_else(PoisonError::into_inner).descriptors())
    }
}

/// The requests that every device answers alike; none if it is another one.
#[expect(clippy::option_option, reason = "a stall is an answer, too")]
fn standard(descriptors: &Descriptors, setup: Setup) -> Option<Option<Vec<u8>>> {
    const GET_DESCRIPTOR: u8 = 6;
    let [kind, index] = setup.value.to_be_bytes();
    Some(match (setup.kind, setup.request) {
        (0x80, GET_DESCRIPTOR) => match kind {
            1 => Some(descriptors.device.to_vec()),
            2 => Some(descriptors.configuration.to_vec()),
            3 => string(descriptors, index),
            _ => None,
        },
        // The status of the device, its configuration.
        (0x80, 0) => Some(vec![1, 0]),
        (0x80, 8) => Some(vec![1]),
        // Clear and set a feature, set the configuration, set an interface.
        (0x00, 1 | 3 | 9) | (0x01, 11) | (0x02, 1) => Some(Vec::new()),
        _ => return None,
    })
}

fn string(descriptors: &Descriptors, index: u8) -> Option<Vec<u8>> {
    const ENGLISH: [u8; 4] = [4, 3, 9, 4];
    let Some(index) = usize::from(index).checked_sub(1) else { return Some(ENGLISH.to_vec()) };
    let text = descriptors.strings.get(index)?;
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u8::try_from(units.len() + 2).ok()?;
    Some([&[length, 3], units.as_slice()].concat())
}
