//! USB hubs that switch the power of each port by itself.
//!
//! The hub is asked first whether it can, and the port is looked at, so that nothing else goes off with
//! it. Both halves of a USB 3 hub are switched. What the hub says of the port afterwards is all that
//! can be known: a device may stay in the kernel's list without power, and many hubs only cut the data
//! lines, whatever they say. Sources: the USB specifications; what `uhubctl` has learnt of hubs.
//!
//! ```text
//! UsbHub ──► Device: the hub ──────► descriptor: can it? status of the port
//!   │                                      ▲
//!   ├──► pair: its other half, if any ─────┤
//!   └──► port: the kernel's `disable`, or requests to the hub
//! ```

mod descriptor;
mod pair;
mod port;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::time::sleep;

use self::descriptor::{HUB_CLASS, Switching, USB_3, container_id, switching};
use self::pair::{Half, companion, may_be_halves};
use self::port::{By, Port};
use super::switch::{AtOpen, Position, State, Switch};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Device, Kind, Plugged, Wanted, patience};
use crate::{DriverError, Result, blocking, number};

/// `hilt.power.UsbHub`: one port of a hub.
#[derive(Debug)]
pub struct UsbHub {
    bus: Arc<Bus>,
    hub: Device,
    meant: Meant,
    companion: Companion,
    port: u8,
    at_open: AtOpen,
    /// The other half, which stays open between two calls.
    kept: Mutex<Option<Device>>,
}

/// The `config:` block of a port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bus and the ports that lead to the hub, as in `1-1.4`, or `usb1` for a controller's own.
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    serial: Option<String>,
    /// The numbers of vendor and product, as in `2109:2817`.
    #[serde(default, deserialize_with = "numbers")]
    id: Option<(u16, u16)>,
    #[serde(deserialize_with = "number::whole")]
    port: u8,
    #[serde(default)]
    companion: Companion,
    #[serde(default)]
    default: AtOpen,
    /// How long a call waits for a hub that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

/// What a configuration tells of a hub, apart from where it is.
#[derive(Debug, Clone)]
struct Meant {
    path: Option<String>,
    serial: Option<String>,
    id: Option<(u16, u16)>,
}

/// The setting `companion`: the other half of a USB 3 hub.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "String")]
enum Companion {
    /// What the hub and the kernel say.
    #[default]
    Found,
    /// There is none, or it is to be left alone.
    None,
    /// The hub at this path.
    At(String),
}

impl From<String> for Companion {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::None,
            _ => Self::At(text),
        }
    }
}

/// The numbers of vendor and product in hexadecimal, as `lsusb` prints them.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<(u16, u16)>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = |text| u16::from_str_radix(text, 16).ok();
    let numbers = text.split_once(':').and_then(|(v, p)| Some((number(v)?, number(p)?)));
    let error = || serde::de::Error::custom(format!("{text:?} is not like \"2109:2817\""));
    numbers.map(Some).ok_or_else(error)
}

/// How a hub is known. Requests to its ports need no claim, and the kernel's driver stays.
pub(crate) const KIND: Kind =
    Kind { name: "hub", is_like: |device| device.class == HUB_CLASS, claim: Claim::Nothing };

