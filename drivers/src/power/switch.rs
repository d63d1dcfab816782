//! Switches with positions: what is common to all that can be told one, and maybe tell theirs.
//!
//! A device implements [`Switch`]; [`Switched`] makes a [`Power`] of it that takes one call at a time
//! and believes no device: after every switching it asks the device where it is, if the device can
//! tell. Opening and closing switch nothing, unless the configuration asks for it with `default`.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{POWER_CLIENT, Power, Reading};
use crate::{DriverError, Result};

/// A power switch that is told positions.
pub trait Switch: fmt::Debug + Send + Sync + 'static {
    /// See [`Driver::client`](crate::Driver::client).
    const CLIENT: &'static str = POWER_CLIENT;

    /// How long the device may take until it shows the position that it was told.
    const SETTLING: Duration = Duration::from_secs(2);

    /// Tells the device a position. Where the answer says what came of it
    /// ([`ReadBack::Answer`]), this fails if it is something else.
    fn set(&self, position: Position) -> impl Future<Output = Result<()>> + Send;

    /// Whether [`state`](Self::state) can be asked for.
    fn read_back(&self) -> ReadBack {
        ReadBack::Device
    }

    /// Asks the device where it is.
    fn state(&self) -> impl Future<Output = Result<State>> + Send;

    /// The position to take whenever the driver is opened.
    fn at_open(&self) -> AtOpen;

    /// See [`Driver::close`](crate::Driver::close). Switches nothing.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// See [`Power::read`].
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        Err(no_measurement())
    }

    /// What a client hears once the switch is in this position.
    fn reply(_: Position) -> Value {
        Value::Null
    }
}

/// Where a switch can be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The DUT has power.
    On,
    /// The DUT has none.
    Off,
}

/// Where a switch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The DUT has power.
    On,
    /// The DUT has none.
    Off,
    /// Of several outlets that are switched together, some are on and some are off.
    Partial,
}

/// Whether a device can tell where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// It can, and is asked after every switching.
    Device,
    /// It can, and does so in its answer to every switching: there is no need to ask.
    Answer,
    /// It can't: that nothing failed is all there is to know.
    None,
}

/// The setting `default`: the position that a switch takes whenever the driver is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtOpen {
    /// Switches on.
    On,
    /// Switches off.
    Off,
    /// Leaves the switch where it is.
    #[default]
    Keep,
}

/// A [`Switch`] as a [`Power`].
#[derive(Debug)]
pub struct Switched<S> {
    switch: S,
    /// Held from telling a position to having seen it, so that two calls don't see each other's.
    turn: Mutex<()>,
}

impl<S: Switch> Switched<S> {
    /// Takes a switch that nobody else uses.
    pub fn new(switch: S) -> Self {
        Self { switch, turn: Mutex::new(()) }
    }

    /// The switch itself.
    #[cfg(test)]
    pub(crate) fn inner(&self) -> &S {
        &self.switch
    }

    async fn switch(&self, position: Position) -> Result<()> {
        let _turn = self.turn.lock().await;
        tracing::info!("power {position}");
        self.switch.set(position).await?;
        match self.switch.read_back() {
            ReadBack::Device => self.confirm(position).await,
            ReadBack::Answer | ReadBack::None => Ok(()),
        }
    }

    /// Waits until the device says that it is where it was told to be.
    async fn confirm(&self, position: Position) -> Result<()> {
        /// How soon to ask a device again that isn't there yet.
        const AGAIN: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + S::SETTLING;
        loop {
            let state = self.switch.state().await?;
            if state == position.into() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(DriverError::Device(format!(
                    "it was switched {position} and took the command, but says that it is {state}"
                )));
            }
            sleep(AGAIN).await;
        }
    }
}

impl<S: Switch> Power for Switched<S> {
    const CLIENT: &'static str = S::CLIENT;

    async fn on(&self) -> Result<()> {
        self.switch(Position::On).await
    }

    async fn off(&self) -> Result<()> {
        self.switch(Position::Off).await
    }

    fn reply(position: Position) -> Value {
        S::reply(position)
    }

    fn read_back(&self) -> ReadBack {
        self.switch.read_back()
    }

    async fn status(&self) -> Result<State> {
        let _turn = self.turn.lock().await;
        match self.switch.read_back() {
            ReadBack::Device | ReadBack::Answer => self.switch.state().await,
            ReadBack::None => Err(no_status()),
        }
    }

    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        self.switch.read()
    }

    async fn open(&self) -> Result<()> {
        match self.switch.at_open() {
            AtOpen::On => self.on().await,
            AtOpen::Off => self.off().await,
            AtOpen::Keep => Ok(()),
        }
    }

    async fn close(&self) {
        self.switch.close().await;
    }
}

