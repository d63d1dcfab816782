//! Yepkit's boards: three ports that are switched by reports of 64 bytes; on a YKUSH3 an output of
//! 5 volts, too, and on a YKUSH XS one port only.
//!
//! The protocol is that of Yepkit's own tool (Yepkit/ykush): the first byte of a report is the
//! command, and the answer begins with 1.

use std::collections::VecDeque;

use serde::Deserialize;
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

/// Whether port 1, 2 and 3 are on, and the output of a YKUSH3.
pub(crate) type Ports = [bool; 4];

/// Which board it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Board {
    Ykush,
    Ykush2,
    Ykush3,
    YkushXs,
}

impl Board {
    const fn product(self) -> (&'static str, u16) {
        match self {
            Self::Ykush => ("YKUSH", 0xf2f7),
            Self::Ykush2 => ("YKUSH2", 0xefed),
            Self::Ykush3 => ("YKUSH3", 0xf11b),
            Self::YkushXs => ("YKUSHXS", 0xf0cd),
        }
    }

    /// The driver for it.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::Ykush => "jumpstarter_driver_yepkit.driver.Ykush",
            Self::Ykush2 => "hilt.power.Ykush2",
            Self::Ykush3 => "hilt.power.Ykush3",
            Self::YkushXs => "hilt.power.YkushXs",
        }
    }

    const fn outputs(self) -> u8 {
        match self {
            Self::YkushXs => 1,
            Self::Ykush | Self::Ykush2 => 3,
            Self::Ykush3 => 4,
        }
    }
}

/// A board, with all that it has on, as it is when it gets power.
#[derive(Debug)]
pub(crate) struct Ykush {
    board: Board,
    descriptors: Descriptors,
    ports: watch::Sender<Ports>,
    answers: VecDeque<Vec<u8>>,
}

impl Ykush {
    pub(crate) fn new(board: Board, serial: &str) -> Self {
        let (name, product) = board.product();
        let [p0, p1] = product.to_le_bytes();
        Self {
            board,
            descriptors: Descriptors {
                device: [18, 1, 0, 2, 0, 0, 0, 8, 0xd8, 4, p0, p1, 1, 1, 1, 2, 3, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["Yepkit Lda.", name, serial].map(str::to_owned),
            },
            ports: watch::channel([true; 4]).0,
            answers: VecDeque::new(),
        }
    }

    /// Its ports; they change when somebody switches one.
    pub(crate) fn ports(&self) -> watch::Receiver<Ports> {
        self.ports.subscribe()
    }

    /// What it does for a report, and answers.
    fn obey(&self, command: u8) -> Vec<u8> {
        let (verb, which) = (command >> 4, command & 15);
        let selected = match which {
            10 if self.board != Board::YkushXs => 0..3,
            _ if (1..=self.board.outputs()).contains(&which) => {
                usize::from(which) - 1..usize::from(which)
            }
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

    fn start(&mut self) {
        self.answers.clear();
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        // How often to repeat a report that has not changed.
        const SET_IDLE: (u8, u8) = (0x21, 10);
        ((setup.kind, setup.request) == SET_IDLE).then(Vec::new)
    }

    fn output(&mut self, data: &[u8]) -> Option<()> {
        let answer = self.obey(*data.first()?);
        self.answers.push_back(answer);
        Some(())
    }

    fn input(&mut self, _: usize) -> Option<Vec<u8>> {
        self.answers.pop_front()
    }
}
