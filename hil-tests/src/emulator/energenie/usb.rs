//! A strip with a plug for USB: feature reports switch its sockets and tell their state. A report's
//! number is three times the socket's, as in the source of `sispmctl`.

use crate::emulator::device::{Descriptors, Model, Setup};

/// One interface of the class HID, with an endpoint that nothing comes from.
const CONFIGURATION: &[u8] = &[
    9, 2, 34, 0, 1, 1, 0, 0x80, 25, // the configuration
    9, 4, 0, 0, 1, 3, 0, 0, 0, // its interface
    9, 0x21, 0x11, 1, 0, 1, 0x22, 29, 0, // which is HID
    7, 5, 0x81, 3, 5, 0, 10, // reports from the device
];

/// A strip.
#[derive(Debug)]
pub(crate) struct EnerGenie {
    descriptors: Descriptors,
    sockets: [bool; 4],
}

impl EnerGenie {
    /// An EG-PMS2, with all its sockets off.
    pub(crate) fn new() -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0x10, 1, 0, 0, 0, 8, 0xb4, 4, 0x15, 0xfd, 0, 1, 1, 2, 0, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["Gembird Electronics", "EG-PMS2", ""].map(str::to_owned),
            },
            sockets: [false; 4],
        }
    }

    /// Whether a socket is on; the first is 1.
    pub(crate) fn has_power(&self, socket: usize) -> bool {
        self.sockets[socket - 1]
    }
}

impl Model for EnerGenie {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, data: &[u8]) -> Option<Vec<u8>> {
        const SERIAL: u8 = 1;
        const MAINS: u8 = 2;
        let [kind, number] = setup.value.to_be_bytes();
        if kind != 3 {
            return None;
        }
        let socket = (number % 3 == 0).then(|| usize::from(number / 3).checked_sub(1)).flatten();
        let socket = socket.and_then(|socket| self.sockets.get_mut(socket));
        match (setup.kind, setup.request, number, socket) {
            (0xa1, 1, SERIAL, _) => Some(vec![1, 2, 3, 4, 5]),
            (0xa1, 1, _, Some(socket)) => Some(vec![number, MAINS | u8::from(*socket), 0, 0, 0]),
            (0x21, 9, _, Some(socket)) => {
                *socket = match *data {
                    [report, 3, 0, 0, 0] if report == number => true,
                    [report, 0, 0, 0, 0] if report == number => false,
                    _ => return None,
                };
                Some(Vec::new())
            }
            _ => None,
        }
    }
}
