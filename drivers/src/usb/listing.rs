//! What is plugged in, as the kernel lists it, and which of it is meant.

use std::fmt;
use std::fs;
use std::path::Path;

use super::connection::Claim;
use crate::{DriverError, Result};

/// A kind of device, known by its numbers and, where others have the same, by its strings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// Whether a device is one.
    pub(crate) is_like: fn(&Plugged) -> bool,
    /// What has to be claimed to use it.
    pub(crate) claim: Claim,
}

/// Which device a configuration means.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) serial: Option<String>,
    /// The bus and the ports that lead to it, as in `1-1.4`.
    pub(crate) path: Option<String>,
}

/// A device that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Plugged {
    /// The bus and the ports that lead to it: the same as long as it is in the same socket.
    pub(crate) path: String,
    pub(crate) vendor: u16,
    pub(crate) product: u16,
    /// What its maker calls itself and the product; empty if the device does not say.
    pub(crate) manufacturer: String,
    pub(crate) product_name: String,
    pub(crate) serial: Option<String>,
    /// `bDeviceClass`: 9 is a hub, 0 is told by the interfaces.
    pub(crate) class: u8,
    /// `bcdUSB`: the USB that it speaks where it is plugged in, 0x0210 for 2.1.
    pub(crate) usb: u16,
    /// How many ports a hub has; 0 for anything else.
    pub(crate) ports: u8,
    pub(crate) bus: u8,
    /// Another one each time it is plugged in.
    pub(crate) address: u8,
}

/// Everything below `root`, which is `/sys/bus/usb/devices` except in tests.
pub(super) fn plugged(root: &Path) -> Result<Vec<Plugged>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        // Without USB there is no such directory.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DriverError::io(format!("list {}", root.display()), error)),
    };
    let mut plugged: Vec<_> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
    plugged.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plugged)
}

/// One directory of the list. None for an interface, and for a device that is just going.
fn read(directory: &Path) -> Option<Plugged> {
    let attribute = |name: &str| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let id = |name: &str| u16::from_str_radix(&attribute(name)?, 16).ok();
    Some(Plugged {
        path: directory.file_name()?.to_str()?.to_owned(),
        vendor: id("idVendor")?,
        product: id("idProduct")?,
        manufacturer: attribute("manufacturer").unwrap_or_default(),
        product_name: attribute("product").unwrap_or_default(),
        serial: attribute("serial"),
        class: u8::from_str_radix(&attribute("bDeviceClass")?, 16).ok()?,
        usb: usb_version(&attribute("version")?)?,
        ports: attribute("maxchild").and_then(|ports| ports.parse().ok()).unwrap_or(0),
        bus: attribute("busnum")?.parse().ok()?,
        address: attribute("devnum")?.parse().ok()?,
    })
}

/// A version as the kernel writes it, `2.10`, as the device does.
fn usb_version(text: &str) -> Option<u16> {
    u16::from_str_radix(&text.replace('.', ""), 16).ok()
}

impl Wanted {
    /// The one of these that is meant. Without a serial number and a path it is the first.
    pub(super) fn choose(&self, plugged: Vec<Plugged>) -> Result<Plugged> {
        let is_meant = |device: &Plugged| {
            self.serial.as_ref().is_none_or(|serial| device.serial.as_ref() == Some(serial))
                && self.is_in_place(device)
        };
        let alike: Vec<_> = plugged.into_iter().filter(self.kind.is_like).collect();
        match alike.iter().find(|device| is_meant(device)) {
            Some(device) => Ok(device.clone()),
            None => Err(self.is_missing(&alike)),
        }
    }

    /// Those of these that may be meant, whatever their serial number: at least one.
    pub(super) fn alike(&self, plugged: Vec<Plugged>) -> Result<Vec<Plugged>> {
        let alike: Vec<_> = plugged.into_iter().filter(self.kind.is_like).collect();
        match alike.iter().any(|device| self.is_in_place(device)) {
            true => Ok(alike.into_iter().filter(|device| self.is_in_place(device)).collect()),
            false => Err(self.is_missing(&alike)),
        }
    }

    fn is_in_place(&self, device: &Plugged) -> bool {
        self.path.as_ref().is_none_or(|path| device.path == *path)
    }

