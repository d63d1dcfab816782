//! The settings of a port, and which hub they mean.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::KIND;
use super::descriptor::USB_3;
use crate::power::switch::AtOpen;
use crate::usb::{Plugged, patience};
use crate::{DriverError, Result, number};

/// The `config:` block of a port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bus and the ports that lead to the hub, as in `1-1.4`, or `usb1` for a controller's own.
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) serial: Option<String>,
    /// The numbers of vendor and product, as in `2109:2817`.
    #[serde(default, deserialize_with = "numbers")]
    pub(super) id: Option<(u16, u16)>,
    #[serde(deserialize_with = "number::whole")]
    pub(super) port: u8,
    #[serde(default)]
    pub(super) companion: Companion,
    #[serde(default)]
    pub(super) default: AtOpen,
    /// How long a call waits for a hub that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    pub(super) reconnect_timeout: Duration,
}

/// The setting `companion`: the other half of a USB 3 hub.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "String")]
pub(super) enum Companion {
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

/// What a configuration says of a hub.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    pub(super) path: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) id: Option<(u16, u16)>,
}

impl Meant {
    /// Fails if another hub may be meant just as well as this one.
    pub(super) fn is_only(&self, hub: &Plugged, plugged: &[Plugged]) -> Result<()> {
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
