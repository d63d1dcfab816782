//! What switches a USB-SD-Mux: a chip with a register of lines, on an I2C bus behind the reader.
//!
//! The chips are NXP's PCA9536 and TI's TCA6408; what their lines do is as in linux-automation's
//! `usbsdmux`.

use super::muxed::Side;

/// Which mux it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    Classic,
    Fast,
}

/// The bits of the lines.
struct Lines {
    data_off: u8,
    power_off: u8,
    dut: u8,
    removed: u8,
}

impl Generation {
    /// What the reader says that it is.
    pub(crate) const fn model(self) -> &'static str {
        match self {
            Self::Classic => "sdmux HS-SD/MMC",
            Self::Fast => "sdFST HS-SD/MMC",
        }
    }

    const fn address(self) -> u8 {
        match self {
            Self::Classic => 0x41,
            Self::Fast => 0x20,
        }
    }

    const fn lines(self) -> Lines {
        match self {
            Self::Classic => Lines { data_off: 1, power_off: 2, dut: 4, removed: 8 },
            Self::Fast => Lines { data_off: 4, power_off: 2, dut: 1, removed: 8 },
        }
    }
}

/// The chip.
#[derive(Debug)]
pub(crate) struct Expander {
    generation: Generation,
    output: u8,
    direction: u8,
}

const OUTPUT: u8 = 1;
const DIRECTION: u8 = 3;

impl Expander {
    /// As it is when it gets power.
    pub(crate) const fn new(generation: Generation) -> Self {
        Self { generation, output: 0xff, direction: 0xff }
    }

    /// Who has the card by the levels of the lines.
    pub(crate) const fn side(&self) -> Side {
        let Lines { data_off, power_off, dut, removed } = self.generation.lines();
        let levels = self.levels();
        if levels & (data_off | power_off) != 0 {
            Side::Nobody
        } else if levels & dut != 0 {
            Side::Dut
        } else if levels & removed != 0 {
            Side::Nobody
        } else {
            Side::Host
        }
    }

    /// The board has resistors that connect the card to the DUT while nobody drives a line.
    const fn levels(&self) -> u8 {
        let Lines { dut, removed, .. } = self.generation.lines();
        self.output & !self.direction | (dut | removed) & self.direction
    }

    /// Reads a register. None: no chip has this address, or this one no such register.
    pub(super) fn read(&self, address: u8, register: u8) -> Option<u8> {
        if address != self.generation.address() {
            return None;
        }
        match register {
            0 => Some(self.levels()),
            OUTPUT => Some(self.output),
            2 => Some(0),
            DIRECTION => Some(self.direction),
            _ => None,
        }
    }

    /// Writes a register; `data` is which, and what. None as above.
    pub(super) fn write(&mut self, address: u8, data: &[u8]) -> Option<Moved> {
        let &[register, value, ..] = data else { return None };
        if address != self.generation.address() {
            return None;
        }
        let before = self.levels();
        match register {
            OUTPUT => self.output = value,
            DIRECTION => self.direction = value,
            _ => return None,
        }
        let Lines { dut, power_off, .. } = self.generation.lines();
        let moves = (before ^ self.levels()) & dut != 0;
        Some(match moves && (before | self.levels()) & power_off == 0 {
            true => Moved::WithPower,
            false => Moved::Well,
        })
    }
}

/// What a write did to the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Well,
    /// It was moved from one side to the other while it had power.
    WithPower,
}
