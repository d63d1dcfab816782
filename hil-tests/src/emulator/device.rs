//! A USB device as a program plays it, whatever bus it is plugged in to.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a device is and does beyond what every device does.
pub(crate) trait Model: fmt::Debug + Send + 'static {
    /// What it says about itself.
    fn descriptors(&self) -> &Descriptors;

    /// Answers a class or vendor request; `data` is what came with it. None is a stall.
    fn request(&mut self, setup: Setup, data: &[u8]) -> Option<Vec<u8>>;

    /// It was plugged in: whatever was under way before is over.
    fn start(&mut self) {}

    /// Whether it takes nothing now that is sent to an endpoint: the host has to wait.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether it never says anything on an endpoint.
    fn is_mute(&self, _endpoint: u8) -> bool {
        false
    }

    /// Takes what was sent to an endpoint. None is a stall, as of one that has none for that.
    fn output(&mut self, _data: &[u8]) -> Option<()> {
        None
    }

    /// Gives what it has for whoever reads from its endpoint, at most `length` bytes. None: nothing
    /// now.
    fn input(&mut self, _length: usize) -> Option<Vec<u8>> {
        None
    }
}

/// How a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Well,
    /// It does what it is told, and says something else.
    Garbage,
    /// The same, and of its answer only the first byte arrives.
    HalfReport,
    /// It does nothing and says nothing.
    Silent,
}

impl Mood {
    /// What becomes of an answer.
    pub(crate) fn spoil(self, answer: &mut Vec<u8>) {
        match self {
            Self::Well => {}
            Self::Garbage => answer.iter_mut().for_each(|byte| *byte ^= 0xa5),
            Self::HalfReport => answer.truncate(1),
            Self::Silent => answer.clear(),
        }
    }
}

/// What comes of a control transfer.
#[derive(Debug)]
pub(crate) enum Reply {
    Data(Vec<u8>),
    Stall,
    /// It never ends.
    Silence,
}

/// What a device says about itself; chapter 9 of the USB specification.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) device: [u8; 18],
    /// With all that belongs to it: interfaces, endpoints.
    pub(crate) configuration: &'static [u8],
    /// The binary object store; empty if it has none.
    pub(crate) capabilities: &'static [u8],
    /// Manufacturer, product, serial number; empty if it has none.
    pub(crate) strings: [String; 3],
}

impl Descriptors {
    /// The version of USB in a device descriptor.
    pub(crate) fn usb(&self) -> u16 {
        let [_, _, low, high, ..] = self.device;
        u16::from_le_bytes([low, high])
    }

    /// The identity in a device descriptor.
    pub(crate) fn vendor_and_product(&self) -> (u16, u16) {
        let [.., v0, v1, p0, p1, _, _, _, _, _, _] = self.device;
        (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([p0, p1]))
    }
}

/// The eight bytes that begin a control transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// `bmRequestType`
    pub(crate) kind: u8,
    pub(crate) request: u8,
    pub(crate) value: u16,
    pub(crate) index: u16,
    pub(crate) length: u16,
}

impl Setup {
    /// Reads them as they are on the wire.
    pub(crate) fn parse(bytes: [u8; 8]) -> Self {
        let [kind, request, v0, v1, i0, i1, l0, l1] = bytes;
        let word = u16::from_le_bytes;
        let (value, index, length) = (word([v0, v1]), word([i0, i1]), word([l0, l1]));
        Self { kind, request, value, index, length }
    }
}

/// A device that can be plugged in, and looked at meanwhile.
#[derive(Debug)]
pub(crate) struct Device<M> {
    state: Mutex<State<M>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<M> {
    model: M,
    mood: Mood,
    /// How many reports and requests of its own it has got.
    heard: usize,
}

impl<M: Model> Device<M> {
    pub(crate) fn new(model: M) -> Self {
        let state = State { model, mood: Mood::Well, heard: 0 };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Looks at the device, or does something to it; whoever waits for its data looks again.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut M) -> T) -> T {
        let outcome = work(&mut self.state().model);
        self.changed.notify_one();
        outcome
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How many reports and requests of its own it has got so far.
    pub(crate) fn heard(&self) -> usize {
        self.state().heard
    }

    /// Waits until [`Device::with`] was called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A control transfer; the answer has at most the length that was asked for.
    pub(crate) fn control(&self, setup: Setup, data: &[u8]) -> Reply {
        let mut state = self.state();
        let answer = match standard(state.model.descriptors(), setup) {
            Some(answer) => answer,
            None => {
                state.heard += 1;
                if state.mood == Mood::Silent {
                    return Reply::Silence;
                }
                let mut answer = state.model.request(setup, data);
                answer.iter_mut().for_each(|answer| state.mood.spoil(answer));
                answer
            }
        };
        match answer {
            Some(mut answer) => {
                answer.truncate(setup.length.into());
                Reply::Data(answer)
            }
            None => Reply::Stall,
        }
    }

    /// See [`Model::is_full`].
    pub(crate) fn is_full(&self) -> bool {
        self.state().model.is_full()
    }

    /// See [`Model::is_mute`].
    pub(crate) fn is_mute(&self, endpoint: u8) -> bool {
        self.state().model.is_mute(endpoint)
    }

    /// See [`Model::output`].
    pub(crate) fn output(&self, data: &[u8]) -> Option<()> {
        let mut state = self.state();
        state.heard += 1;
        match state.mood {
            Mood::Silent => Some(()),
            Mood::Well | Mood::Garbage | Mood::HalfReport => state.model.output(data),
        }
    }

    /// See [`Model::input`].
    pub(crate) fn input(&self, length: usize) -> Option<Vec<u8>> {
        let mut state = self.state();
        if state.mood == Mood::Silent {
            return None;
        }
        let mut answer = state.model.input(length)?;
        state.mood.spoil(&mut answer);
        Some(answer)
    }

    /// What it says about itself, copied.
    pub(crate) fn describe<T>(&self, work: impl FnOnce(&Descriptors) -> T) -> T {
        work(self.state().model.descriptors())
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            15 if !descriptors.capabilities.is_empty() => Some(descriptors.capabilities.to_vec()),
            _ => None,
        },
        // The status of the device, its configuration.
        (0x80, 0) => Some(vec![1, 0]),
        (0x80, 8) => Some(vec![1]),
        // Clear and set a feature, set the configuration, tell how long it may sleep; set an interface.
        (0x00, 1 | 3 | 9 | 0x30) | (0x01, 11) | (0x02, 1) => Some(Vec::new()),
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
