//! The two hubs that a USB 3 hub is, and the one that any other is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::KIND;
use super::config::{Companion, Config, Meant};
use super::descriptor::{HUB_CLASS, Switching, container_id, switching};
use super::pair::{Half, Socket, companion, may_be_halves};
use super::port::Port;
use crate::usb::{Bus, Connection, Device, Plugged, Wanted};
use crate::{DriverError, Result, blocking};

/// A port of a hub, in both halves if there are two. Which they are is found out for every call: a hub
/// may be plugged in anew, and at another speed.
#[derive(Debug)]
pub(super) struct Halves {
    bus: Arc<Bus>,
    /// The hub of the configuration.
    hub: Device,
    meant: Meant,
    companion: Companion,
    port: u8,
    /// The other half, which stays open between two calls.
    kept: Mutex<Option<Device>>,
}

/// Which half of a hub is switched first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// Off: the other way round the device would come back at the lower speed for a moment.
    Usb2First,
    /// On, for the same reason.
    Usb3First,
}

/// How long a call may take for one half: the kernel lets go of all that is plugged in.
const LIMIT: Duration = Duration::from_secs(20);

impl Halves {
    pub(super) fn new(bus: Arc<Bus>, config: Config) -> Self {
        let Config { path, serial, id, port, companion, .. } = config;
        let wanted = Wanted { kind: KIND, serial: serial.clone(), path: path.clone() };
        let hub = Device::new(Arc::clone(&bus), wanted, config.reconnect_timeout).with_numbers(id);
        let meant = Meant { path, serial, id };
        Self { bus, hub, meant, companion, port, kept: Mutex::default() }
    }

    /// Does `work` with the port of each half, one after the other. `order` says which comes first.
    pub(super) async fn each<T, W>(&self, order: Order, work: W) -> Result<Vec<T>>
    where
        T: Send + 'static,
        W: Fn(&Port, &mut dyn Connection) -> Result<T> + Clone + Send + 'static,
    {
        let (one, port, peer) = self.one().await?;
        let other = self.other(&one, peer).await?;
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
        self.keep(Some(device));
        Ok(done)
    }

    /// The hub of the configuration; its port, if that can be switched; and what the kernel says is
    /// the same socket.
    async fn one(&self) -> Result<(Half, Port, Option<Socket>)> {
        let (bus, meant, number) = (Arc::clone(&self.bus), self.meant.clone(), self.port);
        let look = move |hub: &Plugged, connection: &mut dyn Connection| {
            meant.is_only(hub, &bus.plugged()?)?;
            let port = usable_port(&bus, hub, connection, number)?;
            let container = container_id(connection, hub.usb)?;
            let peer = port.peer();
            Ok((Half { hub: hub.clone(), container }, port, peer))
        };
        self.hub.run_on(LIMIT, look).await
    }

    /// The other half of the hub and the port there that is the same socket, if there are such.
    async fn other(
        &self,
        one: &Half,
        peer: Option<Socket>,
    ) -> Result<Option<(Device, Half, Port)>> {
        let hubs = self.candidates(one, peer.as_ref()).await?;
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

    /// The hubs that the other half may be among.
    async fn candidates(&self, one: &Half, peer: Option<&Socket>) -> Result<Vec<Plugged>> {
        let bus = Arc::clone(&self.bus);
        let hubs = blocking::run("list the hubs", LIMIT, move || {
            let mut plugged = bus.plugged()?;
            plugged.retain(KIND.is_like);
            Ok(plugged)
        });
        let mut hubs = hubs.await?;
        match &self.companion {
            Companion::None => hubs.clear(),
            Companion::At(path) => {
                hubs.retain(|hub| hub.path == *path);
                if hubs.is_empty() {
                    let text = format!("companion: there is no hub at {path}");
                    return Err(DriverError::NotFound(text));
                }
            }
            Companion::Found => hubs.retain(|hub| {
                let is_peer = peer.is_some_and(|peer| peer.hub == hub.path);
                is_peer || one.container.is_some() && may_be_halves(&one.hub, hub)
            }),
        }
        Ok(hubs)
    }

    /// The hub at this path. It is there, or it is not.
    fn at(&self, path: String) -> Device {
        let wanted = Wanted { kind: KIND, serial: None, path: Some(path) };
        Device::new(Arc::clone(&self.bus), wanted, Duration::ZERO)
    }

    /// Lets go of both halves.
    pub(super) fn release(&self) {
        self.hub.release();
        self.keep(None);
    }

    fn keep(&self, other: Option<Device>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = other;
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
