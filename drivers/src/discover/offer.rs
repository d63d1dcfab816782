//! What the rooms know.

use serde_json::{Value, json};

use super::obstacle::obstacles;
use super::{Entry, Found, Host};
use crate::power::{energenie_usb, noyito, usbrelay, ykush};
use crate::usb::{Claim, Kind, Plugged};

/// The lists of the rooms.
pub(super) static OFFERS: &[&[Offer]] =
    &[ykush::OFFERS, usbrelay::OFFERS, noyito::OFFERS, energenie_usb::OFFERS, STORAGE];

/// Card readers with a switch, and boards that have one.
const STORAGE: &[Offer] = &[
    Offer {
        kind: Kind {
            name: "SDWire",
            is_like: |device| {
                device.is_one_of(0x04e8, &[0x6001]) && device.product_name == "sd-wire"
            },
            claim: Claim::Nothing,
        },
        driver: "jumpstarter_driver_sdwire.driver.SDWire",
        name: "sdwire",
        needs: &[],
        to_fill_in: None,
        configs: |device| vec![(String::new(), place(device))],
    },
    Offer {
        kind: Kind {
            name: "USB-SD-Mux",
            is_like: |device| {
                device.is_one_of(0x0424, &[0x4041]) && device.product_name.starts_with("usb-sd-mux")
            },
            claim: Claim::Nothing,
        },
        driver: "hilt.storage.UsbSdMux",
        name: "sdmux",
        needs: &["sg"],
        to_fill_in: None,
        configs: |device| vec![(String::new(), place(device))],
    },
    Offer {
        kind: Kind {
            name: "DUT Link",
            is_like: |device| device.is_one_of(0x2b23, &[0x1012]),
            claim: Claim::Nothing,
        },
        driver: "jumpstarter_driver_dutlink.driver.Dutlink",
        name: "dutlink",
        needs: &[],
        to_fill_in: Some("storage_device is the disk that is plugged into the board"),
        configs: |device| {
            let mut config = place(device);
            config["storage_device"] = "/dev/disk/by-path/FILL-IN".into();
            vec![(String::new(), config)]
        },
    },
];

/// A kind of device that there is a driver for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) kind: Kind,
    /// The driver's `type:`.
    pub(crate) driver: &'static str,
    /// What entries for it are called.
    pub(crate) name: &'static str,
    /// The modules that the kernel needs for it.
    pub(crate) needs: &'static [&'static str],
    /// What can't be told, and has to be filled in.
    pub(crate) to_fill_in: Option<&'static str>,
    /// A `config:` for each of its ports, and what is added to the name for it.
    pub(crate) configs: fn(&Plugged) -> Vec<(String, Value)>,
}

impl Offer {
    /// The devices of this kind.
    pub(super) fn found(&self, host: &Host, plugged: &[Plugged]) -> Vec<Found> {
        let alike = plugged.iter().filter(|device| (self.kind.is_like)(device));
        let found = alike.enumerate().map(|(index, device)| Found {
            what: match self.to_fill_in {
                Some(text) => format!("{}, {device}; fill in: {text}", self.kind.name),
                None => format!("{}, {device}", self.kind.name),
            },
            entries: entries(self.name, index, self.driver, (self.configs)(device)),
            obstacles: obstacles(host, device, self),
        });
        found.collect()
    }
}

/// Entries for a device of which there are `index` others already: all but the first have a number.
pub(crate) fn entries(
    name: &str,
    index: usize,
    driver: &'static str,
    configs: Vec<(String, Value)>,
) -> Vec<Entry> {
    let name = if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) };
    let entry = |(port, config)| Entry { name: format!("{name}{port}"), driver, config };
    configs.into_iter().map(entry).collect()
}

/// The settings that say which device is meant: its serial number, or else where it is plugged in.
pub(crate) fn place(device: &Plugged) -> Value {
    match &device.serial {
        Some(serial) => json!({"serial": serial}),
        None => json!({"path": device.path}),
    }
}

/// A configuration for each of these ports: `place`, and `key` with the port's number.
pub(crate) fn places(
    place: &Value,
    key: &str,
    ports: impl IntoIterator<Item = u8>,
) -> Vec<(String, Value)> {
    let config = |port: u8| {
        let mut config = place.clone();
        config[key] = port.into();
        (format!("-{key}{port}"), config)
    };
    ports.into_iter().map(config).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_names_of_their_own() {
        let place = json!({"path": "1-1"});
        let names = |index| {
            let entries =
                entries("ykush", index, "hilt.power.Ykush3", places(&place, "port", 1..=2));
            entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["ykush-port1", "ykush-port2"]);
        assert_eq!(names(1), ["ykush-2-port1", "ykush-2-port2"]);
        let mut bases: Vec<_> = OFFERS.iter().copied().flatten().map(|offer| offer.name).collect();
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), OFFERS.iter().map(|room| room.len()).sum::<usize>());
    }
}
