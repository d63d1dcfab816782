//! From what a configuration says to a line that is held, and why there may be none.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::chip::{Bias, Chips, Direction, Drive, HeldLine as _, Info, Level, Settings};
use super::config::{Device, Line};
use crate::power::switch::AtOpen;
use crate::{DriverError, Result, permission};

/// A line, as the configuration describes it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// None: whichever chip has a line of this name, or the first one for a number.
    pub(super) device: Option<Device>,
    pub(super) line: Line,
    pub(super) active_low: bool,
    pub(super) bias: Bias,
}

impl Wanted {
    /// Takes hold of the line for reading, and for its edges.
    pub(super) fn input<C: Chips>(&self, chips: &C) -> Result<C::Line> {
        let found = self.find(chips)?;
        let settings = self.settings(Direction::Input(self.bias));
        chips
            .request(&found.device, found.offset, settings)
            .map_err(|e| self.refusal(chips, &found, e))
    }

    /// Takes hold of the line for driving. One that is to keep its level is an output before and after
    /// without a moment in between; if it was none, its level is anyone's guess, and it becomes inactive.
    pub(super) fn output<C: Chips>(
        &self,
        chips: &C,
        drive: Drive,
        level: AtOpen,
    ) -> Result<C::Line> {
        let found = self.find(chips)?;
        let output = |level| self.settings(Direction::Output(level, drive, self.bias));
        let request = |settings| chips.request(&found.device, found.offset, settings);
        let line = match level {
            AtOpen::On => request(output(Level::Active)),
            AtOpen::Off => request(output(Level::Inactive)),
            AtOpen::Keep if found.info.output => {
                request(self.settings(Direction::AsIs)).and_then(|line| {
                    line.reconfigure(output(line.level()?))?;
                    Ok(line)
                })
            }
            AtOpen::Keep => request(output(Level::Inactive)),
        };
        line.map_err(|error| self.refusal(chips, &found, error))
    }

    /// The error for something that was done with the line while it was held.
    pub(super) fn failure(&self, what: &str, error: io::Error) -> DriverError {
        let what = format!("{what} GPIO line {}", self.line);
        if is_gone(&error) {
            return DriverError::Disconnected(format!("{what}: its chip has gone ({error})"));
        }
        DriverError::io(what, error)
    }

    const fn settings(&self, direction: Direction) -> Settings {
        Settings { direction, active_low: self.active_low }
    }

    fn find<C: Chips>(&self, chips: &C) -> Result<Found> {
        let devices = match (&self.device, &self.line) {
            (Some(Device(path)), _) => vec![path.clone()],
            (None, Line::Offset(_)) => vec![Device::default().0],
            (None, Line::Name(_)) => {
                chips.all().map_err(|error| DriverError::io("look for GPIO chips", error))?
            }
        };
        let mut unreadable = None;
        for device in &devices {
            match chips.lines(device) {
                Ok(lines) => match self.among(device, lines) {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                Err(error) => unreadable = Some(chip_refusal(device, error)),
            }
        }
        Err(unreadable.unwrap_or_else(|| self.no_such_line(&devices)))
    }

    fn among(&self, device: &Path, lines: Vec<Info>) -> Option<Found> {
        let is_it = |(offset, info): &(u32, Info)| match &self.line {
            Line::Offset(wanted) => offset == wanted,
            Line::Name(name) => &info.name == name,
        };
        let (offset, info) = (0..).zip(lines).find(is_it)?;
        Some(Found { device: device.to_owned(), offset, info })
    }

    fn no_such_line(&self, devices: &[PathBuf]) -> DriverError {
        let devices: Vec<_> = devices.iter().map(|path| path.display().to_string()).collect();
        let place = match &*devices {
            [] => "there is no GPIO chip on this host".to_owned(),
            [device] => format!("{device} has no such line"),
            several => format!("none of {} has such a line", several.join(", ")),
        };
        DriverError::NotFound(format!("GPIO line {}: {place}; gpioinfo lists them all", self.line))
    }

    fn refusal<C: Chips>(&self, chips: &C, found: &Found, error: io::Error) -> DriverError {
        let device = found.device.display();
        let what = format!("GPIO line {} of {device}", self.line);
        if error.kind() == io::ErrorKind::ResourceBusy {
            // Asked for again: whoever holds it may have come only after the line was found.
            let lines = chips.lines(&found.device).unwrap_or_default();
            let info = lines.into_iter().zip(0..).find(|(_, offset)| *offset == found.offset);
            let holder = info.and_then(|(info, _)| info.holder);
            let holder = match holder.as_deref() {
                None | Some("") => "somebody who gives no name".to_owned(),
                Some(holder) => format!("'{holder}'"),
            };
            return DriverError::Busy(format!("{what}: it is held by {holder}"));
        }
        if error.raw_os_error() == Some(Errno::EINVAL as i32) {
            return DriverError::InvalidArgument(format!(
                "{what}: the chip can't do what the configuration wants of it ({error})"
            ));
        }
        if error.raw_os_error() == Some(Errno::ENXIO as i32) {
            return DriverError::Unsupported(format!("{what}: its edges can't be seen ({error})"));
        }
        DriverError::io(what, error)
    }
}

/// A line that is there.
#[derive(Debug)]
struct Found {
    device: PathBuf,
    offset: u32,
    info: Info,
}

/// Why a chip could not be asked.
fn chip_refusal(device: &Path, error: io::Error) -> DriverError {
    let name = device.display();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's enum is open")]
    match error.kind() {
        io::ErrorKind::NotFound => DriverError::NotFound(format!(
            "open {name}: there is no such GPIO chip; gpiodetect lists those there are"
        )),
        io::ErrorKind::PermissionDenied => DriverError::PermissionDenied(format!(
            "open {name}: the exporter may not; {}",
            permission::what_permits(device)
        )),
        _ => DriverError::io(format!("open {name}"), error),
    }
}

/// Whether an error means that the chip was unplugged.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Board;
    use super::*;

