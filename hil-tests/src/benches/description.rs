//! What a bench is: a file of YAML.
//!
//! `hil-tests/README.md` explains it to those who write one for their own lab.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::emulator::YkushBoard;

/// A bench.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// The stem of its file.
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    /// Where its exporter runs.
    pub(crate) place: Place,
    /// The tier that it belongs to, if not one of its own name.
    tier: Option<String>,
    /// What is emulated for it.
    #[serde(default)]
    pub(crate) devices: Devices,
    /// What a board on it boots.
    #[serde(default)]
    pub(crate) board: Option<BoardContent>,
    /// The drivers that are power switches, and tell their position.
    #[serde(default = "usual_switches")]
    pub(crate) switches: Vec<String>,
    /// The drivers that are power switches, and don't.
    #[serde(default)]
    pub(crate) blind: Vec<String>,
    /// Those of `switches` that keep it only as long as an exporter holds them, as many lines of GPIO do.
    #[serde(default)]
    pub(crate) held: Vec<String>,
    /// The drivers that are storages behind a mux.
    #[serde(default)]
    pub(crate) muxes: Vec<String>,
    pub(crate) can: BTreeSet<Ability>,
    /// What it can't, and why.
    #[serde(default)]
    pub(crate) cannot: BTreeMap<Ability, String>,
    /// The exporter's configuration without its head. `{console}` and the names of emulated cards and
    /// switches stand for where those are.
    pub(crate) exporter: String,
}

fn usual_switches() -> Vec<String> {
    vec!["power".into()]
}

/// Where an exporter runs, and with it what its devices are made of.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// On this host, and sees emulated devices.
    Sim,
    /// In a kernel of its own.
    Kernel,
    /// On this host, which has the devices.
    Lab,
}

/// Emulated devices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Devices {
    /// A YKUSH.
    pub(crate) hub: Option<Serial>,
    /// A serial port.
    pub(crate) console: Option<Console>,
    /// Cards, by the names of their drivers.
    #[serde(default)]
    pub(crate) cards: BTreeMap<String, Card>,
    /// Power switches, by the names of their drivers.
    #[serde(default)]
    pub(crate) switches: BTreeMap<String, Switch>,
}

/// A device that is known by its serial number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serial {
    pub(crate) serial: String,
}

/// A serial port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    pub(crate) serial: String,
    pub(crate) far_end: FarEnd,
}

/// What is at the other end of a serial port.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FarEnd {
    /// A plug that sends back what it gets.
    Echo,
    /// The board.
    Board,
}

/// A card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    /// What it is in.
    #[serde(rename = "in")]
    pub(crate) holder: Holder,
    pub(crate) serial: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// What a card is in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Holder {
    /// A reader that nothing takes it from; on a host without readers, a loop device.
    Reader,
    /// An SDWire.
    Sdwire,
    /// A USB-SD-Mux.
    UsbSdMux,
    /// A USB-SD-Mux FAST.
    UsbSdMuxFast,
    /// A DUT Link, which is a power supply and a console, too.
    Dutlink,
}

impl Holder {
    /// The driver for it, if it has one of its own.
    pub(crate) const fn driver(self) -> Option<&'static str> {
        match self {
            Self::Reader => None,
            Self::Sdwire => Some("jumpstarter_driver_sdwire.driver.SDWire"),
            Self::UsbSdMux | Self::UsbSdMuxFast => Some("hilt.storage.UsbSdMux"),
            Self::Dutlink => Some("jumpstarter_driver_dutlink.driver.Dutlink"),
        }
    }
}

/// A power switch.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Switch {
    /// A port of the YKUSH that is the bench's hub.
    Hub { port: usize },
    /// An output of another board of Yepkit's; the fourth of a YKUSH3 is the one of 5 volts.
    Yepkit { board: YkushBoard, serial: String, output: usize },
    /// A port of a hub that switches each by itself.
    UsbHub { serial: String, port: u8 },
    /// The same of a hub of USB 3, which is two in one case.
    Usb3Hub { serial: String, port: u8 },
    /// The power supply of the DUT Link that has the card of `storage`.
    Dutlink,
    /// A line of a GPIO chip.
    Gpio,
    /// The second relay of a board of dcttech's.
    UsbRelay,
    /// The third relay of an LCUS board that is an HID device.
    HidRelays,
    /// The second relay of an LCUS board behind a serial adapter.
    SerialRelays,
    /// The fourth socket of an EnerGenie strip on USB.
    EnergenieUsb,
    /// The third socket of an EnerGenie strip, by its web pages.
    Energenie,
    /// A Shelly, by JSON-RPC.
    Shelly,
    /// A Shelly of the first generation, by its pages.
    FirstShelly,
    /// A plug with Tasmota, by MQTT.
    Tasmota,
    /// A plug with Tasmota, by its web interface.
    TasmotaWithWeb,
    /// A power distribution unit, by SNMP.
    Pdu,
    /// What a program of the host switches.
    Program,
}