/// The error for a switch that does not measure.
pub(crate) fn no_measurement() -> DriverError {
    DriverError::Unsupported("this power switch does not measure".into())
}

/// The error for a switch that can't tell where it is.
pub(crate) fn no_status() -> DriverError {
    DriverError::Unsupported(
        "this power switch can't tell whether it is on (read-back: none)".into(),
    )
}

impl State {
    /// What several outlets that are switched together make up. None if there is no outlet.
    pub fn of(outlets: impl IntoIterator<Item = Self>) -> Option<Self> {
        outlets.into_iter().reduce(|all, one| if all == one { all } else { Self::Partial })
    }
}

impl From<Position> for State {
    fn from(position: Position) -> Self {
        match position {
            Position::On => Self::On,
            Position::Off => Self::Off,
        }
    }
}

impl From<bool> for State {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        State::from(*self).fmt(f)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Partial => "partial",
        })
    }
}

impl<'de> Deserialize<'de> for AtOpen {
    /// From `on`, `off` or `keep`. Without quotes YAML 1.1 takes the first two for booleans.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_str(), value.as_bool()) {
            (Some("on"), _) | (_, Some(true)) => Ok(Self::On),
            (Some("off"), _) | (_, Some(false)) => Ok(Self::Off),
            (Some("keep"), _) => Ok(Self::Keep),
            _ => Err(D::Error::custom(format!("{value} is none of on, off and keep"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    /// A relay that shows a position only when it was asked a few times, and has a log.
    #[derive(Debug)]
    struct Relay {
        at_open: AtOpen,
        read_back: ReadBack,
        /// How often it shows the old state before the new one.
        lag: usize,
        log: Mutex<Vec<String>>,
    }

    impl Relay {
        fn log(&self, entry: String) {
            self.log.lock().unwrap().push(entry);
        }
    }

    impl Switch for Relay {
        async fn set(&self, position: Position) -> Result<()> {
            self.log(position.to_string());
            Ok(())
        }

        fn read_back(&self) -> ReadBack {
            self.read_back
        }

        async fn state(&self) -> Result<State> {
            self.log("?".into());
            let log = self.log.lock().unwrap();
            let asked = log.iter().rev().take_while(|entry| *entry == "?").count();
            let told = log.iter().rev().find(|entry| *entry != "?").map(String::as_str);
            Ok(State::from((told == Some("on")) == (asked > self.lag)))
        }

        fn at_open(&self) -> AtOpen {
            self.at_open
        }
    }

    fn relay(at_open: AtOpen, read_back: ReadBack, lag: usize) -> Switched<Relay> {
        Switched::new(Relay { at_open, read_back, lag, log: Mutex::default() })
    }

    fn log(power: &Switched<Relay>) -> Vec<String> {
        power.switch.log.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_switch_is_asked_until_it_has_switched() {
        let power = relay(AtOpen::Keep, ReadBack::Device, 2);
        power.on().await.unwrap();
        assert_eq!(log(&power), ["on", "?", "?", "?"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_switch_that_does_not_switch_is_an_error() {
        let power = relay(AtOpen::Keep, ReadBack::Device, usize::MAX);
        let error = power.off().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "it was switched off and took the command, but says that it is on"
        );
    }

    #[tokio::test]
    async fn a_blind_switch_is_not_asked_and_says_so() {
        let power = relay(AtOpen::Keep, ReadBack::None, 0);
        power.on().await.unwrap();
        assert_eq!(log(&power), ["on"]);
        assert!(matches!(power.status().await, Err(DriverError::Unsupported(_))));
    }

    #[tokio::test]
    async fn opening_switches_only_if_it_is_told_to() {
        for (setting, expected) in [(json!("on"), "on"), (json!(false), "off"), (json!("keep"), "")]
        {
            let power = relay(serde_json::from_value(setting).unwrap(), ReadBack::None, 0);
            power.open().await.unwrap();
            power.close().await;
            assert_eq!(log(&power).concat(), expected);
        }
        let error = serde_json::from_value::<AtOpen>(json!("yes")).unwrap_err();
        assert_eq!(error.to_string(), "\"yes\" is none of on, off and keep");
    }

    #[test]
    fn outlets_that_disagree_are_partial() {
        use State::{Off, On, Partial};
        assert_eq!(State::of([On, On]), Some(On));
        assert_eq!(State::of([On, Off, Off]), Some(Partial));
        assert_eq!(State::of([]), None);
    }
}