    fn wanted(line: Line) -> Wanted {
        Wanted { device: None, line, active_low: false, bias: Bias::AsIs }
    }

    fn output(board: &Board, wanted: &Wanted, level: AtOpen) -> Level {
        let line = wanted.output(board, Drive::PushPull, level).unwrap();
        line.level().unwrap()
    }

    #[test]
    fn an_output_keeps_its_level_unless_it_is_told_one() {
        let board = Board::default();
        let line = wanted(Line::Offset(2));
        assert_eq!(output(&board, &line, AtOpen::Keep), Level::Inactive, "it was an input");
        board.drive(2, true);
        assert_eq!(output(&board, &line, AtOpen::Keep), Level::Active);
        assert_eq!(output(&board, &line, AtOpen::Off), Level::Inactive);
        assert_eq!(output(&board, &line, AtOpen::On), Level::Active);
        assert_eq!(board.voltages(2), [true, false, true], "and no pulse in between");
    }

    #[test]
    fn active_may_be_low() {
        let board = Board::default();
        board.drive(2, true);
        let line = Wanted { active_low: true, ..wanted(Line::Offset(2)) };
        assert_eq!(output(&board, &line, AtOpen::Keep), Level::Inactive);
        assert_eq!(output(&board, &line, AtOpen::On), Level::Active);
        assert_eq!(board.voltages(2), [true, false]);
    }

    #[test]
    fn a_line_can_have_a_name() {
        let board = Board::default();
        let line = wanted(Line::Name("RESET".into()));
        assert_eq!(line.find(&board).unwrap().offset, 3);
    }

    #[test]
    fn refusals_are_told_apart() {
        let board = Board::default();
        let refused = |wanted: &Wanted| wanted.input(&board).map(drop).unwrap_err();
        let error = refused(&wanted(Line::Name("POWR".into())));
        assert!(matches!(error, DriverError::NotFound(_)));
        assert_eq!(
            error.to_string(),
            "GPIO line 'POWR': /dev/gpiochip0 has no such line; gpioinfo lists them all"
        );
        assert!(matches!(refused(&wanted(Line::Offset(64))), DriverError::NotFound(_)));

        let device = Some(Device("/dev/gpiochip9".into()));
        let error = refused(&Wanted { device, ..wanted(Line::Offset(1)) });
        assert_eq!(
            error.to_string(),
            "open /dev/gpiochip9: there is no such GPIO chip; gpiodetect lists those there are"
        );

        let _held = wanted(Line::Offset(1)).input(&board).unwrap();
        let error = refused(&wanted(Line::Offset(1)));
        assert!(matches!(error, DriverError::Busy(_)));
        assert_eq!(error.to_string(), "GPIO line 1 of /dev/gpiochip0: it is held by 'hilt'");

        let error = chip_refusal(Path::new("/dev/null"), io::ErrorKind::PermissionDenied.into());
        assert!(matches!(error, DriverError::PermissionDenied(_)));
    }

    #[test]
    fn a_chip_that_is_unplugged_is_gone() {
        let board = Board::default();
        let line = wanted(Line::Offset(1)).input(&board).unwrap();
        board.unplug();
        let error = wanted(Line::Offset(1)).failure("read", line.level().unwrap_err());
        assert!(matches!(error, DriverError::Disconnected(_)), "{error}");
    }
}
