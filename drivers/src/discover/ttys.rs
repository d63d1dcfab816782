//! Serial adapters, and serial ports of boards, by names that stay.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::obstacle::{running, tty_permission};
use super::offer::OFFERS;
use super::{Found, Host, entries};
use crate::usb::{Plugged, holder};

/// The serial ports on USB, but for those of boards that bring their console with them.
pub(super) fn found(host: &Host, plugged: &[Plugged]) -> Vec<Found> {
    let names = fs::read_dir(host.at("/sys/class/tty")).into_iter().flatten().flatten();
    let mut ttys: Vec<_> = names.filter_map(|name| Tty::new(host, &name.path(), plugged)).collect();
    let is_offered = |device: &Plugged| {
        OFFERS.iter().copied().flatten().any(|offer| (offer.kind.is_like)(device))
    };
    ttys.retain(|tty| !is_offered(tty.device));
    ttys.sort_by(|one, other| one.node.cmp(&other.node));
    ttys.iter().enumerate().map(|(index, tty)| tty.found(host, index)).collect()
}

/// A serial port on USB.
struct Tty<'a> {
    /// Its device in `/dev`, another one each time it is plugged in.
    node: PathBuf,
    /// Its numbers in udev's database, as in `188:0`.
    numbers: String,
    device: &'a Plugged,
}

impl<'a> Tty<'a> {
    /// A directory of the kernel's list of ttys. None if it is not on USB.
    fn new(host: &Host, directory: &Path, plugged: &'a [Plugged]) -> Option<Self> {
        let interface = fs::canonicalize(directory.join("device")).ok()?;
        let list = host.at("/sys/bus/usb/devices");
        // The device on USB is one of the directories above.
        let device = interface.ancestors().find_map(|above| {
            let name = above.file_name()?;
            let device = plugged.iter().find(|device| name == device.path.as_str())?;
            (fs::canonicalize(list.join(name)).ok()? == above).then_some(device)
        })?;
        let numbers = fs::read_to_string(directory.join("dev")).unwrap_or_default();
        let node = Path::new("/dev").join(directory.file_name()?);
        Some(Self { node, numbers: numbers.trim().to_owned(), device })
    }

    fn found(&self, host: &Host, index: usize) -> Found {
        let config = json!({"url": self.name_that_stays(host)});
        let driver = "jumpstarter_driver_pyserial.driver.PySerial";
        let held = holder(&host.at("/proc"), &self.node)
            .map(|holder| format!("in use by {holder}, unless that is Hilt already"));
        let obstacles = [tty_permission(host, &self.node), held, self.modem_manager(host)];
        let product = match self.device.product_name.as_str() {
            "" => "without a name",
            name => name,
        };
        Found {
            what: format!("serial port {}, {product}, {}", self.node.display(), self.device),
            entries: entries("serial", index, driver, vec![(String::new(), config)]),
            obstacles: obstacles.into_iter().flatten().collect(),
        }
    }

    /// A link from udev: by serial number if there is one, else by the socket that it is plugged into.
    /// Adapters without a serial number share the former.
    fn name_that_stays(&self, host: &Host) -> PathBuf {
        let folders: &[_] = match self.device.serial {
            Some(_) => &["/dev/serial/by-id", "/dev/serial/by-path"],
            None => &["/dev/serial/by-path"],
        };
        let links = folders.iter().flat_map(|folder| {
            let mut links: Vec<_> = fs::read_dir(host.at(folder))
                .into_iter()
                .flatten()
                .flatten()
                .filter(|link| {
                    let target = fs::read_link(link.path()).unwrap_or_default();
                    target.file_name() == self.node.file_name()
                })
                .map(|link| Path::new(folder).join(link.file_name()))
                .collect();
            links.sort();
            links
        });
        links.into_iter().next().unwrap_or_else(|| self.node.clone())
    }

    /// Whether ModemManager would talk to the port whenever it appears.
    fn modem_manager(&self, host: &Host) -> Option<String> {
        let udev = host.at("/run/udev/data").join(format!("c{}", self.numbers));
        let udev = fs::read_to_string(udev).unwrap_or_default();
        let is_ignored = udev.lines().any(|line| line == "E:ID_MM_DEVICE_IGNORE=1");
        (!is_ignored && running(host, "ModemManager")).then(|| {
            format!(
                "ModemManager is running and sends commands to what is plugged in; add this line to \
                 /etc/udev/rules.d/70-hilt.rules, run `udevadm control --reload`, and plug it in \
                 again: ATTRS{{idVendor}}==\"{:04x}\", ATTRS{{idProduct}}==\"{:04x}\", \
                 ENV{{ID_MM_DEVICE_IGNORE}}=\"1\"",
                self.device.vendor, self.device.product
            )
        })
    }
}