/// How long a call may take for one half: the kernel lets go of all that is plugged in.
const LIMIT: Duration = Duration::from_secs(20);

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
        let Config { path, serial, id, port, companion, default: at_open, .. } = config;
        let wanted = Wanted { kind: KIND, serial: serial.clone(), path: path.clone() };
        let hub = Device::new(Arc::clone(&bus), wanted, config.reconnect_timeout).with_numbers(id);
        let meant = Meant { path, serial, id };
        Ok(Self { bus, hub, meant, companion, port, at_open, kept: Mutex::default() })
    }

    /// Does `work` with the port of each half, one after the other. `order` says which comes first.
    async fn with_halves<T, W>(&self, order: Order, work: W) -> Result<Vec<T>>
    where
        T: Send + 'static,
        W: Fn(&Port, &mut dyn Connection) -> Result<T> + Clone + Send + 'static,
    {
        let (one, port) = self.half().await?;
        let other = self.other(&one, &port).await?;
        let with_one = async {
            let work = work.clone();
            self.hub.run(LIMIT, move |hub: &mut dyn Connection| work(&port, hub)).await
        };
        let Some((device, other, port)) = other else { return Ok(vec![with_one.await?]) };
        let with_other = async {
            let work = work.clone();
            device.run(LIMIT, move |hub: &mut dyn Connection| work(&port, hub)).await
        };
        let one_is_first = match order {
            Order::Usb2First => one.hub.usb < other.hub.usb,
            Order::Usb3First => one.hub.usb > other.hub.usb,
        };
        let done = match one_is_first {
            true => vec![with_one.await?, with_other.await?],
            false => vec![with_other.await?, with_one.await?],
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(device);
        Ok(done)
    }

    /// The hub of the configuration, and its port, if that can be switched.
    async fn half(&self) -> Result<(Half, Port)> {
        let (bus, meant, number) = (Arc::clone(&self.bus), self.meant.clone(), self.port);
        let look = move |hub: &Plugged, connection: &mut dyn Connection| {
            meant.is_only(hub, &bus.plugged()?)?;
            let port = usable_port(&bus, hub, connection, number)?;
            let container = container_id(connection, hub.usb)?;
            Ok((Half { hub: hub.clone(), container }, port))
        };
        self.hub.run_on(LIMIT, look).await
    }

    /// The other half of the hub and the port there that is the same socket, if there are such.
    async fn other(&self, one: &Half, port: &Port) -> Result<Option<(Device, Half, Port)>> {
        let bus = Arc::clone(&self.bus);
        let hubs = blocking::run("list the hubs", LIMIT, move || {
            let mut plugged = bus.plugged()?;
            plugged.retain(KIND.is_like);
            Ok(plugged)
        });
        let mut hubs = hubs.await?;
        let peer = port.peer();
        match &self.companion {
            Companion::None => return Ok(None),
            Companion::At(path) => {
                hubs.retain(|hub| hub.path == *path);
                if hubs.is_empty() {
                    let text = format!("companion: there is no hub at {path}");
                    return Err(DriverError::NotFound(text));
                }
            }
            Companion::Found => hubs.retain(|hub| {
                let is_peer = peer.as_ref().is_some_and(|peer| peer.hub == hub.path);
                is_peer || one.container.is_some() && may_be_halves(&one.hub, hub)
            }),
        }
        let (mut devices, mut halves) = (Vec::new(), Vec::new());
        for hub in hubs {
            let look = |hub: &Plugged, connection: &mut dyn Connection| {
                Ok(Half { hub: hub.clone(), container: container_id(connection, hub.usb)? })
            };
            let device = self.at(hub.path);
            halves.push(device.run_on(LIMIT, look).await?);
            devices.push(device);
        }
        let other = match &self.companion {
            Companion::At(_) => halves.first(),
            Companion::Found | Companion::None => companion(one, &halves, peer.as_ref()),
        };
        let Some(other) = other else { return Ok(None) };
        let device = halves.iter().zip(devices).find(|(half, _)| *half == other);
        let (_, device) = device.expect("because there is a device for each half");
        let number = match peer.filter(|peer| peer.hub == other.hub.path) {
            Some(peer) => peer.port,
            None => self.port,
        };
        // A dock may have sockets for USB 2 only.
        if number > other.hub.ports {
            return Ok(None);
        }
        let bus = Arc::clone(&self.bus);
        let look = move |hub: &Plugged, connection: &mut dyn Connection| {
            usable_port(&bus, hub, connection, number)
        };
        let port = match device.run_on(LIMIT, look).await {
            Err(DriverError::Unsupported(text)) => {
                return Err(DriverError::Unsupported(format!(
                    "{text}; it is the other half of the hub at {}: a port has power as long as \
                     either half gives it. With `companion: none` it is left alone",
                    one.hub.path
                )));
            }
            outcome => outcome?,
        };
        Ok(Some((device, other.clone(), port)))
    }

    /// Whether the hub can give what is drawn.
    async fn has_no_over_current(&self) -> Result<()> {
        let work = |port: &Port, hub: &mut dyn Connection| match port.status(hub)?.over_current {
            true => Err(DriverError::Device(format!(
                "{port} reports over-current: what is plugged in draws more than the hub can give"
            ))),
            false => Ok(()),
        };
        self.with_halves(Order::Usb2First, work).await.map(drop)
    }

    /// The hub at this path. It is there, or it is not.
    fn at(&self, path: String) -> Device {
        let wanted = Wanted { kind: KIND, serial: None, path: Some(path) };
        Device::new(Arc::clone(&self.bus), wanted, Duration::ZERO)
    }
}

