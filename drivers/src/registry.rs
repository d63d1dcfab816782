//! Every driver there is: one line each, in the list `REGISTRY`.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::composite::Composite;
use crate::driver::Driver;
use crate::dutlink::Dutlink;
use crate::gpio::{DigitalInput, DigitalOutput, PowerSwitch};
use crate::network::echo::EchoNetwork;
use crate::network::tcp::TcpNetwork;
use crate::network::udp::UdpNetwork;
use crate::network::unix::UnixNetwork;
use crate::network::websocket::WebsocketNetwork;
use crate::network::{Network, NetworkDriver};
use crate::power::energenie::EnerGenie;
use crate::power::energenie_usb::EnerGenieUsb;
use crate::power::external::External;
use crate::power::http::HttpPower;
use crate::power::hub::UsbHub;
use crate::power::mock::MockPower;
use crate::power::noyito::{NoyitoPowerHid, NoyitoPowerSerial};
use crate::power::shelly::Shelly;
use crate::power::snmp::SnmpServer;
use crate::power::switch::{Switch, Switched};
use crate::power::tasmota::http::Tasmota;
use crate::power::tasmota::mqtt::TasmotaPower;
use crate::power::usbrelay::UsbRelay;
use crate::power::ykush::{Yepkit, Ykush, Ykush2, Ykush3, YkushXs};
use crate::power::{Power, PowerDriver};
use crate::qemu::Qemu;
use crate::serial::PySerial;
use crate::shell::Shell;
use crate::simulated::Board;
use crate::storage::block::BlockDevice;
use crate::storage::mock::{MockFlasher, MockStorageMux};
use crate::storage::opendal::Opendal;
use crate::storage::sdwire::SdWire;
use crate::storage::usb_sd_mux::UsbSdMux;
use crate::storage::{Flasher, FlasherDriver, MuxClient, StorageMux, StorageMuxDriver};
use crate::{DriverError, Result};

/// The drivers, by the `type:` strings that a configuration may use for them.
static REGISTRY: &[Entry] = &[
    device::<Composite>(&["jumpstarter_driver_composite.driver.Composite"]),
    power::<MockPower>(&[
        "jumpstarter_driver_power.driver.MockPower",
        "jumpstarter_driver_power.driver.SyncMockPower",
    ]),
    switch::<HttpPower>(&["jumpstarter_driver_http_power.driver.HttpPower"]),
    switch::<EnerGenie>(&["jumpstarter_driver_energenie.driver.EnerGenie"]),
    switch::<External>(&["hilt.power.External"]),
    switch::<Shelly>(&["hilt.power.Shelly"]),
    switch::<Tasmota>(&["hilt.power.Tasmota"]),
    switch::<TasmotaPower>(&["jumpstarter_driver_tasmota.driver.TasmotaPower"]),
    switch::<SnmpServer>(&["jumpstarter_driver_snmp.driver.SNMPServer"]),
    switch::<Yepkit<Ykush>>(&["jumpstarter_driver_yepkit.driver.Ykush"]),
    switch::<Yepkit<Ykush2>>(&["hilt.power.Ykush2"]),
    switch::<Yepkit<Ykush3>>(&["hilt.power.Ykush3"]),
    switch::<Yepkit<YkushXs>>(&["hilt.power.YkushXs"]),
    switch::<NoyitoPowerSerial>(&["jumpstarter_driver_noyito_relay.driver.NoyitoPowerSerial"]),
    switch::<NoyitoPowerHid>(&["jumpstarter_driver_noyito_relay.driver.NoyitoPowerHID"]),
    switch::<UsbHub>(&["hilt.power.UsbHub"]),
    switch::<UsbRelay>(&["hilt.power.UsbRelay"]),
    switch::<EnerGenieUsb>(&["hilt.power.EnerGenieUsb"]),
    device::<DigitalOutput>(&["jumpstarter_driver_gpiod.driver.DigitalOutput"]),
    device::<DigitalInput>(&["jumpstarter_driver_gpiod.driver.DigitalInput"]),
    device::<PowerSwitch>(&["jumpstarter_driver_gpiod.driver.PowerSwitch"]),
    group::<Board>(&["hilt.simulated.Board"]),
    group::<Dutlink>(&["jumpstarter_driver_dutlink.driver.Dutlink"]),
    parent::<Qemu>(&["jumpstarter_driver_qemu.driver.Qemu"]),
    device::<Shell>(&["jumpstarter_driver_shell.driver.Shell"]),
    device::<PySerial>(&["jumpstarter_driver_pyserial.driver.PySerial"]),
    network::<EchoNetwork>(&["jumpstarter_driver_network.driver.EchoNetwork"]),
    network::<TcpNetwork>(&["jumpstarter_driver_network.driver.TcpNetwork"]),
    network::<UdpNetwork>(&["jumpstarter_driver_network.driver.UdpNetwork"]),
    network::<UnixNetwork>(&["jumpstarter_driver_network.driver.UnixNetwork"]),
    network::<WebsocketNetwork>(&["jumpstarter_driver_network.driver.WebsocketNetwork"]),
    device::<Opendal>(&["jumpstarter_driver_opendal.driver.Opendal"]),
    device::<BlockDevice>(&["hilt.storage.BlockDevice"]),
    device::<UsbSdMux>(&["hilt.storage.UsbSdMux"]),
    device::<SdWire>(&["jumpstarter_driver_sdwire.driver.SDWire"]),
    flasher::<MockFlasher>(&["jumpstarter_driver_opendal.driver.MockFlasher"]),
    storage_mux::<MockStorageMux>(&["jumpstarter_driver_opendal.driver.MockStorageMux"]),
    storage_mux_flasher::<MockStorageMux>(&[
        "jumpstarter_driver_opendal.driver.MockStorageMuxFlasher",
    ]),
];

