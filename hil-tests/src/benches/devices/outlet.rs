//! Power switches as the devices themselves have them: what they give, whatever anybody says.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::host::{Host, OnUsb};
use crate::benches::description::Switch;
use crate::emulator::{
    Chip, Device, EnerGenie, HidRelays, Hub, Model, Mood, Program, SerialRelays, UsbRelay, Wire,
    Ykush, YkushBoard, energenie, first_shelly, pdu, shelly, tasmota, tasmota_with_web,
};

/// A switch.
pub(crate) struct Outlet {
    /// Where the exporter finds it, if that is not always the same.
    pub(in crate::benches) place: String,
    is_on: Box<dyn Fn() -> Result<bool> + Send + Sync>,
    /// Makes it answer in a mood.
    answer: Box<dyn Fn(Mood) + Send + Sync>,
    /// The moods that nobody can take for the truth.
    telling: &'static [Mood],
    /// What plays it. Dropping it ends it.
    _player: Box<dyn fmt::Debug + Send + Sync>,
}

/// All moods but the good one.
const ALL: &[Mood] = &[Mood::Garbage, Mood::HalfReport, Mood::Silent];

/// Without the one that flips bits: reports that nothing in them vouches for.
const BUT_GARBAGE: &[Mood] = &[Mood::HalfReport, Mood::Silent];

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Outlet {
    /// Brings one up. `ykush` and the `card` of `storage` are the bench's, if it has them.
    pub(in crate::benches) async fn new(
        host: &Arc<Host>,
        ykush: Option<&super::Hub>,
        card: Option<&super::Card>,
        name: &str,
        switch: &Switch,
    ) -> Result<Self> {
        match switch {
            Switch::Hub { port } => {
                Ok(ykush.with_context(|| format!("{name}: the bench has no hub"))?.outlet(*port))
            }
            Switch::Yepkit { board, serial, output } => {
                let port = match board {
                    YkushBoard::Ykush => anyhow::bail!("{name}: `is: hub` stands for a YKUSH"),
                    YkushBoard::Ykush2 => 11,
                    YkushBoard::Ykush3 => 2,
                    YkushBoard::YkushXs => 12,
                };
                let board = OnUsb::new(host, port, Ykush::new(*board, serial))?;
                board.is_there().await?;
                let mut outlet = ports(&board.device, *output);
                outlet._player = Box::new(board);
                Ok(outlet)
            }
            Switch::UsbHub { serial, port } => {
                let (hub, port) = (OnUsb::new(host, 3, Hub::new(serial))?, *port);
                hub.is_there().await?;
                Ok(Self::on_usb(hub, ALL, move |hub| hub.has_power(port)))
            }
            Switch::Usb3Hub { serial, port } => Self::on_usb3(host, serial, *port).await,
            Switch::UsbRelay => {
                let board = OnUsb::new(host, 8, UsbRelay::new())?;
                Ok(Self::on_usb(board, ALL, |board| board.is_on(2)))
            }
            Switch::HidRelays => {
                let board = OnUsb::new(host, 9, HidRelays::new())?;
                Ok(Self::on_usb(board, ALL, |board| board.is_on(3)))
            }
            Switch::EnergenieUsb => {
                let strip = OnUsb::new(host, 10, EnerGenie::new())?;
                Ok(Self::on_usb(strip, BUT_GARBAGE, |strip| strip.has_power(4)))
            }
            Switch::Dutlink => {
                let power = card.and_then(super::Card::power);
                let power = power.with_context(|| format!("{name}: the card is in no DUT Link"))?;
                Ok(Self::of_dutlink(power))
            }
            Switch::SerialRelays => Self::on_serial_line(),
            Switch::Program => Self::by_program(),
            Switch::Gpio => Self::on_gpio(name),
            Switch::Energenie
            | Switch::Shelly
            | Switch::FirstShelly
            | Switch::Tasmota
            | Switch::TasmotaWithWeb
            | Switch::Pdu => Self::on_network(switch).await,
        }
    }

    fn on_usb<M: Model>(
        plugged: OnUsb<M>,
        telling: &'static [Mood],
        is_on: impl Fn(&mut M) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (seen, spoilt) = (Arc::clone(&plugged.device), Arc::clone(&plugged.device));
        Self {
            place: String::new(),
            is_on: Box::new(move || Ok(seen.with(&is_on))),
            answer: Box::new(move |mood| spoilt.answer(mood)),
            telling,
            _player: Box::new(plugged),
        }
    }

    /// Both halves are plugged in to one socket, and both have to be switched.
    async fn on_usb3(host: &Arc<Host>, serial: &str, port: u8) -> Result<Self> {
        let [usb2, usb3] = Hub::halves(serial);
        let halves = [OnUsb::new(host, 3, usb2)?, OnUsb::new(host, 3, usb3)?];
        for half in &halves {
            half.is_there().await?;
        }
        let seen = [0, 1].map(|half| Arc::clone(&halves[half].device));
        let spoilt = seen.clone();
        let is_on = move || {
            let power = [0, 1].map(|half| seen[half].with(|hub: &mut Hub| hub.has_power(port)));
            ensure!(power[0] == power[1], "the halves of the hub have it {power:?}");
            Ok(power[0])
        };
        Ok(Self {
            place: String::new(),
            is_on: Box::new(is_on),
            answer: Box::new(move |mood| spoilt.iter().for_each(|hub| hub.answer(mood))),
            telling: ALL,
            _player: Box::new(halves),
        })
    }

    fn of_dutlink(power: watch::Receiver<bool>) -> Self {
        Self {
            place: String::new(),
            is_on: Box::new(move || Ok(*power.borrow())),
            // Nobody asks it.
            answer: Box::new(|_| ()),
            telling: &[],
            _player: Box::new(()),
        }
    }

    fn on_serial_line() -> Result<Self> {
        let board = SerialRelays::start()?;
        let (seen, mood) = (board.relays(), board.mood());
        Ok(Self {
            place: board.port().to_owned(),
            is_on: Box::new(move || Ok(seen.borrow()[1])),
            answer: Box::new(move |now| {
                mood.send_replace(now);
            }),
            telling: ALL,
            _player: Box::new(board),
        })
    }

    fn on_gpio(name: &str) -> Result<Self> {
        let chip = Arc::new(Chip::new(name)?);
        let seen = Arc::clone(&chip);
        Ok(Self {
            place: chip.device().to_owned(),
            is_on: Box::new(move || seen.is_high()),
            // It has no words to garble.
            answer: Box::new(|_| ()),
            telling: &[],
            _player: Box::new(chip),
        })
    }

    fn by_program() -> Result<Self> {
        let program = Arc::new(Program::new()?);
        let (seen, spoilt) = (Arc::clone(&program), Arc::clone(&program));
        Ok(Self {
            place: program.path().display().to_string(),
            is_on: Box::new(move || seen.is_on()),
            answer: Box::new(move |mood| spoilt.answer(mood)),
            telling: ALL,
            _player: Box::new(program),
        })
    }

    async fn on_network(switch: &Switch) -> Result<Self> {
        let (relay, seen) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let wire = match switch {
            Switch::Energenie => Wire::tcp(energenie(&mut tasks, relay).await?).await?,
            Switch::Shelly => Wire::tcp(shelly(&mut tasks, relay).await?).await?,
            Switch::FirstShelly => Wire::tcp(first_shelly(&mut tasks, relay).await?).await?,
            Switch::Tasmota => Wire::tcp(tasmota(&mut tasks, relay).await?).await?,
            Switch::TasmotaWithWeb => Wire::tcp(tasmota_with_web(&mut tasks, relay).await?).await?,
            Switch::Pdu => Wire::udp(pdu(&mut tasks, relay).await?).await?,
            Switch::Hub { .. }
            | Switch::Yepkit { .. }
            | Switch::UsbHub { .. }
            | Switch::Usb3Hub { .. }
            | Switch::UsbRelay
            | Switch::HidRelays
            | Switch::SerialRelays
            | Switch::EnergenieUsb
            | Switch::Dutlink
            | Switch::Gpio
            | Switch::Program => anyhow::bail!("{switch:?} is not on the network"),
        };
        let wire = Arc::new(wire);
        let spoilt = Arc::clone(&wire);
        Ok(Self {
            place: wire.address().to_string(),
            is_on: Box::new(move || Ok(*seen.borrow())),
            answer: Box::new(move |mood| spoilt.answer(mood)),
            telling: ALL,
            _player: Box::new((wire, tasks)),
        })
    }

    /// The switch is on, or off.
    pub(crate) fn must_be(&self, on: bool) -> Result<()> {
        let is_on = (self.is_on)()?;
        ensure!(is_on == on, "it should be {}, and is not", if on { "on" } else { "off" });
        Ok(())
    }

    /// Whether nobody can take it for the truth what it answers in this mood.
    pub(crate) fn gives_itself_away(&self, mood: Mood) -> bool {
        self.telling.contains(&mood)
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) {
        (self.answer)(mood);
    }
}

/// An output of a YKUSH; the first is 1.
pub(super) fn ports(board: &Arc<Device<Ykush>>, output: usize) -> Outlet {
    let seen = board.with(|board| board.ports());
    let is_on = move || {
        let ports = *seen.borrow();
        ports.get(output - 1).copied().context("it has no such output")
    };
    let spoilt = Arc::clone(board);
    Outlet {
        place: String::new(),
        is_on: Box::new(is_on),
        answer: Box::new(move |mood| spoilt.answer(mood)),
        telling: ALL,
        _player: Box::new(Arc::clone(board)),
    }
}