    fn is_missing(&self, alike: &[Plugged]) -> DriverError {
        DriverError::NotFound(if alike.is_empty() {
            format!("there is no {self}: no {} at all", self.kind.name)
        } else {
            let others: Vec<_> = alike.iter().map(Plugged::to_string).collect();
            format!("there is no {self}, but there is: {}", others.join("; "))
        })
    }
}

impl Wanted {
    /// The one of these that is meant, if it can't be another.
    pub(super) fn choose_only(&self, plugged: Vec<Plugged>) -> Result<Plugged> {
        let alike = plugged.iter().filter(|device| (self.kind.is_like)(device));
        let alike: Vec<_> = alike.map(Plugged::to_string).collect();
        if self.serial.is_none() && self.path.is_none() && alike.len() > 1 {
            return Err(DriverError::InvalidArgument(format!(
                "there are several: {}; configure the serial number of the one that is meant",
                alike.join("; ")
            )));
        }
        self.choose(plugged)
    }
}

impl Plugged {
    /// Whether the device has the number of a vendor, and one of these of the vendor's.
    pub(crate) fn is_one_of(&self, vendor: u16, products: &[u16]) -> bool {
        self.vendor == vendor && products.contains(&self.product)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name)?;
        if let Some(serial) = &self.serial {
            write!(f, " with the serial number {serial}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " at {path}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Plugged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serial = self.serial.as_deref().unwrap_or("none");
        write!(
            f,
            "{:04x}:{:04x} at {}, serial number {serial}",
            self.vendor, self.product, self.path
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::testing::plug;

    fn wanted(serial: Option<&str>, path: Option<&str>) -> Wanted {
        let own = |text: &str| text.to_owned();
        Wanted {
            kind: Kind {
                name: "YKUSH",
                is_like: |device| device.is_one_of(0x04d8, &[0xf2f7]),
                claim: Claim::Interface(0),
            },
            serial: serial.map(own),
            path: path.map(own),
        }
    }

    #[test]
    fn a_device_is_found_by_serial_number_or_by_path() {
        let folder = tempfile::tempdir().unwrap();
        plug(folder.path(), "1-1.2", 0xf2f7, "YK1", 3);
        plug(folder.path(), "1-1.3", 0xf2f7, "YK2", 4);
        plug(folder.path(), "1-1.4", 0x0001, "YK3", 5);
        fs::create_dir(folder.path().join("1-1.2:1.0")).unwrap();
        let choose = |serial, path| {
            let plugged = plugged(folder.path()).unwrap();
            wanted(serial, path).choose(plugged).map(|device| device.address)
        };
        assert_eq!(choose(None, None).unwrap(), 3);
        assert_eq!(choose(Some("YK2"), None).unwrap(), 4);
        assert_eq!(choose(None, Some("1-1.3")).unwrap(), 4);
        assert_eq!(
            choose(Some("YK3"), None).unwrap_err().to_string(),
            "there is no YKUSH with the serial number YK3, but there is: \
             04d8:f2f7 at 1-1.2, serial number YK1; 04d8:f2f7 at 1-1.3, serial number YK2"
        );
        assert!(choose(Some("YK1"), Some("1-1.3")).is_err());
    }

    #[test]
    fn one_of_several_is_not_chosen_by_chance() {
        let folder = tempfile::tempdir().unwrap();
        let choose = |serial| {
            let plugged = plugged(folder.path()).unwrap();
            wanted(serial, None).choose_only(plugged).map(|device| device.address)
        };
        plug(folder.path(), "1-1.2", 0xf2f7, "YK1", 3);
        assert_eq!(choose(None).unwrap(), 3);
        plug(folder.path(), "1-1.3", 0xf2f7, "YK2", 4);
        assert_eq!(choose(Some("YK2")).unwrap(), 4);
        assert_eq!(
            choose(None).unwrap_err().to_string(),
            "there are several: 04d8:f2f7 at 1-1.2, serial number YK1; \
             04d8:f2f7 at 1-1.3, serial number YK2; \
             configure the serial number of the one that is meant"
        );
    }

    #[test]
    fn a_host_without_usb_has_no_devices() {
        let none = plugged(Path::new("/nonexistent")).unwrap();
        let error = wanted(None, None).choose(none).unwrap_err();
        assert_eq!(error.to_string(), "there is no YKUSH: no YKUSH at all");
    }
}
