//! Hubs that switch the power of each of their four ports, with nothing plugged in: a Microchip
//! USB2514, and both halves of a USB5744, which is a hub of USB 3.
//!
//! The requests are those of chapter 11 of the USB 2.0 specification, and chapter 10 of USB 3.2.

use super::device::{Descriptors, Model, Setup};

/// What hubs have as their device class.
pub(super) const HUB_CLASS: u8 = 9;

/// How many ports it has.
pub(super) const HUB_PORTS: u8 = 4;

/// One interface of the class hub, with the endpoint that tells of changes.
const CONFIGURATION: &[u8] = &[
    9, 2, 25, 0, 1, 1, 0, 0xe0, 1, // the configuration
    9, 4, 0, 0, 1, 9, 0, 0, 0, // its interface: a hub
    7, 5, 0x81, 3, 1, 0, 255, // changes
];
const CONFIGURATION_OF_USB3: &[u8] = &[
    9, 2, 31, 0, 1, 1, 0, 0xe0, 0, // the configuration
    9, 4, 0, 0, 1, 9, 0, 0, 0, // its interface: a hub
    7, 5, 0x81, 0x13, 2, 0, 8, // changes
    6, 0x30, 0, 0, 2, 0, // which come alone
];

/// What the halves of a hub have in common: a container ID. Before it, how they save power.
const CAPABILITIES: &[u8] = &[
    5, 15, 32, 0, 2, // two capabilities
    7, 16, 2, 2, 0, 0, 0, //
    20, 16, 4, 0, 0x30, 0xee, 0xa3, 0x4c, 0x5b, 0xc5, 0xb6, 0x45, 0x8b, 0x29, 0x1d, 0xb5, 0x01,
    0x00, 0x00, 0x01,
];
const CAPABILITIES_OF_USB3: &[u8] = &[
    5, 15, 42, 0, 3, // three: the one between them has the speeds
    7, 16, 2, 2, 0, 0, 0, //
    10, 16, 3, 0, 0x0e, 0, 1, 10, 0xff, 7, //
    20, 16, 4, 0, 0x30, 0xee, 0xa3, 0x4c, 0x5b, 0xc5, 0xb6, 0x45, 0x8b, 0x29, 0x1d, 0xb5, 0x01,
    0x00, 0x00, 0x01,
];

/// Power and over-current are each port's own; every port has something that can be removed.
const HUB: &[u8] = &[9, 0x29, HUB_PORTS, 0x09, 0x00, 50, 1, 0x00, 0xff];
const HUB_OF_USB3: &[u8] = &[12, 0x2a, HUB_PORTS, 0x09, 0x00, 50, 0, 4, 0, 0, 0, 0];

/// A hub, or the half of one.
#[derive(Debug)]
pub(crate) struct Hub {
    descriptors: Descriptors,
    is_usb3: bool,
    power: [bool; 4],
}

impl Hub {
    /// A hub of USB 2.
    pub(crate) fn new(serial: &str) -> Self {
        Self {
            descriptors: Descriptors {
                device: [
                    18, 1, 0, 2, HUB_CLASS, 0, 0, 64, 0x24, 4, 0x14, 0x25, 0xb3, 0xb, 1, 2, 3, 1,
                ],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["Microchip", "USB2514", serial].map(str::to_owned),
            },
            is_usb3: false,
            power: [false; 4],
        }
    }

    /// A hub of USB 3: what it is for devices of USB 2, and for those of USB 3.
    pub(crate) fn halves(serial: &str) -> [Self; 2] {
        let half = |usb: u16, product: u16, packet, name: &str| {
            let ([u0, u1], [p0, p1]) = (usb.to_le_bytes(), product.to_le_bytes());
            let is_usb3 = usb >= 0x0300;
            let (protocol, configuration, capabilities) = match is_usb3 {
                true => (3, CONFIGURATION_OF_USB3, CAPABILITIES_OF_USB3),
                false => (0, CONFIGURATION, CAPABILITIES),
            };
            let descriptors = Descriptors {
                device: [
                    18, 1, u0, u1, HUB_CLASS, 0, protocol, packet, 0x24, 4, p0, p1, 5, 2, 1, 2, 3,
                    1,
                ],
                configuration,
                capabilities,
                strings: ["Microchip Tech", name, serial].map(str::to_owned),
            };
            Self { descriptors, is_usb3, power: [false; 4] }
        };
        [half(0x0210, 0x2744, 64, "USB2744"), half(0x0320, 0x5744, 9, "USB5744")]
    }

    /// Whether a port has power; the first is 1.
    pub(crate) fn has_power(&self, port: u8) -> bool {
        self.port(port.into()).is_some_and(|port| self.power[port])
    }

    /// The place of a port; none if it has no such port.
    fn port(&self, number: u16) -> Option<usize> {
        let place = usize::from(number).checked_sub(1)?;
        (place < self.power.len()).then_some(place)
    }

    /// The status of a port with nothing in it: whether it has power; of USB 3, what its link does.
    fn status(&self, port: usize) -> Vec<u8> {
        const DISABLED: u16 = 4 << 5;
        const LOOKS_FOR_DEVICES: u16 = 5 << 5;
        let status: u16 = match (self.is_usb3, self.power[port]) {
            (false, on) => u16::from(on) << 8,
            (true, false) => DISABLED,
            (true, true) => LOOKS_FOR_DEVICES | 1 << 9,
        };
        [status.to_le_bytes(), [0, 0]].concat()
    }
}

impl Model for Hub {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        const PORT_POWER: u16 = 8;
        const SET_DEPTH: u8 = 12;
        match (setup.kind, setup.request, setup.value) {
            (0xa0, 6, _) => Some(if self.is_usb3 { HUB_OF_USB3 } else { HUB }.to_vec()),
            // The hub as a whole: locally powered, and well.
            (0xa0, 0, _) => Some(vec![0; 4]),
            (0x20, 1 | 3 | SET_DEPTH, _) => Some(Vec::new()),
            (0xa3, 0, _) => Some(self.status(self.port(setup.index)?)),
            (0x23, request @ (1 | 3), feature) => {
                // Of USB 3, the high byte of the index says what to make of the link.
                let port = self.port(setup.index & 0xff)?;
                if feature == PORT_POWER {
                    self.power[port] = request == 3;
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }
}
