//! USB hubs that switch the power of each port by itself.
//!
//! The hub is asked first whether it can, and the port is looked at, so that nothing else goes off with
//! it. Both halves of a USB 3 hub are switched. What the hub says of the port afterwards is all that
//! can be known: a device may stay in the kernel's list without power, and many hubs only cut the data
//! lines, whatever they say. Sources: the USB specifications; what `uhubctl` has learnt of hubs.
//!
//! ```text
//! UsbHub ──► halves: one hub, or two ──► descriptor: can it? the status of a port
//!              │           └────────────► port: the kernel's `disable`, or requests to the hub
//!              └──► pair: which two?
//! ```

mod config;
mod descriptor;
mod found;
mod halves;
mod pair;
mod port;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

pub use self::config::Config;
use self::descriptor::HUB_CLASS;
pub(crate) use self::found::found;
use self::halves::{Halves, Order};
use self::port::{By, Port};
use super::switch::{AtOpen, Position, State, Switch};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Kind};
use crate::{DriverError, Result};

/// `hilt.power.UsbHub`: one port of a hub.
#[derive(Debug)]
pub struct UsbHub {
    halves: Halves,
    port: u8,
    at_open: AtOpen,
}

/// How a hub is known. Requests to its ports need no claim, and the kernel's driver stays.
pub(crate) const KIND: Kind =
    Kind { name: "hub", is_like: |device| device.class == HUB_CLASS, claim: Claim::Nothing };

/// How often a hub is told to switch off a port that the kernel switches on again, and how long the
/// kernel has for it every time.
const TRIES: usize = 20;
const KERNEL: Duration = Duration::from_millis(100);

impl Build for UsbHub {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Self::on_bus(Bus::host(), config)
    }
}

impl UsbHub {
    fn on_bus(bus: Arc<Bus>, config: Config) -> Result<Self> {
        if config.path.is_none() && config.serial.is_none() && config.id.is_none() {
            return Err(DriverError::InvalidArgument(
                "which hub is meant? path, serial or id is required; `hilt discover` lists them"
                    .into(),
            ));
        }
        if config.port == 0 {
            return Err(DriverError::InvalidArgument("port: 0 is none; the first is 1".into()));
        }
        let (port, at_open) = (config.port, config.default);
        Ok(Self { halves: Halves::new(bus, config), port, at_open })
    }

    /// Whether the hub can give what is drawn.
    async fn has_no_over_current(&self) -> Result<()> {
        let work = |port: &Port, hub: &mut dyn Connection| match port.status(hub)?.over_current {
            true => Err(DriverError::Device(format!(
                "{port} reports over-current: what is plugged in draws more than the hub can give"
            ))),
            false => Ok(()),
        };
        self.halves.each(Order::Usb2First, work).await.map(drop)
    }
}

impl Switch for UsbHub {
    async fn set(&self, position: Position) -> Result<()> {
        let order = match position {
            Position::On => Order::Usb3First,
            Position::Off => Order::Usb2First,
        };
        let work = move |port: &Port, hub: &mut dyn Connection| port.switch(hub, position);
        for _ in 0..TRIES {
            let by = self.halves.each(order, work).await?;
            match position {
                Position::On => return self.has_no_over_current().await,
                Position::Off if !by.contains(&By::Hub) => return Ok(()),
                Position::Off => sleep(KERNEL).await,
            }
            if self.state().await? == State::Off {
                return Ok(());
            }
        }
        Err(DriverError::Device(format!(
            "the kernel switches port {} of the hub on again whenever it is switched off; Linux 6.0 \
             and later don't",
            self.port
        )))
    }

    async fn state(&self) -> Result<State> {
        let work = |port: &Port, hub: &mut dyn Connection| port.status(hub);
        let halves = self.halves.each(Order::Usb2First, work).await?;
        // The socket has power as long as either half gives it.
        Ok(State::from(halves.iter().any(|half| half.power)))
    }

    fn at_open(&self) -> AtOpen {
        self.at_open
    }

    async fn close(&self) {
        self.halves.release();
    }
}

#[cfg(test)]
mod tests;
