//! The hubs of a host, and which of them can switch.

use serde_json::json;

use super::descriptor::{Switching, USB_3, container_id, switching};
use super::pair::{Half, companion};
use super::port::Port;
use super::{HUB_CLASS, KIND};
use crate::discover::{Found, Host, entries, permission, places};
use crate::usb::{Bus, Plugged};
use crate::{DriverError, Result};

/// What a hub says.
struct Asked {
    half: Half,
    switching: Result<Switching>,
}

/// The hubs that are plugged in, the two halves of one as one. They are asked, if they are of this
/// host. Blocks.
pub(crate) fn found(bus: &Bus, plugged: &[Plugged], host: &Host) -> Vec<Found> {
    let hubs = plugged.iter().filter(|device| (KIND.is_like)(device));
    let asked: Vec<_> = hubs.map(|hub| ask(bus, hub, host)).collect();
    let (usb_3, usb_2): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|asked| asked.half.hub.usb >= USB_3);
    let halves: Vec<_> = usb_3.iter().map(|asked| asked.half.clone()).collect();
    let mut alone: Vec<_> = usb_3.iter().collect();
    let mut hubs = Vec::new();
    for asked in &usb_2 {
        let peer = (1..=asked.half.hub.ports)
            .find_map(|number| Port::new(bus.list(), asked.half.hub.clone(), number).peer());
        let other = companion(&asked.half, &halves, peer.as_ref());
        alone.retain(|asked| Some(&asked.half) != other);
        hubs.push((asked, other.map(|other| other.hub.path.as_str())));
    }
    hubs.extend(alone.into_iter().map(|asked| (asked, None)));
    let mut index = 0;
    let describe = |(asked, other): (&Asked, Option<&str>)| {
        let found = describe(bus, plugged, host, asked, other, index);
        index += usize::from(!found.entries.is_empty());
        found
    };
    hubs.into_iter().map(describe).collect()
}

fn ask(bus: &Bus, hub: &Plugged, host: &Host) -> Asked {
    let asked = match host.is_this {
        true => bus.ask(hub, |connection| {
            Ok((switching(connection, hub.usb)?, container_id(connection, hub.usb)?))
        }),
        false => Ok((seen(bus, hub), None)),
    };
    let (switching, container) = match asked {
        Ok((switching, container)) => (Ok(switching), container),
        Err(error) => (Err(error), None),
    };
    Asked { half: Half { hub: hub.clone(), container }, switching }
}

/// What the kernel has heard of a hub: whether it switches at all. Not whether port by port.
fn seen(bus: &Bus, hub: &Plugged) -> Switching {
    let port = Port::new(bus.list(), hub.clone(), 1);
    if port.is_switchable() { Switching::PerPort } else { Switching::Missing }
}

fn describe(
    bus: &Bus,
    plugged: &[Plugged],
    host: &Host,
    Asked { half: Half { hub, .. }, switching }: &Asked,
    other: Option<&str>,
    index: usize,
) -> Found {
    let halves = other.map(|path| format!(", its other half at {path}")).unwrap_or_default();
    let what = format!("hub of {} ports, {hub}{halves}", hub.ports);
    let without = |obstacle: String| Found {
        what: what.clone(),
        entries: Vec::new(),
        obstacles: vec![obstacle],
    };
    match switching {
        Ok(Switching::PerPort) => {}
        Ok(Switching::Ganged) => {
            return without("ganged: it switches all of its ports together".into());
        }
        Ok(Switching::Missing) => {
            return without("it does not switch the power of its ports".into());
        }
        Err(DriverError::PermissionDenied(_)) => {
            let text = permission(host, hub).unwrap_or_else(|| "it may not be asked".into());
            return without(format!("whether it switches can't be told: {text}"));
        }
        Err(error) => return without(format!("whether it switches can't be told: {error}")),
    }
    let is_free = |number: &u8| {
        let port = Port::new(bus.list(), hub.clone(), *number);
        !plugged.iter().any(|device| device.class == HUB_CLASS && port.leads_to(device))
    };
    let configs = places(&json!({"path": hub.path}), "port", (1..=hub.ports).filter(is_free));
    let unasked = (!host.is_this)
        .then(|| "it may be ganged, and switch all of its ports together: it was not asked".into());
    Found {
        what,
        entries: entries("hub", index, "hilt.power.UsbHub", configs),
        obstacles: permission(host, hub).into_iter().chain(unasked).collect(),
    }
}
