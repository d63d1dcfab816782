//! An open device.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusb::{Context, DeviceHandle, Direction, UsbContext as _};

use super::access::{holder, node, udev_rule};
use super::listing::Plugged;
use crate::{DriverError, Result};

/// An open device. Everything here blocks, each for a limited time.
pub(crate) trait Connection: fmt::Debug + Send {
    /// Sends a report to the first endpoint of the claimed interface that takes one.
    fn write(&mut self, report: &[u8], limit: Duration) -> Result<()>;

    /// Takes a report from the first endpoint of the claimed interface that gives one; returns its
    /// length in bytes.
    fn read(&mut self, report: &mut [u8], limit: Duration) -> Result<usize>;

    /// Makes a request that sends `data`, all of it. A request to an interface is for a claimed one.
    fn control_out(&mut self, request: Control, data: &[u8], limit: Duration) -> Result<()>;

    /// Makes a request that is answered with at most as much as `data` holds; returns the length of
    /// the answer in bytes.
    fn control_in(&mut self, request: Control, data: &mut [u8], limit: Duration) -> Result<usize>;
}

/// The setup packet of a control transfer, except for the length, which is that of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// `bmRequestType`: the direction, who has defined the request, and which part of the device it
    /// is for.
    pub(crate) kind: u8,
    /// `bRequest`.
    pub(crate) request: u8,
    /// `wValue`.
    pub(crate) value: u16,
    /// `wIndex`: the number of the interface or port.
    pub(crate) index: u16,
}

/// What of a device is claimed when it is opened: nobody else can use that meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing: enough for requests to the device as a whole, and to the ports of a hub.
    Nothing,
    /// An interface that the kernel has no driver for.
    Interface(u8),
    /// An interface that the kernel's driver is detached from, until the device is closed.
    Detached(u8),
}

/// How devices are opened.
pub(crate) trait Open: fmt::Debug + Send + Sync {
    /// Opens a device. Blocks.
    ///
    /// # Errors
    ///
    /// Not there any more, not permitted and in use are different categories.
    fn open(&self, device: &Plugged, claim: Claim) -> Result<Box<dyn Connection>>;
}

/// The devices of this host.
#[derive(Debug)]
pub(super) struct Libusb;

impl Open for Libusb {
    fn open(&self, plugged: &Plugged, claim: Claim) -> Result<Box<dyn Connection>> {
        let refused = |error| refusal(plugged, error);
        // Each time anew: a context may have an old list of devices.
        let devices = Context::new().and_then(|context| context.devices()).map_err(refused)?;
        let device = devices
            .iter()
            .find(|device| {
                (device.bus_number(), device.address()) == (plugged.bus, plugged.address)
            })
            .ok_or_else(|| refusal(plugged, rusb::Error::NoDevice))?;
        let handle = device.open().map_err(refused)?;
        let mut opened =
            Opened { what: plugged.to_string(), handle, input: Vec::new(), output: Vec::new() };
        let interface = match claim {
            Claim::Nothing => return Ok(Box::new(opened)),
            Claim::Interface(number) => number,
            Claim::Detached(number) => {
                opened.handle.set_auto_detach_kernel_driver(true).map_err(refused)?;
                number
            }
        };
        opened.handle.claim_interface(interface).map_err(refused)?;
        let configuration = device.active_config_descriptor().map_err(refused)?;
        let mut interfaces = configuration.interfaces();
        let settings = interfaces.find(|found| found.number() == interface);
        let setting = settings
            .and_then(|settings| settings.descriptors().find(|found| found.setting_number() == 0));
        for endpoint in setting.iter().flat_map(|setting| setting.endpoint_descriptors()) {
            match endpoint.direction() {
                Direction::In => opened.input.push(endpoint.address()),
                Direction::Out => opened.output.push(endpoint.address()),
            }
        }
        Ok(Box::new(opened))
    }
}

struct Opened {
    what: String,
    handle: DeviceHandle<Context>,
    /// The endpoints of the claimed interface, in the device's order.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Opened {
    /// Whether all that was sent has arrived.
    fn is_all(&self, sent: Result<usize, rusb::Error>, length: usize) -> Result<()> {
        match sent.map_err(|error| failure(&self.what, error))? {
            taken if taken == length => Ok(()),
            taken => Err(DriverError::Device(format!(
                "{}: it took {taken} bytes of {length}",
                self.what
            ))),
        }
    }

    fn no_endpoint(&self) -> DriverError {
        DriverError::Device(format!("{}: it has no endpoint for reports", self.what))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.what).finish()
    }
}

impl Connection for Opened {
    fn write(&mut self, report: &[u8], limit: Duration) -> Result<()> {
        let output = *self.output.first().ok_or_else(|| self.no_endpoint())?;
        self.is_all(self.handle.write_interrupt(output, report, limit), report.len())
    }

    fn read(&mut self, report: &mut [u8], limit: Duration) -> Result<usize> {
        let input = *self.input.first().ok_or_else(|| self.no_endpoint())?;
        let read = self.handle.read_interrupt(input, report, limit);
        read.map_err(|error| failure(&self.what, error))
    }

