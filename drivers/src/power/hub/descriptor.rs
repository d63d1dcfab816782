//! What a hub says of itself and of its ports, read from bytes. Source: the USB 2.0 and 3.2
//! specifications, chapters 11 and 10.

use crate::usb::{Connection, Control};
use crate::{DriverError, Result};
use std::time::Duration;

/// What hubs have as their device class.
pub(super) const HUB_CLASS: u8 = 9;

/// From here on a hub is a USB 3 hub, or the half of one.
pub(super) const USB_3: u16 = 0x0300;

/// How a hub switches the power of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switching {
    PerPort,
    /// All of them together.
    Ganged,
    /// Not at all.
    Missing,
}

/// What a port says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PortStatus {
    pub(super) power: bool,
    pub(super) over_current: bool,
}

/// What makes the halves of a hub one: the same number in both.
pub(super) type ContainerId = [u8; 16];

/// How long a hub may take for a request.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// Asks a hub how it switches. `usb` is its version of USB. Blocks.
pub(super) fn switching(hub: &mut dyn Connection, usb: u16) -> Result<Switching> {
    let kind: u8 = if usb >= USB_3 { 0x2A } else { 0x29 };
    let request =
        Control { kind: 0xA0, request: 6, value: u16::from_be_bytes([kind, 0]), index: 0 };
    // The rest, which port holds what, is as long as the hub has ports.
    let mut bytes = [0; 12];
    let length = hub.control_in(request, &mut bytes, REQUEST_LIMIT)?;
    match bytes {
        [_, said, ports, characteristics, _, ..] if length >= 7 && said == kind => {
            Ok(match characteristics & 0b11 {
                // What a hub of one port switches together is this port.
                0 if ports > 1 => Switching::Ganged,
                0 | 1 => Switching::PerPort,
                _ => Switching::Missing,
            })
        }
        _ => Err(DriverError::Device(format!(
            "the hub does not say how it switches power; it said {:02x?}",
            &bytes[..length]
        ))),
    }
}

/// Asks a hub what it is a half of. None if it does not say. Blocks.
pub(super) fn container_id(hub: &mut dyn Connection, usb: u16) -> Result<Option<ContainerId>> {
    /// From here on devices have the descriptor that it is in.
    const USB_2_01: u16 = 0x0201;
    if usb < USB_2_01 {
        return Ok(None);
    }
    let request = Control { kind: 0x80, request: 6, value: 0x0F00, index: 0 };
    let mut bytes = [0; 256];
    match hub.control_in(request, &mut bytes, REQUEST_LIMIT) {
        Ok(length) => Ok(find_container_id(&bytes[..length])),
        // Some hubs refuse, whatever their version says.
        Err(DriverError::Device(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The container ID in a binary object store: five bytes, and then one capability after the other.
fn find_container_id(store: &[u8]) -> Option<ContainerId> {
    const DEVICE_CAPABILITY: u8 = 0x10;
    const CONTAINER_ID: u8 = 4;
    let mut rest = store.get(5..)?;
    while let [length, kind, capability, ..] = *rest {
        let one = rest.get(..length.max(1).into())?;
        if (kind, capability) == (DEVICE_CAPABILITY, CONTAINER_ID) {
            let id: ContainerId = one.get(4..20)?.try_into().ok()?;
            // Some hubs have one that nobody has filled in.
            return (id != ContainerId::default()).then_some(id);
        }
        rest = &rest[one.len()..];
    }
    None
}

/// Asks a hub for the status of a port. Blocks.
pub(super) fn port_status(hub: &mut dyn Connection, usb: u16, port: u8) -> Result<PortStatus> {
    let request = Control { kind: 0xA3, request: 0, value: 0, index: port.into() };
    let mut bytes = [0; 4];
    let length = hub.control_in(request, &mut bytes, REQUEST_LIMIT)?;
    if length < bytes.len() {
        return Err(DriverError::Device(format!(
            "the hub does not tell the status of port {port}; it said {:02x?}",
            &bytes[..length]
        )));
    }
    let status = u16::from_le_bytes([bytes[0], bytes[1]]);
    let power = if usb >= USB_3 { 0x0200 } else { 0x0100 };
    Ok(PortStatus { power: status & power != 0, over_current: status & 0x0008 != 0 })
}

/// Tells a hub to switch a port. Blocks.
pub(super) fn set_port_power(hub: &mut dyn Connection, port: u8, on: bool) -> Result<()> {
    const PORT_POWER: u16 = 8;
    let request = if on { 3 } else { 1 };
    let request = Control { kind: 0x23, request, value: PORT_POWER, index: port.into() };
    hub.control_out(request, &[], REQUEST_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_found_among_other_capabilities() {
        let extension = [7, 0x10, 2, 2, 0, 0, 0];
        let header = [5, 0x0F, 32, 0, 2];
        let container = |id: ContainerId| [&[20, 0x10, 4, 0], &id[..]].concat();
        let store = |id| [&header[..], &extension, &container(id)].concat();
        assert_eq!(find_container_id(&store([7; 16])), Some([7; 16]));
        assert_eq!(find_container_id(&store([0; 16])), None, "one that nobody has filled in");
        assert_eq!(find_container_id(&[&header[..], &extension].concat()), None);
        let store = store([7; 16]);
        for cut in 0..store.len() {
            assert_eq!(find_container_id(&store[..cut]), None, "cut off after {cut} bytes");
        }
        assert_eq!(find_container_id(&[0; 64]), None, "capabilities without a length");
    }
}
