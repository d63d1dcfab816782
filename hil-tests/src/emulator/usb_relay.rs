//! A board that calls itself `USBRelay2`, as dcttech's do: two relays, and a report with a bit for
//! each.
//!
//! It is an HID device by V-USB, whose requests are as in darrylb123's `usbrelay`.

use super::device::{Descriptors, Model, Setup};

/// One interface of the class HID, with an endpoint that nothing comes from.
const CONFIGURATION: &[u8] = &[
    9, 2, 34, 0, 1, 1, 0, 0x80, 10, // the configuration
    9, 4, 0, 0, 1, 3, 0, 0, 0, // its interface
    9, 0x21, 1, 1, 0, 1, 0x22, 22, 0, // which is HID
    7, 5, 0x81, 3, 8, 0, 20, // reports from the device
];

/// Its serial number, which is only in its report.
const SERIAL: &[u8; 5] = b"BITFT";

/// A board, with both relays off.
#[derive(Debug)]
pub(crate) struct UsbRelay {
    descriptors: Descriptors,
    relays: u8,
}

impl UsbRelay {
    pub(crate) fn new() -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0x10, 1, 0, 0, 0, 8, 0xc0, 0x16, 0xdf, 5, 0, 1, 1, 2, 0, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["www.dcttech.com", "USBRelay2", ""].map(str::to_owned),
            },
            relays: 0,
        }
    }

    /// Whether a relay is on; the first is 1.
    pub(crate) const fn is_on(&self, relay: u8) -> bool {
        self.relays >> (relay - 1) & 1 == 1
    }
}

impl Model for UsbRelay {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, data: &[u8]) -> Option<Vec<u8>> {
        const FEATURE_REPORT: u16 = 0x0300;
        // To the device or to its interface, of the class in both cases: V-USB doesn't look.
        match (setup.kind & 0xe0, setup.request, setup.value) {
            (0xa0, 1, FEATURE_REPORT) => Some([&SERIAL[..], &[0, 0, self.relays]].concat()),
            (0x20, 9, FEATURE_REPORT) => {
                match *data {
                    [0xff, relay @ 1..=2, ..] => self.relays |= 1 << (relay - 1),
                    [0xfd, relay @ 1..=2, ..] => self.relays &= !(1 << (relay - 1)),
                    _ => {}
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }
}
