//! Yepkit's YKUSH boards: hubs whose ports have power switches.
//!
//! A board takes reports of 64 bytes, the first of which is a command, and answers with one: 1 if it
//! understood, and the port. Commands are the port's number, plus 10 hex to switch on, plus 20 hex to
//! ask. Source: the source of Yepkit's own program `ykushcmd`. The kernel leaves the YKUSH alone (its
//! `hid_ignore_list` has the number, which other devices share); from the others, its driver for input
//! devices is detached for as long as they are open.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::switch::{AtOpen, Position, State, Switch};
use crate::discover::{Offer, place};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Device, Kind, Plugged, Wanted, patience};
use crate::{DriverError, Result, number};

/// A port of a board, or all of them.
#[derive(Debug)]
pub struct Yepkit<B> {
    device: Device,
    name: &'static str,
    ports: Vec<u8>,
    /// What commands have for the ports.
    code: u8,
    at_open: AtOpen,
    board: PhantomData<B>,
}

/// One kind of board.
pub trait Board: fmt::Debug + Send + Sync + 'static {
    /// What messages call it.
    const NAME: &'static str;
    /// The product numbers that it has had.
    const PRODUCTS: &'static [u16];
    /// What the setting `port` may be, and the port's number.
    const PORTS: &'static [(&'static str, u8)];
    /// Whether all ports can be switched together, which the setting calls `all`.
    const ALL: bool;
    /// What is done when the driver is opened, unless the configuration says so.
    const AT_OPEN: AtOpen;
}

/// `jumpstarter_driver_yepkit.driver.Ykush`: three ports.
#[derive(Debug)]
pub struct Ykush;

/// `hilt.power.Ykush2`: three ports.
#[derive(Debug)]
pub struct Ykush2;

/// `hilt.power.Ykush3`: three ports, and an output of 5 V.
#[derive(Debug)]
pub struct Ykush3;

/// `hilt.power.YkushXs`: one port.
#[derive(Debug)]
pub struct YkushXs;

impl Board for Ykush {
    const NAME: &'static str = "YKUSH";
    const PRODUCTS: &'static [u16] = &[0xf2f7];
    const PORTS: &'static [(&'static str, u8)] = &[("1", 1), ("2", 2), ("3", 3)];
    const ALL: bool = true;
    // What the reference documents. It cuts the power of a lease's board before the lease begins.
    const AT_OPEN: AtOpen = AtOpen::Off;
}

impl Board for Ykush2 {
    const NAME: &'static str = "YKUSH2";
    const PRODUCTS: &'static [u16] = &[0xefed];
    const PORTS: &'static [(&'static str, u8)] = Ykush::PORTS;
    const ALL: bool = true;
    const AT_OPEN: AtOpen = AtOpen::Keep;
}

impl Board for Ykush3 {
    const NAME: &'static str = "YKUSH3";
    const PRODUCTS: &'static [u16] = &[0xf11b];
    const PORTS: &'static [(&'static str, u8)] = &[("1", 1), ("2", 2), ("3", 3), ("5v", 4)];
    const ALL: bool = true;
    const AT_OPEN: AtOpen = AtOpen::Keep;
}

impl Board for YkushXs {
    const NAME: &'static str = "YKUSH XS";
    const PRODUCTS: &'static [u16] = &[0xf0cd];
    const PORTS: &'static [(&'static str, u8)] = &[("1", 1)];
    const ALL: bool = false;
    const AT_OPEN: AtOpen = AtOpen::Keep;
}

/// How a board is known.
const fn kind<B: Board>() -> Kind {
    Kind {
        name: B::NAME,
        is_like: |device| device.is_one_of(0x04d8, B::PRODUCTS),
        claim: Claim::Interface(0),
    }
}

/// The boards that can be found.
pub(crate) const OFFERS: &[Offer] = &[
    offer::<Ykush>("jumpstarter_driver_yepkit.driver.Ykush", "ykush"),
    offer::<Ykush2>("hilt.power.Ykush2", "ykush2"),
    offer::<Ykush3>("hilt.power.Ykush3", "ykush3"),
    offer::<YkushXs>("hilt.power.YkushXs", "ykushxs"),
];

const fn offer<B: Board>(driver: &'static str, name: &'static str) -> Offer {
    let configs = |device: &Plugged| {
        let config = |(port, _): &(&str, u8)| {
            let mut config = place(device);
            config["port"] = (*port).into();
            (format!("-port{port}"), config)
        };
        B::PORTS.iter().map(config).collect()
    };
    Offer { kind: kind::<B>(), driver, name, needs: &[], to_fill_in: None, configs }
}

/// The `config:` block of a board.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial number, as in `YK25838`; none is the first board there is.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to the board, as in `1-1.4`.
    #[serde(default)]
    path: Option<String>,
    #[serde(default, deserialize_with = "word")]
    port: Option<String>,
    #[serde(default)]
    default: Option<AtOpen>,
    /// How long a call waits for a board that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