/// A board that boots from the card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoardContent {
    /// What to flash. None: the firmware of the emulated board.
    pub(crate) image: Option<PathBuf>,
    /// What it says on its console once it has booted that.
    pub(crate) says: String,
}

/// What a case may need of a bench.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ability {
    /// `power` is a power switch that tells its position.
    Power,
    /// The drivers in `blind` are power switches that don't tell their position.
    BlindPower,
    /// `neighbour` is another port of the same hub.
    Neighbour,
    /// The hub can be pulled out and plugged in.
    UnplugHub,
    /// The switches can answer nonsense, or nothing.
    Misbehave,
    /// `port` is a port of a hub that the reader of `storage` is plugged in to.
    PoweredReader,
    /// The kernel's own switch of `port` can be taken away, as an older kernel has none.
    OldKernel,
    /// `serial` is a console of which what is sent comes back.
    Echo,
    /// The console's adapter can be pulled out and plugged in.
    UnplugConsole,
    /// `storage` may be overwritten.
    Storage,
    /// The storages in `muxes` may be overwritten.
    Mux,
    /// The muxes can be pulled out and get stuck, and their cards can break.
    BreakMux,
    /// What is on the card can be seen without the exporter.
    SeeCard,
    /// The card can be pulled out while it is written.
    PullCard,
    /// `worn` is a card with a block that can't be written, or can't be read.
    BadBlock,
    /// The card can be locked.
    ReadOnly,
    /// `worn` is a card that can forget what is written to it.
    Forget,
    /// The far end of the console can stop to take what is sent.
    Stall,
    /// What is plugged in is known.
    Discover,
    /// A board boots from `storage`, is powered by `power` and speaks on `serial`.
    Board,
}

impl Description {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let context = || format!("the bench {}", path.display());
        let text = fs::read_to_string(path).with_context(context)?;
        let content: Content = serde_yaml::from_str(&text).with_context(context)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).with_context(context)?;
        let both = content.can.iter().find(|ability| content.cannot.contains_key(ability));
        ensure!(both.is_none(), "{}: it can and can't {both:?}", path.display());
        Ok(Self { name: name.to_owned(), content })
    }

    /// The tier that it belongs to.
    pub(crate) fn tier(&self) -> &str {
        self.content.tier.as_deref().unwrap_or(&self.name)
    }

    /// Why a case with these needs can't be tried on it, if it can't.
    pub(crate) fn why_not(&self, needs: &[Ability]) -> Option<String> {
        let missing = needs.iter().find(|need| !self.content.can.contains(need))?;
        Some(match self.content.cannot.get(missing) {
            Some(reason) => format!("{}: {reason}", self.name),
            None => format!("{}: nothing on it is said to do {missing:?}", self.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABILITIES: [Ability; 20] = [
        Ability::Power,
        Ability::BlindPower,
        Ability::Neighbour,
        Ability::UnplugHub,
        Ability::Misbehave,
        Ability::PoweredReader,
        Ability::OldKernel,
        Ability::Echo,
        Ability::UnplugConsole,
        Ability::Storage,
        Ability::Mux,
        Ability::BreakMux,
        Ability::SeeCard,
        Ability::PullCard,
        Ability::BadBlock,
        Ability::ReadOnly,
        Ability::Forget,
        Ability::Stall,
        Ability::Discover,
        Ability::Board,
    ];

    fn read(name: &str) -> Description {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        Description::read(&directory.join(name).with_extension("yaml")).unwrap()
    }

    #[test]
    fn our_benches_say_why_they_can_not() {
        for name in ["sim", "kernel", "dutlink", "dut"] {
            let bench = read(name);
            for ability in ABILITIES {
                let said = bench.content.can.contains(&ability)
                    || bench.content.cannot.contains_key(&ability);
                assert!(said, "{name}: {ability:?}");
            }
        }
    }

    #[test]
    fn a_case_is_skipped_for_what_the_bench_says() {
        let mut bench = read("kernel");
        assert_eq!(bench.why_not(&[Ability::Power, Ability::Echo]), None);
        bench.content.can.remove(&Ability::Echo);
        bench.content.cannot.insert(Ability::Echo, "the plug is lost".into());
        let reason = bench.why_not(&[Ability::Power, Ability::Echo]);
        assert_eq!(reason.as_deref(), Some("kernel: the plug is lost"));
    }

    #[test]
    fn the_example_for_a_lab_can_be_read() {
        let bench = read("example");
        assert_eq!(bench.content.place, Place::Lab);
        assert!(bench.content.board.is_some());
    }
}
