//! A card reader on USB: SCSI commands in the wrapping of the class "mass storage, bulk only".
//!
//! The kernel's gadget (`gadget`) is a reader, too; this one can sit beside other devices, and its
//! card comes and goes with a mux.

use super::device::{Descriptors, Model, Setup};
use super::scsi::{Command, Slot, is_write};

/// One interface of the class, with a bulk endpoint for each direction.
const CONFIGURATION: &[u8] = &[
    9, 2, 32, 0, 1, 1, 0, 0x80, 50, // the configuration
    9, 4, 0, 0, 2, 8, 6, 0x50, 0, // its interface: SCSI, bulk only
    7, 5, 0x81, 2, 64, 0, 0, // to the host
    7, 5, 0x02, 2, 64, 0, 0, // from the host
];

/// The wrappers: their lengths and first bytes.
const COMMAND: (usize, [u8; 4]) = (31, *b"USBC");
const STATUS: [u8; 4] = *b"USBS";

/// A reader.
#[derive(Debug)]
pub(crate) struct MassStorage {
    descriptors: Descriptors,
    slot: Slot,
    phase: Phase,
}

/// What comes next on the wire.
#[derive(Debug)]
enum Phase {
    Command,
    /// Data from the host.
    Taking {
        command: Wrapped,
        data: Vec<u8>,
    },
    /// Data to the host.
    Giving {
        command: Wrapped,
        data: Vec<u8>,
        given: usize,
        outcome: u8,
    },
    Status {
        tag: [u8; 4],
        residue: usize,
        outcome: u8,
    },
}

/// A command as the host has wrapped it.
#[derive(Clone, Copy, Debug)]
struct Wrapped {
    tag: [u8; 4],
    /// How much data the host has or wants.
    length: usize,
    to_host: bool,
    command: Command,
}

impl MassStorage {
    /// `numbers` are those of vendor and product.
    pub(crate) fn new(numbers: (u16, u16), strings: [&str; 3], slot: Slot) -> Self {
        let ([v0, v1], [p0, p1]) = (numbers.0.to_le_bytes(), numbers.1.to_le_bytes());
        let descriptors = Descriptors {
            device: [18, 1, 0, 2, 0, 0, 0, 8, v0, v1, p0, p1, 0, 1, 1, 2, 3, 1],
            configuration: CONFIGURATION,
            capabilities: &[],
            strings: strings.map(str::to_owned),
        };
        Self { descriptors, slot, phase: Phase::Command }
    }

    fn obey(&mut self, wrapped: Wrapped, received: &[u8]) -> Phase {
        let Wrapped { tag, length, to_host, command } = wrapped;
        let (data, outcome) = match self.slot.command(&command, received) {
            Ok(data) => (data, 0),
            Err(_) => (Vec::new(), 1),
        };
        if to_host && length > 0 {
            let mut data = data;
            data.truncate(length);
            return Phase::Giving { command: wrapped, data, given: 0, outcome };
        }
        Phase::Status { tag, residue: length - received.len().min(length), outcome }
    }
}

impl Wrapped {
    fn parse(data: &[u8]) -> Option<Self> {
        let (length, signature) = COMMAND;
        if data.len() != length || data[..4] != signature {
            return None;
        }
        let four = |at: usize| [data[at], data[at + 1], data[at + 2], data[at + 3]];
        let mut command = [0; 16];
        command.copy_from_slice(&data[15..31]);
        let length = usize::try_from(u32::from_le_bytes(four(8))).ok()?;
        Some(Self { tag: four(4), length, to_host: data[12] & 0x80 != 0, command })
    }
}

impl Model for MassStorage {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn start(&mut self) {
        self.phase = Phase::Command;
        self.tell_card();
    }

    fn request(&mut self, setup: Setup, _: &[u8]) -> Option<Vec<u8>> {
        match (setup.kind, setup.request) {
            // The number of the last slot.
            (0xa1, 0xfe) => Some(vec![0]),
            // Reset.
            (0x21, 0xff) => {
                self.start();
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn output(&mut self, data: &[u8]) -> Option<()> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Taking { command, data: mut received } => {
                received.extend(data);
                if received.len() < command.length {
                    Phase::Taking { command, data: received }
                } else {
                    self.obey(command, &received)
                }
            }
            // A host that begins anew has given up what was before.
            Phase::Command | Phase::Giving { .. } | Phase::Status { .. } => {
                let command = Wrapped::parse(data)?;
                if command.to_host || command.length == 0 {
                    self.obey(command, &[])
                } else {
                    Phase::Taking { command, data: Vec::new() }
                }
            }
        };
        self.tell_card();
        Some(())
    }

    fn input(&mut self, length: usize) -> Option<Vec<u8>> {
        let packet = self.packet(length);
        self.tell_card();
        packet
    }
}

impl MassStorage {
    /// What the host gets next.
    fn packet(&mut self, length: usize) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Giving { command, data, given, outcome } => {
                let end = data.len().min(given + length);
                let packet = data[given..end].to_vec();
                // What is shorter than what the host waits for ends the data.
                self.phase = if packet.len() < length || end == command.length {
                    Phase::Status { tag: command.tag, residue: command.length - end, outcome }
                } else {
                    Phase::Giving { command, data, given: end, outcome }
                };
                Some(packet)
            }
            Phase::Status { tag, residue, outcome } => {
                let residue = u32::try_from(residue).unwrap_or(0).to_le_bytes();
                Some([&STATUS[..], &tag, &residue, &[outcome]].concat())
            }
            phase @ (Phase::Command | Phase::Taking { .. }) => {
                self.phase = phase;
                None
            }
        }
    }

    /// A card may not be moved while it is written. To be read harms none, and a kernel that has just
    /// found a disk does so in its own time.
    fn tell_card(&self) {
        let writes = match &self.phase {
            Phase::Taking { command, .. } => is_write(&command.command),
            Phase::Giving { .. } | Phase::Command | Phase::Status { .. } => false,
        };
        self.slot.card().is_written(writes);
    }
}
