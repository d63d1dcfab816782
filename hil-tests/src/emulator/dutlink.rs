//! A DUT Link: a power supply that can't be asked whether it is on, a switch for a stick, and a serial
//! adapter whose transmit and receive are wired together.
//!
//! The requests and the order of the interfaces are those of the board's firmware
//! (jumpstarter-dev/dutlink-firmware); the adapter is of the class CDC-ACM.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::device::{Descriptors, Model, Setup};
use super::muxed::{MuxedCard, Side};

const CONFIGURATION: &[u8] = &[
    9, 2, 110, 0, 4, 1, 0, 0x80, 250, // the configuration
    8, 11, 0, 2, 2, 2, 1, 0, // two interfaces that are one adapter
    9, 4, 0, 0, 1, 2, 2, 1, 0, // the first
    5, 0x24, 0, 0x10, 1, // of CDC 1.10,
    5, 0x24, 1, 0, 1, // which leaves calls to the other,
    4, 0x24, 2, 2, // has a line,
    5, 0x24, 6, 0, 1, // and belongs to the other
    7, 5, 0x81, 3, 8, 0, 255, // what happens on the line
    9, 4, 1, 0, 2, 10, 0, 0, 0, // the second
    7, 5, 0x82, 2, 64, 0, 0, // to the host
    7, 5, 0x02, 2, 64, 0, 0, // from the host
    9, 4, 2, 0, 0, 0xfe, 1, 1, 0, // what leads to the bootloader
    9, 0x21, 0x0b, 255, 0, 0, 16, 0x10, 1, //
    8, 11, 3, 1, 0xff, 1, 1, 0, // one interface of the vendor's
    9, 4, 3, 0, 0, 0xff, 1, 1, 0, // for requests
];

/// The endpoint on which nothing ever happens.
const EVENTS: u8 = 1;

/// The interface for requests.
const INTERFACE: u16 = 3;

/// A board.
#[derive(Debug)]
pub(crate) struct DutLink {
    descriptors: Descriptors,
    power: watch::Sender<bool>,
    /// The stick in its socket.
    stick: Arc<MuxedCard>,
    /// What came back on the line, and the host has not read yet.
    to_host: VecDeque<u8>,
}

impl DutLink {
    pub(crate) fn new(serial: &str, stick: Arc<MuxedCard>) -> Self {
        Self {
            descriptors: Descriptors {
                device: [18, 1, 0, 2, 0xef, 2, 1, 64, 0x23, 0x2b, 0x12, 0x10, 1, 0, 1, 2, 3, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["Red Hat Inc.", "Dutlink", serial].map(str::to_owned),
            },
            power: watch::channel(false).0,
            stick,
            to_host: VecDeque::new(),
        }
    }

    /// Whether it gives power.
    pub(crate) fn power(&self) -> watch::Receiver<bool> {
        self.power.subscribe()
    }

    fn supply(&self, on: bool) {
        self.power.send_replace(on);
    }

    /// A request of the vendor's.
    fn told(&self, request: u8, value: u16) -> Option<()> {
        const POWER: u8 = 1;
        const STORAGE: u8 = 2;
        match (request, value) {
            // What it measures is up to date anyway.
            (0, _) => {}
            // Off, with and without a sequence.
            (POWER, 0 | 2) => self.supply(false),
            // On, with and without one, and to rescue.
            (POWER, 1 | 3 | 4) => self.supply(true),
            (STORAGE, 0) => self.stick.move_to(Side::Nobody),
            (STORAGE, 1) => self.stick.move_to(Side::Host),
            (STORAGE, 2) => self.stick.move_to(Side::Dut),
            _ => return None,
        }
        Some(())
    }
}

impl Model for DutLink {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// Its power comes from the host, so that it begins with all that it switches off.
    fn start(&mut self) {
        self.to_host.clear();
        self.supply(false);
        self.stick.move_to(Side::Nobody);
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        const READ: (u8, u16) = (4, 1);
        const GET_LINE_CODING: u8 = 0x21;
        match (setup.kind, setup.request, setup.index) {
            (0x41, request, INTERFACE) => self.told(request, setup.value).map(|()| Vec::new()),
            (0xc1, request, INTERFACE) if (request, setup.value) == READ => {
                let measured = match *self.power.borrow() {
                    true => "2.06W 5.02V 0.41A",
                    false => "0.00W 0.00V 0.00A",
                };
                Some(measured.into())
            }
            // 115200 baud, 8N1.
            (0xa1, GET_LINE_CODING, _) => Some(vec![0, 0xc2, 1, 0, 0, 0, 8]),
            // The same, the control lines, a break: there is no wire that they matter on.
            (0x21, 0x20 | 0x22 | 0x23, _) => Some(Vec::new()),
            _ => None,
        }
    }

    fn is_mute(&self, endpoint: u8) -> bool {
        endpoint == EVENTS
    }

    fn output(&mut self, data: &[u8]) -> Option<()> {
        self.to_host.extend(data);
        Some(())
    }

    fn input(&mut self, length: usize) -> Option<Vec<u8>> {
        let length = self.to_host.len().min(length);
        (length > 0).then(|| self.to_host.drain(..length).collect())
    }
}
