//! An FT232R: a serial port whose other end is in this program.
//!
//! What the host reads begins with two bytes for the state of the lines in each packet; vendor
//! requests set the line. The facts are those of the kernel's `ftdi_sio`.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::device::{Descriptors, Model, Setup};

const CONFIGURATION: &[u8] = &[
    9, 2, 32, 0, 1, 1, 0, 0xa0, 45, // the configuration
    9, 4, 0, 0, 2, 0xff, 0xff, 0xff, 2, // its interface, of no class
    7, 5, 0x81, 2, 64, 0, 0, // to the host
    7, 5, 0x02, 2, 64, 0, 0, // from the host
];

/// The bytes of a packet beside the state of the lines.
const PAYLOAD: usize = 62;

/// An adapter.
#[derive(Debug)]
pub(crate) struct Ftdi {
    descriptors: Descriptors,
    /// What comes in at its receive pin and the host has not read yet.
    to_host: VecDeque<u8>,
    /// What goes out at its transmit pin.
    from_host: mpsc::UnboundedSender<Vec<u8>>,
    /// The device at the other end has said stop.
    is_stopped: bool,
    lines: u8,
    /// The lines as the host knows them.
    told: Option<u8>,
}

impl Ftdi {
    /// An adapter, and what the host sends through it.
    pub(crate) fn new(serial: &str) -> (Self, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (from_host, sent) = mpsc::unbounded_channel();
        let ftdi = Self {
            descriptors: Descriptors {
                device: [18, 1, 0, 2, 0, 0, 0, 8, 3, 4, 1, 0x60, 0, 6, 1, 2, 3, 1],
                configuration: CONFIGURATION,
                capabilities: &[],
                strings: ["FTDI", "FT232R USB UART", serial].map(str::to_owned),
            },
            to_host: VecDeque::new(),
            from_host,
            is_stopped: false,
            lines: 0x01,
            told: None,
        };
        (ftdi, sent)
    }

    /// Sends bytes to the host, as the device on the line does.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.to_host.extend(bytes);
    }

    /// From now on the device at the other end takes nothing, or everything again.
    pub(crate) const fn stop(&mut self, stop: bool) {
        self.is_stopped = stop;
    }

    /// DTR and RTS; they are wired back to DSR and carrier detect, and to CTS.
    fn set_lines(&mut self, value: u16) {
        let [mask, level] = value.to_be_bytes();
        for (bit, wired) in [(1, 0x20 | 0x80), (2, 0x10)] {
            if mask & bit != 0 {
                self.lines &= !wired;
                self.lines |= if level & bit == 0 { 0 } else { wired };
            }
        }
    }
}

impl Model for Ftdi {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        match (setup.kind, setup.request) {
            (0x40, 1) => {
                self.set_lines(setup.value);
                Some(Vec::new())
            }
            // Reset, flow control, speed, format, timers: there is no wire that they matter on.
            (0x40, _) => Some(Vec::new()),
            (0xc0, 5) => Some(vec![self.lines, 0x60]),
            // The latency timer, in milliseconds.
            (0xc0, 10) => Some(vec![16]),
            (0xc0, _) => Some(vec![0; setup.length.into()]),
            _ => None,
        }
    }

    fn is_full(&self) -> bool {
        self.is_stopped
    }

    fn output(&mut self, data: &[u8]) -> Option<()> {
        // A line that leads nowhere takes everything, too.
        self.from_host.send(data.to_vec()).ok();
        Some(())
    }

    fn input(&mut self, _: usize) -> Option<Vec<u8>> {
        if self.to_host.is_empty() && self.told == Some(self.lines) {
            return None;
        }
        self.told = Some(self.lines);
        let length = self.to_host.len().min(PAYLOAD);
        Some([self.lines, 0x60].into_iter().chain(self.to_host.drain(..length)).collect())
    }
}
