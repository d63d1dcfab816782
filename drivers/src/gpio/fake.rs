//! A board with one chip, for tests: it keeps the voltage of every line, who holds it, and forgets the
//! edges of a line that is let go of.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;

use super::chip::{CONSUMER, Chips, Direction, Edge, HeldLine, Info, Level, Settings};

const LINES: usize = 8;

/// The chip `/dev/gpiochip0`, whose line 3 is called `RESET`.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<Chip>>);

#[derive(Debug, Default)]
struct Chip {
    wires: [Wire; LINES],
    unplugged: bool,
    /// How often it was plugged in; a line that was held before has gone.
    generation: usize,
}

#[derive(Debug, Default)]
struct Wire {
    /// Whether the voltage is high, now and before: one entry a change.
    voltages: Vec<bool>,
    output: bool,
    shorted: bool,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    settings: Settings,
    /// A byte for each edge.
    edges: UnixStream,
}

impl Board {
    /// What the voltage of a line has been, from change to change.
    pub(super) fn voltages(&self, line: usize) -> Vec<bool> {
        self.lock().wires[line].voltages.clone()
    }

    /// The line was made an output by somebody who holds it no more.
    pub(super) fn drive(&self, line: usize, high: bool) {
        let wire = &mut self.lock().wires[line];
        wire.output = true;
        wire.voltages = vec![high];
    }

    /// Something outside pulls an input.
    pub(super) fn pull(&self, line: usize, high: bool) {
        self.lock().wires[line].change(high);
    }

    /// Something outside is stronger than whoever drives the line.
    pub(super) fn short_to_ground(&self, line: usize) {
        self.lock().wires[line].shorted = true;
    }

    /// The chip goes away, and all that was held of it.
    pub(super) fn unplug(&self) {
        let mut chip = self.lock();
        chip.unplugged = true;
        for wire in &mut chip.wires {
            // The end of the stream is what makes the other end readable.
            wire.holder = None;
        }
    }

    /// A chip is there again.
    pub(super) fn plug_in(&self) {
        let mut chip = self.lock();
        let generation = chip.generation + 1;
        *chip = Chip { generation, ..Chip::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Chip> {
        self.0.lock().unwrap()
    }
}

impl Wire {
    fn high(&self) -> bool {
        !self.shorted && self.voltages.last().copied().unwrap_or_default()
    }

    fn change(&mut self, high: bool) {
        if self.voltages.last() == Some(&high) {
            return;
        }
        self.voltages.push(high);
        if let Some(holder) = &mut self.holder
            && matches!(holder.settings.direction, Direction::Input(_))
        {
            let rising = high != holder.settings.active_low;
            holder.edges.write_all(&[u8::from(rising)]).unwrap();
        }
    }

    /// What a new or changed request does to the line.
    fn apply(&mut self, settings: Settings) {
        match settings.direction {
            Direction::AsIs => {}
            Direction::Input(_) => self.output = false,
            Direction::Output(level, ..) => {
                self.output = true;
                self.change((level == Level::Active) != settings.active_low);
            }
        }
    }
}

impl Chips for Board {
    type Line = FakeLine;

    fn all(&self) -> io::Result<Vec<PathBuf>> {
        Ok(vec!["/dev/gpiochip0".into()])
    }

    fn lines(&self, device: &Path) -> io::Result<Vec<Info>> {
        let chip = self.lock();
        if device != Path::new("/dev/gpiochip0") || chip.unplugged {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = HashMap::from([(3, "RESET")]);
        let info = |(number, wire): (usize, &Wire)| Info {
            name: names.get(&number).copied().unwrap_or_default().to_owned(),
            output: wire.output,
            holder: wire.holder.as_ref().map(|_| CONSUMER.to_owned()),
        };
        Ok(chip.wires.iter().enumerate().map(info).collect())
    }

    fn request(&self, _: &Path, offset: u32, settings: Settings) -> io::Result<FakeLine> {
        let mut chip = self.lock();
        let generation = chip.generation;
        let wire = &mut chip.wires[offset as usize];
        if wire.holder.is_some() {
            return Err(Errno::EBUSY.into());
        }
        let (near, edges) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        wire.apply(settings);
        wire.holder = Some(Holder { settings, edges });
        Ok(FakeLine { board: self.clone(), offset: offset as usize, generation, edges: near })
    }
}

/// A line of the board that is held.
#[derive(Debug)]
pub(super) struct FakeLine {
    board: Board,
    offset: usize,
    generation: usize,
    edges: UnixStream,
}

impl FakeLine {
    fn with<T>(&self, work: impl FnOnce(&mut Wire) -> T) -> io::Result<T> {
        let mut chip = self.board.lock();
        if chip.unplugged || chip.generation != self.generation {
            return Err(Errno::ENODEV.into());
        }
        Ok(work(&mut chip.wires[self.offset]))
    }
}

impl AsFd for FakeLine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.edges.as_fd()
    }
}

impl HeldLine for FakeLine {
    fn reconfigure(&self, settings: Settings) -> io::Result<()> {
        self.with(|wire| {
            wire.apply(settings);
            wire.holder.as_mut().unwrap().settings = settings;
        })
    }

    fn level(&self) -> io::Result<Level> {
        self.with(|wire| {
            let low = wire.holder.as_ref().unwrap().settings.active_low;
            if wire.high() == low { Level::Inactive } else { Level::Active }
        })
    }

    fn set(&self, level: Level) -> io::Result<()> {
        let settings = self.with(|wire| wire.holder.as_ref().unwrap().settings)?;
        let Direction::Output(_, drive, bias) = settings.direction else {
            return Err(Errno::EPERM.into());
        };
        let direction = Direction::Output(level, drive, bias);
        self.with(|wire| wire.apply(Settings { direction, ..settings }))
    }

    fn next_edge(&self) -> io::Result<Option<Edge>> {
        let mut byte = [0];
        match (&self.edges).read(&mut byte) {
            Ok(0) => Err(Errno::ENODEV.into()),
            Ok(_) => Ok(Some(if byte == [1] { Edge::Rising } else { Edge::Falling })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for FakeLine {
    fn drop(&mut self) {
        // It is only missing if the chip has gone.
        self.with(|wire| wire.holder = None).ok();
    }
}