/// A word, or a number that was not put in quotes.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(D::Error::custom(format!("{other} is no port")));
        }
    })
}

/// The setting for all ports.
const ALL: &str = "all";

/// What commands have for all ports.
const ALL_CODE: u8 = 0x0A;

/// What is added to a port to switch it on, and to ask for it.
const ON: u8 = 0x10;
const ASK: u8 = 0x20;

/// The length of a report, in bytes.
const REPORT: usize = 64;

/// How long a board may take for a report, and how long a call may take that has its turn.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

impl<B: Board> Build for Yepkit<B> {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Self::on_bus(Bus::host(), config)
    }
}

impl<B: Board> Yepkit<B> {
    fn on_bus(bus: std::sync::Arc<Bus>, config: Config) -> Result<Self> {
        let all: Vec<u8> =
            B::PORTS.iter().map(|(_, port)| *port).filter(|port| *port <= 3).collect();
        let usual = if B::ALL { ALL } else { B::PORTS[0].0 };
        let port = config.port.as_deref().unwrap_or(usual);
        let (ports, code) = match B::PORTS.iter().find(|(name, _)| *name == port) {
            Some((_, port)) => (vec![*port], *port),
            None if B::ALL && port == ALL => (all, ALL_CODE),
            None => {
                let names = B::PORTS.iter().map(|(name, _)| *name).chain(B::ALL.then_some(ALL));
                let names = names.collect::<Vec<_>>().join(", ");
                return Err(DriverError::InvalidArgument(format!(
                    "port: {port} is none; the {} has: {names}",
                    B::NAME
                )));
            }
        };
        if config.serial.is_none() && config.path.is_none() {
            tracing::debug!("no serial number for the {}: it will be the first there is", B::NAME);
        }
        let wanted = Wanted { kind: kind::<B>(), serial: config.serial, path: config.path };
        let device = Device::new(bus, wanted, config.reconnect_timeout);
        let at_open = config.default.unwrap_or(B::AT_OPEN);
        Ok(Self { device, name: B::NAME, ports, code, at_open, board: PhantomData })
    }

    /// Sends commands; returns what the board says to each.
    async fn command(&self, commands: Vec<u8>) -> Result<Vec<u8>> {
        let name = self.name;
        let work = move |board: &mut dyn Connection| {
            commands.iter().map(|command| ask(board, name, *command)).collect::<Result<Vec<_>>>()
        };
        // A board that hangs is opened again once, which helps most of them.
        match self.device.run(LIMIT, work.clone()).await {
            Err(DriverError::Timeout(error)) => tracing::warn!("{error}; opening it again"),
            outcome => return outcome,
        }
        match self.device.run(LIMIT, work).await {
            Err(DriverError::Timeout(error)) => Err(DriverError::Timeout(format!(
                "{error}, not even when it is opened again; unplug it and plug it in"
            ))),
            outcome => outcome,
        }
    }
}

impl<B: Board> Switch for Yepkit<B> {
    async fn set(&self, position: Position) -> Result<()> {
        let command = match position {
            Position::On => ON | self.code,
            Position::Off => self.code,
        };
        self.command(vec![command]).await.map(drop)
    }

    async fn state(&self) -> Result<State> {
        let commands = self.ports.iter().map(|port| ASK | port).collect();
        let answers = self.command(commands).await?;
        let states = self.ports.iter().zip(answers).map(|(port, answer)| match answer {
            answer if answer == ON | port => Ok(State::On),
            answer if answer == *port => Ok(State::Off),
            answer => Err(DriverError::Device(format!(
                "the {} says {answer:#04x} of port {port}, which is neither on nor off",
                self.name
            ))),
        });
        let states = states.collect::<Result<Vec<_>>>()?;
        State::of(states).ok_or_else(|| DriverError::InvalidArgument("there is no port".into()))
    }

    fn at_open(&self) -> AtOpen {
        self.at_open
    }

    async fn close(&self) {
        self.device.release();
    }
}

/// Sends one command; returns what the board says to it. Blocks.
fn ask(board: &mut dyn Connection, name: &str, command: u8) -> Result<u8> {
    let mut report = [0; REPORT];
    report[0] = command;
    board.write(&report, REPORT_LIMIT)?;
    let mut answer = [0; REPORT];
    // Some USB stacks put an empty packet after every report.
    let mut length = board.read(&mut answer, REPORT_LIMIT)?;
    if length == 0 {
        length = board.read(&mut answer, REPORT_LIMIT)?;
    }
    match answer {
        [1, said, ..] if length >= 2 => Ok(said),
        // Whatever the second byte is, it is no state: another program may be in between.
        _ => Err(DriverError::Device(format!(
            "the {name} did not understand command {command:#04x}; it answered {:02x?}",
            &answer[..length.min(4)]
        ))),
    }
}

#[cfg(test)]
mod tests;
