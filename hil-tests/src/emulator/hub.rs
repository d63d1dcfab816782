//! A hub that switches the power of each of its four ports: a Microchip USB2514, with nothing
//! plugged in.
//!
//! The requests are those of chapter 11 of the USB 2.0 specification.

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

/// Power and over-current are each port's own; every port has something that can be removed.
const HUB: [u8; 9] = [9, 0x29, HUB_PORTS, 0x09, 0x00, 50, 1, 0x00, 0xff];

/// A hub.
#[derive(Debug)]
pub(crate) struct Hub {
    descriptors: Descriptors,
    power: [bool; 4],
}

impl Hub {
    pub(crate) fn new(serial: &str) -> Self {
        Self {
            descriptors: Descriptors {
                device: [
                    18, 1, 0, 2, HUB_CLASS, 0, 0, 64, 0x24, 4, 0x14, 0x25, 0xb3, 0xb, 1, 2, 3, 1,
                ],
                configuration: CONFIGURATION,
                strings: ["Microchip", "USB2514", serial].map(str::to_owned),
            },
            power: [false; 4],
        }
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
}

impl Model for Hub {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        const PORT_POWER: u16 = 8;
        match (setup.kind, setup.request, setup.value) {
            (0xa0, 6, _) => Some(HUB.to_vec()),
            // The hub as a whole: locally powered, and well.
            (0xa0, 0, _) => Some(vec![0; 4]),
            (0x20, 1 | 3, _) => Some(Vec::new()),
            (0xa3, 0, _) => {
                let on = self.power[self.port(setup.index)?];
                Some(vec![0, u8::from(on), 0, 0])
            }
            (0x23, request @ (1 | 3), feature) => {
                let port = self.port(setup.index)?;
                if feature == PORT_POWER {
                    self.power[port] = request == 3;
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn output(&mut self, _: &[u8]) -> Option<()> {
        None
    }

    /// Nothing ever changes by itself.
    fn input(&mut self, _: usize) -> Option<Vec<u8>> {
        None
    }
}