    fn control_out(&mut self, request: Control, data: &[u8], limit: Duration) -> Result<()> {
        let Control { kind, request, value, index } = request;
        let sent = self.handle.write_control(kind, request, value, index, data, limit);
        self.is_all(sent, data.len())
    }

    fn control_in(&mut self, request: Control, data: &mut [u8], limit: Duration) -> Result<usize> {
        let Control { kind, request, value, index } = request;
        let read = self.handle.read_control(kind, request, value, index, data, limit);
        read.map_err(|error| failure(&self.what, error))
    }
}

/// What an error of libusb comes down to.
enum Trouble {
    NotAllowed,
    InUse,
    Gone,
    /// On an open device, how the kernel says that it is gone while it has not yet understood.
    Unclear,
    Silent,
    /// The device has stalled the transfer.
    Refused,
    Other,
}

impl From<rusb::Error> for Trouble {
    fn from(error: rusb::Error) -> Self {
        match error {
            rusb::Error::Access => Self::NotAllowed,
            rusb::Error::Busy => Self::InUse,
            rusb::Error::NoDevice | rusb::Error::NotFound => Self::Gone,
            rusb::Error::Io => Self::Unclear,
            rusb::Error::Timeout => Self::Silent,
            rusb::Error::Pipe => Self::Refused,
            rusb::Error::InvalidParam
            | rusb::Error::Overflow
            | rusb::Error::Interrupted
            | rusb::Error::NoMem
            | rusb::Error::NotSupported
            | rusb::Error::BadDescriptor
            | rusb::Error::Other => Self::Other,
        }
    }
}

/// Why a device can't be opened, and what would help.
fn refusal(device: &Plugged, error: rusb::Error) -> DriverError {
    match Trouble::from(error) {
        Trouble::NotAllowed => DriverError::PermissionDenied(format!(
            "open {device}: the exporter may not; add this line to \
             /etc/udev/rules.d/70-hilt.rules, put the exporter's user into the group plugdev, and \
             run `udevadm control --reload && udevadm trigger`: {}",
            udev_rule(device)
        )),
        Trouble::InUse => {
            let node = node(device);
            let holder = holder(Path::new("/proc"), &node).unwrap_or_else(|| {
                let node = node.display();
                format!("a program that can't be seen; `fuser {node}` as root tells which")
            });
            DriverError::Busy(format!("open {device}: in use by {holder}"))
        }
        Trouble::Gone => DriverError::NotFound(format!("open {device}: it has just gone")),
        Trouble::Unclear | Trouble::Silent | Trouble::Refused | Trouble::Other => {
            DriverError::Device(format!("open {device}: {error}"))
        }
    }
}

/// Sorts the error of a transfer.
pub(super) fn failure(what: &str, error: rusb::Error) -> DriverError {
    match Trouble::from(error) {
        Trouble::Silent => DriverError::Timeout(format!("{what}: it does not answer")),
        Trouble::Gone | Trouble::Unclear => {
            DriverError::Disconnected(format!("{what}: it was unplugged ({error})"))
        }
        Trouble::InUse => DriverError::Busy(format!("{what}: another program is using it")),
        Trouble::Refused => DriverError::Device(format!("{what}: it refuses the request")),
        Trouble::NotAllowed | Trouble::Other => DriverError::Device(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let device = Plugged {
            path: "1-1.4".into(),
            vendor: 0x04d8,
            product: 0xf2f7,
            serial: Some("YK1".into()),
            bus: 251,
            address: 252,
            ..Plugged::default()
        };
        let error = refusal(&device, rusb::Error::Access);
        assert!(matches!(error, DriverError::PermissionDenied(_)));
        assert!(
            error.to_string().ends_with(
                "ATTR{idVendor}==\"04d8\", ATTR{idProduct}==\"f2f7\", \
                 MODE=\"0660\", GROUP=\"plugdev\""
            ),
            "{error}"
        );
        let error = refusal(&device, rusb::Error::Busy);
        assert_eq!(
            error.to_string(),
            "open 04d8:f2f7 at 1-1.4, serial number YK1: in use by a program that can't be seen; \
             `fuser /dev/bus/usb/251/252` as root tells which"
        );
        assert!(matches!(refusal(&device, rusb::Error::NoDevice), DriverError::NotFound(_)));
        assert!(matches!(failure("it", rusb::Error::NoDevice), DriverError::Disconnected(_)));
        assert!(matches!(failure("it", rusb::Error::Timeout), DriverError::Timeout(_)));
        let stalled = failure("it", rusb::Error::Pipe);
        assert!(matches!(stalled, DriverError::Device(_)));
        assert_eq!(stalled.to_string(), "it: it refuses the request");
    }

    #[test]
    fn a_device_that_has_gone_can_not_be_opened() {
        let device = Plugged { bus: 251, address: 252, ..Plugged::default() };
        assert!(Libusb.open(&device, Claim::Nothing).is_err());
    }
}
