//! The chip that switches: eight or four lines, each set by a bit of a register.

use super::super::block::Side;
use super::bridge::Chip;
use crate::{DriverError, Result};

/// Its registers. `DIRECTION` has a 1 for each line that the chip leaves alone.
const OUTPUT: u8 = 1;
const DIRECTION: u8 = 3;

/// The two generations of the mux, which have different chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// With a PCA9536.
    Classic,
    /// USB-SD-Mux FAST, with a TCA6408.
    Fast,
}

/// What each line does while its bit is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    /// The card's data lines are connected to nobody.
    data_off: u8,
    /// The card has no power.
    power_off: u8,
    /// The card is the DUT's, if it is connected. Otherwise it is the host's.
    dut: u8,
    /// The host's reader sees no card.
    removed: u8,
    /// Lines for the user, on a connector; nothing here sets them.
    spare: u8,
}

impl Model {
    /// The mux that says that it is this.
    pub(super) fn of(name: &str) -> Option<Self> {
        if name.starts_with("sdmux") {
            Some(Self::Classic)
        } else if name.starts_with("sdFST") {
            Some(Self::Fast)
        } else {
            None
        }
    }

    /// Where the chip is on the bus.
    pub(super) const fn address(self) -> u8 {
        match self {
            Self::Classic => 0x41,
            Self::Fast => 0x20,
        }
    }

    const fn lines(self) -> Lines {
        match self {
            Self::Classic => Lines { data_off: 1, power_off: 2, dut: 4, removed: 8, spare: 0 },
            Self::Fast => Lines { data_off: 4, power_off: 2, dut: 1, removed: 8, spare: 0x30 },
        }
    }
}

impl Lines {
    /// All that the mux itself needs.
    const fn own(self) -> u8 {
        self.data_off | self.power_off | self.dut | self.removed
    }

    const fn state(self, side: Side) -> u8 {
        match side {
            Side::Host => 0,
            Side::Dut => self.dut | self.removed,
            Side::Off => self.data_off | self.power_off | self.removed,
        }
    }
}

/// Where the card is; none if the chip was not told since it was plugged in. Blocks.
pub(super) fn side(chip: &Chip<'_>, model: Model) -> Result<Option<Side>> {
    let lines = model.lines();
    if chip.read(DIRECTION)? & lines.own() != 0 {
        return Ok(None);
    }
    let output = chip.read(OUTPUT)?;
    Ok(Some(if output & lines.power_off != 0 {
        Side::Off
    } else if output & lines.dut != 0 {
        Side::Dut
    } else {
        Side::Host
    }))
}

/// Takes the card from whoever has it, and its power. It has none left a second later. Blocks.
pub(super) fn disconnect(chip: &Chip<'_>, model: Model) -> Result<()> {
    let lines = model.lines();
    let driven = lines.own() | lines.spare;
    if model == Model::Fast && chip.read(DIRECTION)? & driven != 0 {
        // As long as the chip leaves its lines alone, the card is the DUT's. It is told the same
        // before it takes over, or all lines would change at once, and one of them first.
        chip.write(OUTPUT, lines.state(Side::Dut) | lines.spare)?;
        set_direction(chip, driven)?;
    }
    set(chip, lines, lines.state(Side::Off))?;
    match model {
        Model::Classic => set_direction(chip, driven),
        Model::Fast => Ok(()),
    }
}

/// Gives the card, which is connected to nobody, to a side. Blocks.
pub(super) fn connect(chip: &Chip<'_>, model: Model, side: Side) -> Result<()> {
    let lines = model.lines();
    let state = lines.state(side);
    // Which side it is to be comes first: afterwards no line moves while there is power on it.
    set(chip, lines, state & lines.dut | lines.state(Side::Off))?;
    set(chip, lines, state)
}

/// Sets the lines of the mux, leaves the others as they are, and makes sure that they are set.
fn set(chip: &Chip<'_>, lines: Lines, state: u8) -> Result<()> {
    let others = chip.read(OUTPUT)? & !lines.own();
    let value = state | others;
    chip.write(OUTPUT, value)?;
    match chip.read(OUTPUT)? {
        read if read == value => Ok(()),
        read => Err(DriverError::Device(format!(
            "the mux was told {value:#04x} and took it, but says that it has {read:#04x}; another \
             program may be using it"
        ))),
    }
}

/// Lets the chip drive these lines.
fn set_direction(chip: &Chip<'_>, driven: u8) -> Result<()> {
    let direction = chip.read(DIRECTION)?;
    chip.write(DIRECTION, direction & !driven)
}