/// A driver that can be built from a `config:` block.
pub trait Build: Sized {
    /// The block's shape. Deny unknown fields, so that a misspelt setting is an error.
    type Config: DeserializeOwned;

    /// Builds the driver without touching the device, which need not be there yet:
    /// `hilt check` builds every driver of a configuration. [`Driver::open`] is for the device.
    fn build(config: Self::Config) -> Result<Self>;
}

/// A device that is built as a group of drivers, because it is several things at once.
pub trait BuildGroup {
    /// As [`Build::Config`].
    type Config: DeserializeOwned;

    /// Builds the drivers, each with its name in the group; see [`Build::build`].
    fn build(config: Self::Config) -> Result<Vec<(&'static str, Arc<dyn Driver>)>>;
}

/// A device that brings children of its own, beside what it can do itself.
pub trait BuildParent {
    /// As [`Build::Config`].
    type Config: DeserializeOwned;

    /// Builds the driver with its children; see [`Build::build`].
    fn build(config: Self::Config) -> Result<Built>;
}

/// A `config:` block of which nothing is read.
#[derive(Debug, Deserialize)]
#[serde(from = "IgnoredAny")]
pub struct AnyConfig;

impl From<IgnoredAny> for AnyConfig {
    fn from(_: IgnoredAny) -> Self {
        Self
    }
}

/// One kind of driver.
pub struct Entry {
    types: &'static [&'static str],
    build: fn(Value) -> Result<Built, BuildError>,
}

/// A driver that was just built, with the children that it brings itself.
#[derive(Debug, Clone)]
pub struct Built {
    /// The driver.
    pub driver: Arc<dyn Driver>,
    /// Its own children, in the order of the report.
    pub children: Vec<(String, Self)>,
}

impl From<Arc<dyn Driver>> for Built {
    /// A driver without children.
    fn from(driver: Arc<dyn Driver>) -> Self {
        Self { driver, children: Vec::new() }
    }
}

/// A `config:` block that a driver can't take.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Keys and indices from the block's top to the mistake.
    pub path: Vec<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Why a driver was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The block has a mistake.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The block is well-formed, but the driver refused it.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// The driver of this `type:`.
pub fn find(type_name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().find(|entry| entry.types.contains(&type_name))
}

/// Every `type:` string there is.
pub fn types() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().flat_map(|entry| entry.types.iter().copied())
}

impl Entry {
    /// Builds the driver from its `config:` block.
    pub fn build(&self, config: Value) -> Result<Built, BuildError> {
        (self.build)(config)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("types", &self.types).finish_non_exhaustive()
    }
}

/// A line for a power switch.
const fn power<P: Build + Power>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(leaf(PowerDriver(P::build(parse(config)?)?))) }
}

/// A line for a power switch that is told positions.
const fn switch<S: Build + Switch>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(leaf(PowerDriver(Switched::new(S::build(parse(config)?)?)))) }
}

/// A line for a network service.
const fn network<N: Build + Network>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(leaf(NetworkDriver(N::build(parse(config)?)?))) }
}

/// A line for a flasher.
const fn flasher<F: Build + Flasher>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(leaf(FlasherDriver(F::build(parse(config)?)?))) }
}

/// A line for a storage mux whose client only switches and writes files.
const fn storage_mux<M: Build + StorageMux>(types: &'static [&'static str]) -> Entry {
    Entry {
        types,
        build: |config| {
            let mux = M::build(parse(config)?)?;
            Ok(leaf(StorageMuxDriver { mux, client: MuxClient::Mux }))
        },
    }
}

/// A line for a storage mux whose client flashes.
const fn storage_mux_flasher<M: Build + StorageMux>(types: &'static [&'static str]) -> Entry {
    Entry {
        types,
        build: |config| {
            let mux = M::build(parse(config)?)?;
            Ok(leaf(StorageMuxDriver { mux, client: MuxClient::Flasher }))
        },
    }
}

/// A line for a driver that is like no other.
const fn device<D: Build + Driver>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(leaf(D::build(parse(config)?)?)) }
}

/// A line for a device that is several things at once.
const fn group<G: BuildGroup>(types: &'static [&'static str]) -> Entry {
    Entry {
        types,
        build: |config| {
            let members = G::build(parse(config)?)?.into_iter();
            let children = members.map(|(name, driver)| (name.to_owned(), driver.into()));
            Ok(Built { driver: Arc::new(Composite), children: children.collect() })
        },
    }
}

/// A line for a device that brings children.
const fn parent<P: BuildParent>(types: &'static [&'static str]) -> Entry {
    Entry { types, build: |config| Ok(P::build(parse(config)?)?) }
}

fn leaf(driver: impl Driver) -> Built {
    let driver: Arc<dyn Driver> = Arc::new(driver);
    driver.into()
}

/// Reads a `config:` block, keeping track of where a mistake is.
pub(crate) fn parse<C: DeserializeOwned>(config: Value) -> Result<C, ConfigError> {
    serde_path_to_error::deserialize(config).map_err(|error| ConfigError {
        path: error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { .. }
                | serde_path_to_error::Segment::Unknown => None,
            })
            .collect(),
        message: error.into_inner().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn no_type_is_claimed_twice() {
        let mut seen = HashSet::new();
        for name in types() {
            assert!(seen.insert(name), "{name} is in two lines of the registry");
        }
    }

    #[test]
    fn a_mistake_says_where_it_is() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Relay {
            #[expect(dead_code, reason = "only parsed")]
            ports: Vec<u8>,
        }
        let error = parse::<Relay>(json!({"ports": [1, 300]})).unwrap_err();
        assert_eq!(error.path, ["ports", "1"]);
        assert_eq!(error.message, "invalid value: integer `300`, expected u8");
    }
}