impl Meant {
    /// Fails if another hub may be meant just as well as this one.
    fn is_only(&self, hub: &Plugged, plugged: &[Plugged]) -> Result<()> {
        let is_meant = |other: &&Plugged| {
            (KIND.is_like)(other)
                && self.path.as_ref().is_none_or(|path| other.path == *path)
                && self.serial.is_none() | (other.serial == self.serial)
                && self.id.is_none_or(|(vendor, product)| other.is_one_of(vendor, &[product]))
                // Not its other half.
                && (other.usb >= USB_3) == (hub.usb >= USB_3)
        };
        let paths: Vec<_> = plugged.iter().filter(is_meant).map(|hub| hub.path.as_str()).collect();
        match paths.len() {
            0 | 1 => Ok(()),
            _ => Err(DriverError::InvalidArgument(format!(
                "several hubs are like this, at {}; say which by `path`",
                paths.join(", ")
            ))),
        }
    }
}

/// Which half of a hub is switched first.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Off: the other way round the device would come back at the lower speed for a moment.
    Usb2First,
    /// On, for the same reason.
    Usb3First,
}

impl Switch for UsbHub {
    async fn set(&self, position: Position) -> Result<()> {
        let order = match position {
            Position::On => Order::Usb3First,
            Position::Off => Order::Usb2First,
        };
        let work = move |port: &Port, hub: &mut dyn Connection| port.switch(hub, position);
        for _ in 0..TRIES {
            let by = self.with_halves(order, work).await?;
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
        let halves = self.with_halves(Order::Usb2First, work).await?;
        // The socket has power as long as either half gives it.
        Ok(State::from(halves.iter().any(|half| half.power)))
    }

    fn at_open(&self) -> AtOpen {
        self.at_open
    }

    async fn close(&self) {
        self.hub.release();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The port with this number, unless switching it would do something else. Blocks.
fn usable_port(
    bus: &Bus,
    hub: &Plugged,
    connection: &mut dyn Connection,
    number: u8,
) -> Result<Port> {
    match switching(connection, hub.usb)? {
        Switching::PerPort => {}
        Switching::Ganged => {
            return Err(DriverError::Unsupported(format!(
                "the hub at {} switches all of its ports together (ganged); take a hub that switches \
                 each by itself: github.com/mvp/uhubctl lists some, `hilt discover` those plugged in",
                hub.path
            )));
        }
        Switching::Missing => {
            return Err(DriverError::Unsupported(format!(
                "the hub at {} does not switch power at all; take a hub that switches each port by \
                 itself: github.com/mvp/uhubctl lists some, `hilt discover` those plugged in",
                hub.path
            )));
        }
    }
    if number > hub.ports {
        return Err(DriverError::InvalidArgument(format!(
            "port: {number} is none; the hub at {} has {}",
            hub.path, hub.ports
        )));
    }
    let port = Port::new(bus.list(), hub.clone(), number);
    let chained = bus
        .plugged()?
        .into_iter()
        .find(|device| device.class == HUB_CLASS && port.leads_to(device));
    match chained {
        None => Ok(port),
        Some(chained) => Err(DriverError::InvalidArgument(format!(
            "port {number} of the hub at {} leads to another hub at {path}, and all that hangs on it; \
             if its ports are meant, write `path: \"{path}\"`",
            hub.path,
            path = chained.path
        ))),
    }
}

#[cfg(test)]
mod tests;
