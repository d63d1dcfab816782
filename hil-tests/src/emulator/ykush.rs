//! A YKUSH: three ports that are switched by reports of 64 bytes.
//!
//! The protocol is that of Yepkit's own tool (Yepkit/ykush): the first byte of a report is the
//! command, and the answer begins with 1.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::device::{Descriptors, Model, Setup};

const REPORT: usize = 64;

/// One interface of the class HID, with an endpoint for each direction.
const CONFIGURATION: &[u8] = &[
    9, 2, 41, 0, 1, 1, 0, 0x80, 50, // the configuration
    9, 4, 0, 0, 2, 3, 0, 0, 0, // its interface
    9, 0x21, 0x11, 1, 0, 1, 0x22, 29, 0, // which is HID
    7, 5, 0x81, 3, 64, 0, 1, // reports from the device
    7, 5, 0x01, 3, 64, 0, 1, // reports to it
];

/// A YKUSH, with all ports on as it is when it gets power.
#[derive(Debug)]
pub(crate) struct Ykush {
    descriptors: Descriptors,
    /// Whether port 1, 2 and 3 are on.
    ports: watch::Sender<[bool; 3]>,
    answers: VecDeque<Vec<u8>>,
    mood: Mood,
    /// How many reports it has got.
    heard: usize,
}

/// How a board answers.
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

impl Ykush {
    pub(crate) fn new(serial: &str) -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0, 2, 0, 0, 0, 8, 0xd8, 4, 0xf7, 0xf2, 1, 1, 1, 2, 3, 1],
                configuration: CONFIGURATION,
                strings: ["Yepkit Lda.", "YKUSH", serial].map(str::to_owned),
            },
            ports: watch::channel([true; 3]).0,
            answers: VecDeque::new(),
            mood: Mood::Well,
            heard: 0,
        }
    }

    /// Its ports; they change when somebody switches one.
    pub(crate) fn ports(&self) -> watch::Receiver<[bool; 3]> {
        self.ports.subscribe()
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&mut self, mood: Mood) {
        self.answers.clear();
        self.mood = mood;
    }

    /// How many reports it has got so far.
    pub(crate) const fn heard(&self) -> usize {
        self.heard
    }

    /// What it does for a report, and answers.
    fn obey(&self, command: u8) -> Vec<u8> {
        let (verb, which) = (command >> 4, command & 15);
        let selected = match which {
            1..=3 => usize::from(which) - 1..usize::from(which),
            10 => 0..3,
            _ => 0..0,
        };
        let mut answer = vec![0; REPORT];
        answer[..2].copy_from_slice(&[1, command]);
        match verb {
            _ if selected.is_empty() => answer[0] = 0xff,
            0 | 1 => {
                self.ports.send_if_modified(|ports| {
                    let before = *ports;
                    ports[selected].fill(verb == 1);
                    *ports != before
                });
            }
            2 => {
                let ports = *self.ports.borrow();
                for (place, port) in answer[1..].iter_mut().zip(selected) {
                    *place =
                        u8::from(ports[port]) << 4 | (b'\x01' + u8::try_from(port).unwrap_or(0));
                }
            }
            _ => answer[0] = 0xff,
        }
        answer
    }
}

impl Model for Ykush {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        // How often to repeat a report that has not changed.
        const SET_IDLE: (u8, u8) = (0x21, 10);
        ((setup.kind, setup.request) == SET_IDLE).then(Vec::new)
    }

    fn output(&mut self, data: &[u8]) -> Option<()> {
        self.heard += 1;
        let command = *data.first()?;
        let answer = match self.mood {
            Mood::Well => self.obey(command),
            Mood::Garbage => {
                self.obey(command);
                (0..REPORT).map(|place| u8::try_from(place).unwrap_or(0) ^ 0xa5).collect()
            }
            Mood::HalfReport => self.obey(command)[..1].to_vec(),
            Mood::Silent => return Some(()),
        };
        self.answers.push_back(answer);
        Some(())
    }

    fn input(&mut self) -> Option<Vec<u8>> {
        self.answers.pop_front()
    }
}
