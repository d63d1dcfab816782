//! What is plugged into a host, and how it is configured.
//!
//! Every room that drives hardware owns a list of what it knows, `Offer`s, one line a kind of device.
//! Here they are held against the kernel's list. Hubs are asked whether they can switch, and nothing
//! else is touched. What is found, but can't be used as things are, says what is in the way.
//!
//! ```text
//! discover ──► OFFERS, one list a room ──► Found: what, the entry for `export:`, what is in the way
//!    ├───────► power::hub: each hub is asked
//!    └───────► ttys: serial adapters, by the names that stay
//! ```

mod obstacle;
mod offer;
mod ttys;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

pub(crate) use self::obstacle::permission;
use self::offer::OFFERS;
pub(crate) use self::offer::{Offer, entries, place, places};
use crate::Result;
use crate::power::hub;
use crate::usb::Bus;

/// A device that is plugged in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// What it is, and where.
    pub what: String,
    /// The drivers for it: one for each port or relay. None if it can't be used.
    pub entries: Vec<Entry>,
    /// What keeps it from being used, each with what would help.
    pub obstacles: Vec<String>,
}

/// An entry for `export:`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its key, which no other entry has.
    pub name: String,
    /// Its `type:`.
    #[serde(rename = "type")]
    pub driver: &'static str,
    /// Its `config:`.
    pub config: Value,
}

/// A host to look at.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) root: PathBuf,
    /// Whether its devices can be asked: not those of a copy.
    pub(crate) is_this: bool,
}

impl Host {
    /// The one that this runs on.
    pub fn this() -> Self {
        Self { root: "/".into(), is_this: true }
    }

    /// A copy of the `/sys`, `/dev`, `/proc` and `/run` of one.
    pub fn copy(root: PathBuf) -> Self {
        Self { root, is_this: false }
    }

    /// A path of this host.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Finds what is plugged in. Blocks.
///
/// # Errors
///
/// The kernel's list can't be read.
pub fn discover(host: &Host) -> Result<Vec<Found>> {
    let bus = Bus::at(host.at("/sys/bus/usb/devices"));
    let plugged = bus.plugged()?;
    let mut found: Vec<_> =
        OFFERS.iter().copied().flatten().flat_map(|offer| offer.found(host, &plugged)).collect();
    found.extend(ttys::found(host, &plugged));
    found.extend(hub::found(&bus, &plugged, host));
    Ok(found)
}
