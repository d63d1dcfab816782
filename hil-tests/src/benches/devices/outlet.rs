//! Power switches as the devices themselves have them: what they give, whatever anybody says.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::host::{Host, OnUsb};
use crate::benches::description::Switch;
use crate::emulator::{
    Chip, Device, Hub, Model, Mood, Wire, Ykush, YkushBoard, pdu, shelly, tasmota,
};

/// A switch.
pub(crate) struct Outlet {
    /// Where the exporter finds it, if that is not always the same.
    pub(in crate::benches) place: String,
    is_on: Box<dyn Fn() -> Result<bool> + Send + Sync>,
    /// None: it has no words to garble.
    answer: Option<Box<dyn Fn(Mood) + Send + Sync>>,
    /// What plays it. Dropping it ends it.
    _player: Box<dyn fmt::Debug + Send + Sync>,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Outlet {
    /// Brings one up. `ykush` is the bench's, if it has one.
    pub(in crate::benches) async fn new(
        host: &Arc<Host>,
        ykush: Option<&super::Hub>,
        name: &str,
        switch: &Switch,
    ) -> Result<Self> {
        match switch {
            Switch::Ykush3 { serial, output } => {
                let board = OnUsb::new(host, 2, Ykush::new(YkushBoard::Ykush3, serial))?;
                board.is_there().await?;
                let mut outlet = ports(&board.device, *output);
                outlet._player = Box::new(board);
                Ok(outlet)
            }
            Switch::UsbHub { serial, port } => {
                let hub = OnUsb::new(host, 3, Hub::new(serial))?;
                hub.is_there().await?;
                let (seen, port) = (Arc::clone(&hub.device), *port);
                Ok(Self {
                    place: String::new(),
                    is_on: Box::new(move || Ok(seen.with(|hub| hub.has_power(port)))),
                    answer: Some(misbehaves(&hub.device)),
                    _player: Box::new(hub),
                })
            }
            Switch::Gpio => {
                let chip = Arc::new(Chip::new(name)?);
                let seen = Arc::clone(&chip);
                Ok(Self {
                    place: chip.device().to_owned(),
                    is_on: Box::new(move || seen.is_high()),
                    answer: None,
                    _player: Box::new(chip),
                })
            }
            Switch::Shelly | Switch::Tasmota | Switch::Pdu => Self::on_network(switch).await,
            Switch::Hub { port } => {
                Ok(ykush.with_context(|| format!("{name}: the bench has no hub"))?.outlet(*port))
            }
        }
    }

    async fn on_network(switch: &Switch) -> Result<Self> {
        let (relay, seen) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let wire = match switch {
            Switch::Shelly => Wire::tcp(shelly(&mut tasks, relay).await?).await?,
            Switch::Tasmota => Wire::tcp(tasmota(&mut tasks, relay).await?).await?,
            Switch::Pdu => Wire::udp(pdu(&mut tasks, relay).await?).await?,
            Switch::Hub { .. } | Switch::Ykush3 { .. } | Switch::UsbHub { .. } | Switch::Gpio => {
                anyhow::bail!("{switch:?} is not on the network")
            }
        };
        let wire = Arc::new(wire);
        let spoilt = Arc::clone(&wire);
        Ok(Self {
            place: wire.address().to_string(),
            is_on: Box::new(move || Ok(*seen.borrow())),
            answer: Some(Box::new(move |mood| spoilt.answer(mood))),
            _player: Box::new((wire, tasks)),
        })
    }

    /// The switch is on, or off.
    pub(crate) fn must_be(&self, on: bool) -> Result<()> {
        let is_on = (self.is_on)()?;
        ensure!(is_on == on, "it should be {}, and is not", if on { "on" } else { "off" });
        Ok(())
    }

    /// Whether it can answer anything but the truth.
    pub(crate) const fn can_misbehave(&self) -> bool {
        self.answer.is_some()
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) -> Result<()> {
        (self.answer.as_ref().context("it has no words to garble")?)(mood);
        Ok(())
    }
}

/// An output of a YKUSH; the first is 1.
pub(super) fn ports(board: &Arc<Device<Ykush>>, output: usize) -> Outlet {
    let seen = board.with(|board| board.ports());
    let is_on = move || {
        let ports = *seen.borrow();
        ports.get(output - 1).copied().context("it has no such output")
    };
    Outlet {
        place: String::new(),
        is_on: Box::new(is_on),
        answer: Some(misbehaves(board)),
        _player: Box::new(Arc::clone(board)),
    }
}

fn misbehaves<M: Model>(device: &Arc<Device<M>>) -> Box<dyn Fn(Mood) + Send + Sync> {
    let device = Arc::clone(device);
    Box::new(move |mood| device.answer(mood))
}
