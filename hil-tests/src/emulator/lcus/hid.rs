//! A board that is an HID device.

use std::collections::VecDeque;

use super::{lines, obey};
use crate::emulator::device::{Descriptors, Model, Setup};

/// One interface of the class HID, with an endpoint for each direction.
const CONFIGURATION: &[u8] = &[
    9, 2, 41, 0, 1, 1, 0, 0x80, 50, // the configuration
    9, 4, 0, 0, 2, 3, 0, 0, 0, // its interface
    9, 0x21, 0x10, 1, 0, 1, 0x22, 34, 0, // which is HID
    7, 5, 0x81, 3, 64, 0, 1, // reports from the device
    7, 5, 0x02, 3, 64, 0, 1, // reports to it
];

/// A board with four relays.
#[derive(Debug)]
pub(crate) struct HidRelays {
    descriptors: Descriptors,
    relays: [bool; 4],
    answers: VecDeque<Vec<u8>>,
}

impl HidRelays {
    /// With all relays off.
    pub(crate) fn new() -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0x10, 1, 0, 0, 0, 64, 0x31, 0x51, 7, 0x20, 0, 1, 1, 2, 0, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["www.ucitra.com", "HIDRelay", ""].map(str::to_owned),
            },
            relays: [false; 4],
            answers: VecDeque::new(),
        }
    }

    /// Whether a relay is on; the first is 1.
    pub(crate) const fn is_on(&self, relay: usize) -> bool {
        self.relays[relay - 1]
    }
}

impl Model for HidRelays {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn start(&mut self) {
        self.answers.clear();
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        // How often to repeat a report that has not changed.
        const SET_IDLE: (u8, u8) = (0x21, 10);
        ((setup.kind, setup.request) == SET_IDLE).then(Vec::new)
    }

    fn output(&mut self, report: &[u8]) -> Option<()> {
        const ASK: &[u8] = &[0xa0, 0x0f, 2, 0xb1];
        const PIECE: usize = 14;
        let frame = report.get(..4)?;
        if frame == ASK {
            // Reports of a size that has nothing to do with lines, filled up with zeros.
            for piece in lines(&self.relays).as_bytes().chunks(PIECE) {
                let mut report = piece.to_vec();
                report.resize(PIECE + 2, 0);
                self.answers.push_back(report);
            }
        } else {
            obey(frame, &mut self.relays);
            self.answers.push_back(frame.to_vec());
        }
        Some(())
    }

    fn input(&mut self, _: usize) -> Option<Vec<u8>> {
        self.answers.pop_front()
    }
}
