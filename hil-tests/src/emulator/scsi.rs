//! What a card reader does for SCSI commands (SBC-3, SPC-4), as far as Linux sends them to one.

use std::sync::Arc;

use super::expander::{Expander, Moved};
use super::muxed::{MuxedCard, SECTOR, Side};

/// A command descriptor block.
pub(crate) type Command = [u8; 16];

/// Why a command failed: the sense key, and the additional sense code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sense(u8, u8);

impl Sense {
    pub(crate) const NONE: Self = Self(0, 0);
    const NO_MEDIUM: Self = Self(2, 0x3a);
    const READ_ERROR: Self = Self(3, 0x11);
    const WRITE_ERROR: Self = Self(3, 0x0c);
    const NO_ANSWER: Self = Self(4, 0x44);
    const UNKNOWN_COMMAND: Self = Self(5, 0x20);
    const OUT_OF_RANGE: Self = Self(5, 0x21);
    const INVALID_FIELD: Self = Self(5, 0x24);
    const WRITE_PROTECTED: Self = Self(7, 0x27);
    const CHANGED: Self = Self(6, 0x28);

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; 18];
        // An error of the current command, in the fixed format.
        (bytes[0], bytes[2], bytes[7], bytes[12]) = (0x70, self.0, 10, self.1);
        bytes
    }
}

/// The slot of a reader.
#[derive(Debug)]
pub(crate) struct Slot {
    card: Arc<MuxedCard>,
    /// What it says that it is: vendor and product.
    names: (&'static str, &'static str),
    /// What switches the mux, if that is behind the reader.
    expander: Option<Expander>,
    /// Whether the card was there when somebody asked last.
    was_there: bool,
    /// Why the last command failed.
    sense: Sense,
}

impl Slot {
    pub(crate) const fn new(
        card: Arc<MuxedCard>,
        names: (&'static str, &'static str),
        expander: Option<Expander>,
    ) -> Self {
        Self { card, names, expander, was_there: false, sense: Sense::NONE }
    }

    /// The card that is in it from time to time.
    pub(crate) const fn card(&self) -> &Arc<MuxedCard> {
        &self.card
    }

    /// Does what it is told; `data` came with the command. Returns what goes back.
    pub(crate) fn command(&mut self, command: &Command, data: &[u8]) -> Result<Vec<u8>, Sense> {
        let outcome = match command[0] {
            REQUEST_SENSE => Ok(std::mem::replace(&mut self.sense, Sense::NONE).bytes()),
            INQUIRY if command[1] & 1 == 0 => Ok(self.inquiry()),
            INQUIRY => Err(Sense::INVALID_FIELD),
            VENDOR => self.vendor(command, data),
            _ => self.with_card(command, data),
        };
        if let Err(sense) = outcome {
            self.sense = sense;
        }
        outcome
    }

    /// What needs a card.
    fn with_card(&mut self, command: &Command, data: &[u8]) -> Result<Vec<u8>, Sense> {
        let is_there = self.card.side() == Side::Host;
        let was_there = std::mem::replace(&mut self.was_there, is_there);
        match (was_there, is_there) {
            (_, false) => {
                if command[0] == WRITE_10 {
                    self.card.abused("the host still wrote to it after it was taken away");
                }
                return Err(Sense::NO_MEDIUM);
            }
            (false, true) => return Err(Sense::CHANGED),
            (true, true) => {}
        }
        match command[0] {
            TEST_UNIT_READY | START_STOP | PREVENT_REMOVAL | SYNCHRONIZE_CACHE => Ok(Vec::new()),
            // Whether it is locked; it has no cache of its own.
            MODE_SENSE_6 => Ok(vec![3, 0, if self.card.is_locked() { 0x80 } else { 0 }, 0]),
            READ_CAPACITY => {
                let last = self.card.sectors() - 1;
                Ok([last.to_be_bytes(), 512_u32.to_be_bytes()].concat())
            }
            READ_10 => {
                let (sector, count) = self.range(command)?;
                self.card.read(sector, count).map_err(|_| Sense::READ_ERROR)
            }
            WRITE_10 if self.card.is_locked() => Err(Sense::WRITE_PROTECTED),
            WRITE_10 => {
                let (sector, count) = self.range(command)?;
                let data = data.get(..count).ok_or(Sense::INVALID_FIELD)?;
                self.card.write(sector, data).map_err(|_| Sense::WRITE_ERROR)?;
                Ok(Vec::new())
            }
            _ => Err(Sense::UNKNOWN_COMMAND),
        }
    }

    /// The first sector, and the number of bytes.
    fn range(&self, command: &Command) -> Result<(u64, usize), Sense> {
        let first = u32::from_be_bytes([command[2], command[3], command[4], command[5]]);
        let count = u16::from_be_bytes([command[7], command[8]]);
        let end = first.checked_add(count.into());
        let fits = end.is_some_and(|end| end <= self.card.sectors());
        let length = usize::try_from(SECTOR * u64::from(count)).unwrap_or(0);
        fits.then_some((first.into(), length)).ok_or(Sense::OUT_OF_RANGE)
    }

    fn inquiry(&self) -> Vec<u8> {
        // A disk, removable, as of SPC-2.
        let head = [0, 0x80, 4, 2, 31, 0, 0, 0];
        let (vendor, product) = self.names;
        [&head[..], format!("{vendor:8.8}{product:16.16}1.00").as_bytes()].concat()
    }

    /// Microchip's way to the I2C bus behind the reader.
    fn vendor(&mut self, command: &Command, data: &[u8]) -> Result<Vec<u8>, Sense> {
        let expander = self.expander.as_mut().ok_or(Sense::UNKNOWN_COMMAND)?;
        match command[1] {
            0x23 => {
                let moved = expander.write(command[2] >> 1, data).ok_or(Sense::NO_ANSWER)?;
                if moved == Moved::WithPower {
                    self.card.abused("it was moved while it had power");
                }
                self.card.move_to(expander.side());
                Ok(Vec::new())
            }
            0x22 => {
                let value = expander.read(command[2] >> 1, command[7]);
                let mut answer = vec![0; 512];
                answer[0] = value.ok_or(Sense::NO_ANSWER)?;
                Ok(answer)
            }
            _ => Err(Sense::INVALID_FIELD),
        }
    }
}

/// Whether a command changes what is on the card.
pub(crate) const fn is_write(command: &Command) -> bool {
    matches!(command[0], WRITE_10)
}

const TEST_UNIT_READY: u8 = 0x00;
const REQUEST_SENSE: u8 = 0x03;
const INQUIRY: u8 = 0x12;
const MODE_SENSE_6: u8 = 0x1a;
const START_STOP: u8 = 0x1b;
const PREVENT_REMOVAL: u8 = 0x1e;
const READ_CAPACITY: u8 = 0x25;
const READ_10: u8 = 0x28;
const WRITE_10: u8 = 0x2a;
const SYNCHRONIZE_CACHE: u8 = 0x35;
const VENDOR: u8 = 0xcf;
