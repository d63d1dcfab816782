//! A line that switches a DUT's power: a relay board, or the enable pin of a regulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::chip::{Bias, Chips, Drive, Kernel, Level};
use super::config::{self, Device, Line};
use super::held::Held;
use super::output::pin_state;
use super::request::Wanted;
use crate::driver::{Call, Driver, Items, Method};
use crate::power::PowerDriver;
use crate::power::switch::{AtOpen, Position, ReadBack, State, Switch, Switched};
use crate::registry::Build;
use crate::{DriverError, Result};

/// `jumpstarter_driver_gpiod.driver.PowerSwitch`.
#[derive(Debug)]
pub struct PowerSwitch {
    power: PowerDriver<Switched<Relay<Kernel>>>,
    line: Arc<Held<Kernel>>,
}

/// The `config:` block of a power switch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    device: Option<Device>,
    /// Its number, or its name.
    line: Line,
    #[serde(default, deserialize_with = "config::drive")]
    drive: Option<Drive>,
    /// Another name of `drive`, which comes first.
    #[serde(default, deserialize_with = "config::drive")]
    mode: Option<Drive>,
    #[serde(default)]
    active_low: bool,
    #[serde(default, deserialize_with = "config::bias")]
    bias: Option<Bias>,
    /// The reference's name of `default`.
    #[serde(default, deserialize_with = "config::initial_value")]
    initial_value: AtOpen,
    #[serde(default)]
    default: AtOpen,
}

impl Build for PowerSwitch {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let Config { device, line, active_low, bias, .. } = config;
        let wanted = Wanted { device, line, active_low, bias: bias.unwrap_or_default() };
        let drive = config.drive.or(config.mode).unwrap_or_default();
        let at_open = match (config.default, config.initial_value) {
            (AtOpen::Keep, at_open) | (at_open, AtOpen::Keep) => at_open,
            (default, initial) if default == initial => default,
            (AtOpen::On | AtOpen::Off, AtOpen::On | AtOpen::Off) => {
                return Err(DriverError::InvalidArgument(
                    "default and initial_value: they contradict each other; leave one out".into(),
                ));
            }
        };
        let line = Arc::new(Held::new(Kernel, wanted, drive, at_open));
        let relay = Relay { line: Arc::clone(&line), drive };
        Ok(Self { power: PowerDriver(Switched::new(relay)), line })
    }
}

#[async_trait]
impl Driver for PowerSwitch {
    fn client(&self) -> &'static str {
        self.power.client()
    }

    fn category(&self) -> &'static str {
        self.power.category()
    }

    fn methods(&self) -> &'static [Method] {
        const {
            &[
                Method::unary("on"),
                Method::unary("off"),
                Method::unary("rescue"),
                Method::unary("status"),
                Method::items("read"),
                Method::unary("read_pin"),
            ]
        }
    }

    fn methods_description(&self) -> BTreeMap<String, String> {
        self.power.methods_description()
    }

    async fn open(&self) -> Result<()> {
        self.line.open().await
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "read_pin" => {
                call.args.none()?;
                self.line.level().await.map(pin_state)
            }
            _ => self.power.call(call).await,
        }
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        self.power.items(call).await
    }
}

/// A line as a switch: active is on.
#[derive(Debug)]
struct Relay<C: Chips> {
    line: Arc<Held<C>>,
    drive: Drive,
}

impl<C: Chips> Switch for Relay<C> {
    async fn set(&self, position: Position) -> Result<()> {
        let level = match position {
            Position::On => Level::Active,
            Position::Off => Level::Inactive,
        };
        self.line.set(level).await
    }

    /// What is driven to one side only goes to the other when something else pulls it there, maybe
    /// beyond what this chip can see.
    fn read_back(&self) -> ReadBack {
        match self.drive {
            Drive::PushPull => ReadBack::Device,
            Drive::OpenDrain | Drive::OpenSource => ReadBack::Answer,
        }
    }

    async fn state(&self) -> Result<State> {
        Ok(match self.line.level().await? {
            Level::Active => State::On,
            Level::Inactive => State::Off,
        })
    }

    /// The line takes its position when it is requested, not afterwards.
    fn at_open(&self) -> AtOpen {
        AtOpen::Keep
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::Board;
    use super::*;
    use crate::power::Power as _;
    use crate::registry::parse;

    fn relay(board: &Board, drive: Drive, at_open: AtOpen) -> Switched<Relay<Board>> {
        let wanted =
            Wanted { device: None, line: Line::Offset(4), active_low: false, bias: Bias::AsIs };
        let line = Arc::new(Held::new(board.clone(), wanted, drive, at_open));
        Switched::new(Relay { line, drive })
    }

    async fn open(relay: &Switched<Relay<Board>>) -> Result<()> {
        relay.inner().line.open().await
    }

    #[tokio::test]
    async fn it_switches_and_leases_leave_it_alone() {
        let board = Board::default();
        let relay = relay(&board, Drive::PushPull, AtOpen::Keep);
        open(&relay).await.unwrap();
        relay.on().await.unwrap();
        relay.close().await;
        open(&relay).await.unwrap();
        assert_eq!(relay.status().await.unwrap(), State::On);
        assert_eq!(board.voltages(4), [false, true]);
        relay.off().await.unwrap();
        assert_eq!(board.voltages(4), [false, true, false]);
    }

    #[tokio::test]
    async fn every_opening_brings_the_position_that_is_configured() {
        let board = Board::default();
        let relay = relay(&board, Drive::PushPull, AtOpen::Off);
        open(&relay).await.unwrap();
        relay.on().await.unwrap();
        open(&relay).await.unwrap();
        assert_eq!(relay.status().await.unwrap(), State::Off);
    }

    #[tokio::test]
    async fn a_line_that_is_held_low_is_noticed() {
        let board = Board::default();
        board.short_to_ground(4);
        let stuck = relay(&board, Drive::PushPull, AtOpen::Keep);
        open(&stuck).await.unwrap();
        let error = stuck.on().await.unwrap_err().to_string();
        assert!(error.ends_with("took the command, but says that it is off"), "{error}");
        drop(stuck);

        let shared = relay(&board, Drive::OpenDrain, AtOpen::Keep);
        open(&shared).await.unwrap();
        shared.on().await.unwrap();
        assert_eq!(shared.status().await.unwrap(), State::Off, "somebody else pulls it down");
    }

    #[tokio::test]
    async fn a_chip_that_comes_back_is_used_again() {
        let board = Board::default();
        let relay = relay(&board, Drive::PushPull, AtOpen::Keep);
        open(&relay).await.unwrap();
        board.unplug();
        assert!(matches!(relay.on().await, Err(DriverError::Disconnected(_))));
        board.plug_in();
        open(&relay).await.unwrap();
        relay.on().await.unwrap();
    }

    #[test]
    fn there_is_one_position_to_open_with() {
        let build = |config: Value| PowerSwitch::build(parse(config).unwrap());
        assert!(build(json!({"line": 1, "default": "on", "initial_value": "active"})).is_ok());
        let error = build(json!({"line": 1, "default": "on", "initial_value": "off"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "default and initial_value: they contradict each other; leave one out"
        );
    }
}
