//! The kernel's side: chips, and lines that are held.
//!
//! [`Chips`] is what the drivers need of it, so that their tests can bring a board of their own.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use gpiocdev::line::{self, EdgeDetection, EdgeKind, Value};
use gpiocdev::request::Config;
use gpiocdev::{Chip, Request, chip};

/// The name that others see of whoever holds a line.
pub(super) const CONSUMER: &str = "hilt";

/// Where lines come from. Everything here may block: a chip can be behind a bus.
pub(super) trait Chips: fmt::Debug + Clone + Send + Sync + 'static {
    /// A line that is held; dropping it lets go of it.
    type Line: HeldLine;

    /// The paths of all chips there are.
    fn all(&self) -> io::Result<Vec<PathBuf>>;

    /// What is known of every line of a chip, by number.
    fn lines(&self, device: &Path) -> io::Result<Vec<Info>>;

    /// Takes hold of a line.
    fn request(&self, device: &Path, offset: u32, settings: Settings) -> io::Result<Self::Line>;
}

/// A line that is held. Its descriptor is readable while there are edges to be had.
pub(super) trait HeldLine: AsFd + fmt::Debug + Send + Sync + 'static {
    /// Changes how it is held, without letting go of it.
    fn reconfigure(&self, settings: Settings) -> io::Result<()>;

    /// Where the line is.
    fn level(&self) -> io::Result<Level>;

    /// Drives the line, which has to be an output.
    fn set(&self, level: Level) -> io::Result<()>;

    /// The oldest edge that was not taken yet. Never blocks.
    fn next_edge(&self) -> io::Result<Option<Edge>>;
}

/// A logical level: `active_low` is the kernel's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Active,
    Inactive,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        })
    }
}

/// A change of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// From inactive to active.
    Rising,
    /// From active to inactive.
    Falling,
}

/// How a line is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) direction: Direction,
    /// Whether the line is active when its voltage is low.
    pub(super) active_low: bool,
}

/// What a held line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Whatever it was before; nothing changes.
    AsIs,
    /// It is read, and its edges are recorded.
    Input(Bias),
    /// It is driven to this level.
    Output(Level, Drive, Bias),
}

/// How an output drives its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Drive {
    /// To both sides.
    #[default]
    PushPull,
    /// Only to low.
    OpenDrain,
    /// Only to high.
    OpenSource,
}

/// What pulls a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Bias {
    /// Whatever did before.
    #[default]
    AsIs,
    PullUp,
    PullDown,
    Disabled,
}

/// What is known of a line without holding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    /// Empty if it has none.
    pub(super) name: String,
    /// Whether it is an output.
    pub(super) output: bool,
    /// Who holds it; maybe without a name. None if nobody does.
    pub(super) holder: Option<String>,
}

/// The chips of this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

impl Chips for Kernel {
    type Line = Request;

    fn all(&self) -> io::Result<Vec<PathBuf>> {
        chip::chips().map_err(sorted)
    }

    fn lines(&self, device: &Path) -> io::Result<Vec<Info>> {
        let chip = Chip::from_path(device).map_err(sorted)?;
        let lines = chip.line_info_iter().map_err(sorted)?;
        lines.map(|info| info.map(Info::from).map_err(sorted)).collect()
    }

    fn request(&self, device: &Path, offset: u32, settings: Settings) -> io::Result<Request> {
        let config = settings.config(offset);
        let mut request = Request::from_config(config);
        request.on_chip(device).with_consumer(CONSUMER).request().map_err(sorted)
    }
}

impl HeldLine for Request {
    fn reconfigure(&self, settings: Settings) -> io::Result<()> {
        let held = self.config();
        let offset = held.lines().first().expect("because a request has the line it was made for");
        Self::reconfigure(self, &settings.config(*offset)).map_err(sorted)
    }

    fn level(&self) -> io::Result<Level> {
        self.lone_value().map(Level::from).map_err(sorted)
    }

    fn set(&self, level: Level) -> io::Result<()> {
        self.set_lone_value(level.into()).map_err(sorted)
    }

    fn next_edge(&self) -> io::Result<Option<Edge>> {
        if !self.has_edge_event().map_err(sorted)? {
            return Ok(None);
        }
        let event = self.read_edge_event().map_err(sorted)?;
        Ok(Some(match event.kind {
            EdgeKind::Rising => Edge::Rising,
            EdgeKind::Falling => Edge::Falling,
        }))
    }
}

impl Settings {
    /// In the words of the crate.
    fn config(self, offset: u32) -> Config {
        let mut config = Config::default();
        config.with_line(offset);
        if self.active_low {
            config.as_active_low();
        }
        match self.direction {
            Direction::AsIs => {
                config.as_is();
            }
            Direction::Input(bias) => {
                config.as_input().with_edge_detection(EdgeDetection::BothEdges);
                config.with_bias(Option::from(bias));
            }
            Direction::Output(level, drive, bias) => {
                config.as_output(level.into()).with_drive(drive.into());
                config.with_bias(Option::from(bias));
            }
        }
        config
    }
}

impl From<line::Info> for Info {
    fn from(info: line::Info) -> Self {
        Self {
            name: info.name,
            output: info.direction == line::Direction::Output,
            holder: info.used.then_some(info.consumer),
        }
    }
}

impl From<Level> for Value {
    fn from(level: Level) -> Self {
        match level {
            Level::Active => Self::Active,
            Level::Inactive => Self::Inactive,
        }
    }
}

impl From<Value> for Level {
    fn from(value: Value) -> Self {
        match value {
            Value::Active => Self::Active,
            Value::Inactive => Self::Inactive,
        }
    }
}

impl From<Drive> for line::Drive {
    fn from(drive: Drive) -> Self {
        match drive {
            Drive::PushPull => Self::PushPull,
            Drive::OpenDrain => Self::OpenDrain,
            Drive::OpenSource => Self::OpenSource,
        }
    }
}

impl From<Bias> for Option<line::Bias> {
    fn from(bias: Bias) -> Self {
        match bias {
            Bias::AsIs => None,
            Bias::PullUp => Some(line::Bias::PullUp),
            Bias::PullDown => Some(line::Bias::PullDown),
            Bias::Disabled => Some(line::Bias::Disabled),
        }
    }
}

/// The kernel's error number, where there is one.
fn sorted(error: gpiocdev::Error) -> io::Error {
    use gpiocdev::Error as E;
    match error {
        E::Os(number) | E::Uapi(_, gpiocdev_uapi::Error::Os(number)) => {
            io::Error::from_raw_os_error(number.0)
        }
        E::GpioChip(..) => io::Error::new(io::ErrorKind::NotFound, "it is not a GPIO chip"),
        E::Uapi(..)
        | E::AbiLimitation(..)
        | E::InvalidArgument(_)
        | E::NoGpioChips()
        | E::NonuniqueLineName(_)
        | E::UnexpectedResponse(..)
        | E::UnsupportedAbi(..)
        | E::NoAbiSupport() => io::Error::other(error.to_string()),
    }
}
