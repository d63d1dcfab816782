//! What switches an SDWire: an FTDI FT200X whose pin CBUS0 is the mux.
//!
//! The requests are those of FTDI's chips as the kernel's `ftdi_sio` has them; which pin is what is as
//! in Badger-Embedded's `sdwire-cli`.

use std::sync::Arc;

use super::device::{Descriptors, Model, Setup};
use super::muxed::{MuxedCard, Side};

const CONFIGURATION: &[u8] = &[
    9, 2, 32, 0, 1, 1, 0, 0xa0, 45, // the configuration
    9, 4, 0, 0, 2, 0xff, 0xff, 0xff, 2, // its interface, of no class
    7, 5, 0x81, 2, 64, 0, 0, // to the host
    7, 5, 0x02, 2, 64, 0, 0, // from the host
];

/// The chip.
#[derive(Debug)]
pub(crate) struct SdWire {
    descriptors: Descriptors,
    card: Arc<MuxedCard>,
    /// The levels of the four pins.
    pins: u8,
}

impl SdWire {
    pub(crate) fn new(serial: &str, card: Arc<MuxedCard>) -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0, 2, 0, 0, 0, 8, 0xe8, 4, 1, 0x60, 0, 0x10, 1, 2, 3, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["SRPOL", "sd-wire", serial].map(str::to_owned),
            },
            card,
            pins: 0,
        }
    }
}

impl Model for SdWire {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        const SET_BITMODE: (u8, u8) = (0x40, 0x0b);
        const READ_PINS: (u8, u8) = (0xc0, 0x0c);
        const CBUS_BITBANG: u8 = 0x20;
        match (setup.kind, setup.request) {
            SET_BITMODE => {
                let [mode, mask] = setup.value.to_be_bytes();
                if mode == CBUS_BITBANG {
                    let (outputs, levels) = (mask >> 4, mask & 0xf);
                    self.pins = levels & outputs | self.pins & !outputs;
                    // Where CBUS0 is no GPIO, this does nothing: the card is stuck.
                    self.card.move_to(if self.pins & 1 == 1 { Side::Host } else { Side::Dut });
                }
                Some(Vec::new())
            }
            READ_PINS => Some(vec![self.pins]),
            (0x40, _) => Some(Vec::new()),
            _ => None,
        }
    }

    /// Its serial port leads nowhere.
    fn output(&mut self, _: &[u8]) -> Option<()> {
        Some(())
    }
}
