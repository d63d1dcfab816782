//! An open device.

use std::fmt;
use std::fs;
use std::time::Duration;

use rusb::{Context, DeviceHandle, Direction, UsbContext as _};

use super::listing::Plugged;
use crate::{DriverError, Result};

/// An open device of which interface 0 is claimed. Everything here blocks, each for a limited time.
pub(crate) trait Connection: fmt::Debug + Send {
    /// Sends a report to the first endpoint that takes one.
    fn write(&mut self, report: &[u8], limit: Duration) -> Result<()>;

    /// Takes a report from the first endpoint that gives one; returns its length in bytes.
    fn read(&mut self, report: &mut [u8], limit: Duration) -> Result<usize>;
}

/// How devices are opened.
pub(crate) trait Open: fmt::Debug + Send + Sync {
    /// Opens a device. Blocks.
    ///
    /// # Errors
    ///
    /// Not there any more, not permitted and in use are different categories.
    fn open(&self, device: &Plugged) -> Result<Box<dyn Connection>>;
}

/// The devices of this host.
#[derive(Debug)]
pub(super) struct Libusb;

impl Open for Libusb {
    fn open(&self, plugged: &Plugged) -> Result<Box<dyn Connection>> {
        let refused = |error| refusal(plugged, error);
        // Each time anew: a context may have an old list of devices.
        let devices = Context::new().and_then(|context| context.devices()).map_err(refused)?;
        let device = devices
            .iter()
            .find(|device| {
                (device.bus_number(), device.address()) == (plugged.bus, plugged.address)
            })
            .ok_or_else(|| refusal(plugged, rusb::Error::NoDevice))?;
        let configuration = device.active_config_descriptor().map_err(refused)?;
        let endpoint = |direction| {
            let interface = configuration.interfaces().find(|interface| interface.number() == 0);
            let interface =
                interface?.descriptors().find(|setting| setting.setting_number() == 0)?;
            let mut endpoints = interface.endpoint_descriptors();
            endpoints.find(|endpoint| endpoint.direction() == direction).map(|e| e.address())
        };
        let (Some(input), Some(output)) = (endpoint(Direction::In), endpoint(Direction::Out))
        else {
            let text = format!("{plugged}: it has no endpoints for reports");
            return Err(DriverError::Device(text));
        };
        let handle = device.open().map_err(refused)?;
        handle.claim_interface(0).map_err(refused)?;
        Ok(Box::new(Claimed { what: plugged.to_string(), handle, input, output }))
    }
}

struct Claimed {
    what: String,
    handle: DeviceHandle<Context>,
    input: u8,
    output: u8,
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claimed").field(&self.what).finish()
    }
}

impl Connection for Claimed {
    fn write(&mut self, report: &[u8], limit: Duration) -> Result<()> {
        let sent = self.handle.write_interrupt(self.output, report, limit);
        match sent.map_err(|error| failure(&self.what, error))? {
            length if length == report.len() => Ok(()),
            length => Err(DriverError::Device(format!(
                "{}: it took {length} bytes of {}",
                self.what,
                report.len()
            ))),
        }
    }

    fn read(&mut self, report: &mut [u8], limit: Duration) -> Result<usize> {
        let read = self.handle.read_interrupt(self.input, report, limit);
        read.map_err(|error| failure(&self.what, error))
    }
}

/// Why a device can't be opened, and what would help.
fn refusal(device: &Plugged, error: rusb::Error) -> DriverError {
    match error {
        rusb::Error::Access => DriverError::PermissionDenied(format!(
            "open {device}: the exporter may not; add this line to \
             /etc/udev/rules.d/70-hilt.rules, put the exporter's user into the group plugdev, and \
             run `udevadm control --reload && udevadm trigger`: {}",
            udev_rule(device)
        )),
        rusb::Error::Busy => {
            DriverError::Busy(format!("open {device}: in use by {}", holder(device)))
        }
        rusb::Error::NoDevice | rusb::Error::NotFound => {
            DriverError::NotFound(format!("open {device}: it has just gone"))
        }
        rusb::Error::Io
        | rusb::Error::InvalidParam
        | rusb::Error::Timeout
        | rusb::Error::Overflow
        | rusb::Error::Pipe
        | rusb::Error::Interrupted
        | rusb::Error::NoMem
        | rusb::Error::NotSupported
        | rusb::Error::BadDescriptor
        | rusb::Error::Other => DriverError::Device(format!("open {device}: {error}")),
    }
}

/// Sorts the error of a transfer.
fn failure(what: &str, error: rusb::Error) -> DriverError {
    match error {
        rusb::Error::Timeout => DriverError::Timeout(format!("{what}: it does not answer")),
        // An I/O error is how the kernel says it while it has not yet understood.
        rusb::Error::NoDevice | rusb::Error::NotFound | rusb::Error::Io => {
            DriverError::Disconnected(format!("{what}: it was unplugged ({error})"))
        }
        rusb::Error::Access
        | rusb::Error::Busy
        | rusb::Error::InvalidParam
        | rusb::Error::Overflow
        | rusb::Error::Pipe
        | rusb::Error::Interrupted
        | rusb::Error::NoMem
        | rusb::Error::NotSupported
        | rusb::Error::BadDescriptor
        | rusb::Error::Other => DriverError::Device(format!("{what}: {error}")),
    }
}

/// The udev rule that gives a device to the group of plugged devices.
fn udev_rule(device: &Plugged) -> String {
    format!(
        "SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"{:04x}\", ATTR{{idProduct}}==\"{:04x}\", \
         MODE=\"0660\", GROUP=\"plugdev\"",
        device.vendor, device.product
    )
}

/// The processes that have a device open, as far as this one may see them.
fn holder(device: &Plugged) -> String {
    let node = format!("/dev/bus/usb/{:03}/{:03}", device.bus, device.address);
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let holds = |process: &fs::DirEntry| {
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        process.file_name() != own.as_str()
            && open.into_iter().any(|fd| {
                fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == node.as_str())
            })
    };
    let name = |process: fs::DirEntry| {
        let id = process.file_name();
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        format!("{} (process {})", name.trim(), id.display())
    };
    let holders: Vec<_> = processes.filter(holds).map(name).collect();
    match holders.is_empty() {
        true => format!("a program that can't be seen; `fuser {node}` as root tells which"),
        false => holders.join(", "),
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
    }

    #[test]
    fn a_device_that_has_gone_can_not_be_opened() {
        let device = Plugged {
            path: "251-1".into(),
            vendor: 1,
            product: 1,
            serial: None,
            bus: 251,
            address: 252,
        };
        assert!(Libusb.open(&device).is_err());
    }
}
