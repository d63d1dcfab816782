//! Which two hubs are the halves of one.
//!
//! A USB 3 hub is two hubs in one case, each on a bus of its own, and a port has power as long as
//! either of them gives it. They say which belong together by their container ID; where they say
//! nothing, the kernel says which ports are one socket (`peer`).

use super::descriptor::{ContainerId, USB_3};
use crate::usb::Plugged;

/// A hub that may be the half of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) hub: Plugged,
    pub(super) container: Option<ContainerId>,
}

/// A port of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    /// The hub's path.
    pub(super) hub: String,
    pub(super) port: u8,
}

/// The other half of a hub. `peer` is what the kernel says is the same socket as the port in question.
pub(super) fn companion<'a>(
    one: &Half,
    others: &'a [Half],
    peer: Option<&Socket>,
) -> Option<&'a Half> {
    let is_peer = |other: &Half| peer.is_some_and(|peer| peer.hub == other.hub.path);
    if one.container.is_none() {
        return others.iter().find(|other| is_peer(other));
    }
    let candidates = others
        .iter()
        .filter(|other| other.container == one.container && may_be_halves(&one.hub, &other.hub));
    // Not every maker gives every hub an ID of its own.
    candidates.max_by_key(|other| (is_peer(other), likeness(&one.hub.path, &other.hub.path)))
}

/// Whether two hubs can be halves of one, as far as the kernel's list tells.
pub(super) fn may_be_halves(one: &Plugged, other: &Plugged) -> bool {
    let serial_numbers = one.serial.as_ref().zip(other.serial.as_ref());
    (one.usb >= USB_3) != (other.usb >= USB_3)
        // Small ones, as those of docks, have more sockets for USB 2 than for USB 3.
        && (one.ports == other.ports || one.ports + other.ports <= 3)
        && serial_numbers.is_none_or(|(one, other)| one == other)
}

/// How much alike two places are. The kernel numbers the two buses of a controller in a row, and the
/// sockets on both the same way, mostly.
fn likeness(one: &str, other: &str) -> u8 {
    let (Some((bus, ports)), Some((other_bus, other_ports))) = (place(one), place(other)) else {
        return 0;
    };
    if ports == other_ports {
        return if bus.abs_diff(other_bus) == 1 { 3 } else { 2 };
    }
    // On some hosts the sockets of the controller itself have different numbers.
    u8::from(
        !ports.is_empty() && ports.len() == other_ports.len() && ports[1..] == other_ports[1..],
    )
}

/// The bus of a path, and the ports that lead to the device.
fn place(path: &str) -> Option<(u16, Vec<u8>)> {
    if let Some(bus) = path.strip_prefix("usb") {
        return Some((bus.parse().ok()?, Vec::new()));
    }
    let (bus, ports) = path.split_once('-')?;
    let ports: Result<_, _> = ports.split('.').map(str::parse).collect();
    Some((bus.parse().ok()?, ports.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(path: &str, usb: u16, container: u8) -> Half {
        let hub = Plugged { path: path.into(), usb, ports: 4, ..Plugged::default() };
        Half { hub, container: (container != 0).then_some([container; 16]) }
    }

    fn found(one: &Half, others: &[Half], peer: Option<&str>) -> Option<String> {
        let peer = peer.map(|hub| Socket { hub: hub.into(), port: 1 });
        companion(one, others, peer.as_ref()).map(|half| half.hub.path.clone())
    }

    #[test]
    fn halves_have_the_same_container_and_another_speed() {
        let one = half("1-1", 0x0210, 7);
        let others = [half("1-2", 0x0210, 7), half("2-1", 0x0300, 8), half("2-3", 0x0320, 7)];
        assert_eq!(found(&one, &others, None).as_deref(), Some("2-3"));
        assert_eq!(found(&one, &others[..2], None), None);
        assert_eq!(found(&others[2], &[one], None).as_deref(), Some("1-1"));
    }

    #[test]
    fn containers_that_are_not_unique_are_told_apart_by_where_they_are() {
        let one = half("1-2.1", 0x0210, 7);
        let others = ["6-2.1", "2-2.4", "2-2.1", "2-3.1"].map(|path| half(path, 0x0300, 7));
        assert_eq!(found(&one, &others, None).as_deref(), Some("2-2.1"));
        assert_eq!(found(&one, &others[..2], None).as_deref(), Some("6-2.1"));
        assert_eq!(found(&one, &others[1..2], None).as_deref(), Some("2-2.4"));
        assert_eq!(found(&one, &others, Some("2-2.4")).as_deref(), Some("2-2.4"));
    }

    #[test]
    fn serial_numbers_and_ports_can_rule_a_hub_out() {
        let one = half("1-1", 0x0210, 7);
        let with = |change: fn(&mut Plugged)| {
            let (mut one, mut other) = (one.clone(), half("2-1", 0x0300, 7));
            change(&mut other.hub);
            one.hub.serial = Some("A".into());
            found(&one, &[other], None)
        };
        assert!(with(|_| {}).is_some());
        assert!(with(|hub| hub.serial = Some("A".into())).is_some());
        assert!(with(|hub| hub.serial = Some("B".into())).is_none());
        assert!(with(|hub| hub.ports = 7).is_none());
    }

    #[test]
    fn a_hub_that_says_nothing_is_paired_by_the_kernel() {
        let one = half("usb1", 0x0200, 0);
        let others = [half("usb2", 0x0300, 0), half("2-1", 0x0300, 7)];
        assert_eq!(found(&one, &others, Some("usb2")).as_deref(), Some("usb2"));
        assert_eq!(found(&one, &others, None), None);
    }
}
