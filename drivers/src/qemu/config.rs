//! What a configuration says of an emulated board.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::size;
use crate::network::Endpoint;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// The `config:` block of an emulated board.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What comes after `qemu-system-`.
    #[serde(default = "host_architecture")]
    pub(super) arch: String,
    pub(super) cpu: Option<String>,
    #[serde(default = "two", deserialize_with = "number::whole")]
    pub(super) smp: NonZeroU32,
    #[serde(default = "default_memory")]
    pub(super) mem: String,
    /// What the disk is enlarged to.
    pub(super) disk_size: Option<String>,
    #[serde(default = "default_hostname")]
    pub(super) hostname: String,
    #[serde(default = "default_username")]
    pub(super) username: String,
    #[serde(default = "default_password")]
    pub(super) password: Secret,
    /// Files of the exporter's host for what was not flashed.
    #[serde(default)]
    pub(super) default_partitions: BTreeMap<Partition, PathBuf>,
    /// Ports of the board, by the name of the child that leads there.
    #[serde(default)]
    pub(super) hostfwd: BTreeMap<String, Forward>,
    /// Not in the reference: the machine that is emulated, as in QEMU's `-machine`. One that is neither
    /// `virt` nor `q35` is a board with what belongs to it: its disk is an SD card.
    pub(super) machine: Option<String>,
    /// Not in the reference: more arguments for QEMU.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Not in the reference: who runs the board's instructions.
    #[serde(default)]
    pub(super) accel: Accelerator,
    #[serde(default, rename = "flash_timeout")]
    _flash_timeout: Option<IgnoredAny>,
    #[serde(default, rename = "fls_version")]
    _fls_version: Option<IgnoredAny>,
    #[serde(default, rename = "fls_allow_custom_binaries")]
    _fls_allow_custom_binaries: Option<IgnoredAny>,
    #[serde(default, rename = "fls_custom_binary_url")]
    _fls_custom_binary_url: Option<IgnoredAny>,
}

/// What can be flashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Partition {
    /// The disk, or the SD card.
    #[serde(rename = "root")]
    Root,
    /// The firmware.
    #[serde(rename = "bios")]
    Bios,
    /// The firmware in flash memory, together with its variables.
    #[serde(rename = "OVMF_CODE.fd")]
    OvmfCode,
    /// The variables.
    #[serde(rename = "OVMF_VARS.fd")]
    OvmfVars,
}

/// Who runs the board's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Accelerator {
    /// The host's processor if it is of the same kind and the exporter may use it, otherwise QEMU.
    #[default]
    Auto,
    /// The host's processor.
    Kvm,
    /// QEMU itself.
    Tcg,
}

/// A port of the board that is reached through one of the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forward {
    #[serde(default, rename = "protocol")]
    _protocol: Protocol,
    #[serde(default = "loopback")]
    pub(super) hostaddr: Ipv4Addr,
    #[serde(deserialize_with = "number::whole")]
    pub(super) hostport: NonZeroU16,
    #[serde(deserialize_with = "number::whole")]
    pub(super) guestport: NonZeroU16,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Tcp,
}

impl Config {
    /// Finds what can't be right, whatever the host is like.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(DriverError::InvalidArgument(text));
        size::memory(&self.mem)?;
        if let Some(disk) = &self.disk_size {
            size::disk(disk)?;
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if self.arch.is_empty() || !self.arch.chars().all(is_plain) {
            return invalid(format!("arch: '{}' is not the name of an architecture", self.arch));
        }
        for (name, forward) in &self.hostfwd {
            if ["power", "flasher", "console", "vnc"].contains(&name.as_str()) {
                return invalid(format!(
                    "hostfwd.{name}: the board itself has a child of this name"
                ));
            }
            if !forward.hostaddr.is_loopback() {
                return invalid(format!(
                    "hostfwd.{name}.hostaddr: {} is open to the network; leave it out, clients come \
                     through the exporter",
                    forward.hostaddr
                ));
            }
        }
        Ok(())
    }
}

impl Partition {
    /// All there are.
    pub(super) const ALL: [Self; 4] = [Self::Root, Self::Bios, Self::OvmfCode, Self::OvmfVars];

    /// Its name on the wire and on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Bios => "bios",
            Self::OvmfCode => "OVMF_CODE.fd",
            Self::OvmfVars => "OVMF_VARS.fd",
        }
    }

    /// The one that a client names; none is the disk.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        let Some(name) = name else { return Ok(Self::Root) };
        Self::ALL.into_iter().find(|partition| partition.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            DriverError::InvalidArgument(format!(
                "invalid partition name: {name}; there are {names}"
            ))
        })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Forward {
    /// Where clients are connected to.
    pub(super) fn endpoint(&self) -> Endpoint {
        let (host, port) = (self.hostaddr.to_string(), self.hostport.get());
        Endpoint { host, port, enable_address: true }
    }
}

fn host_architecture() -> String {
    std::env::consts::ARCH.to_owned()
}

const fn two() -> NonZeroU32 {
    NonZeroU32::new(2).expect("because 2 is not zero")
}

fn default_memory() -> String {
    "512M".into()
}

fn default_hostname() -> String {
    "demo".into()
}

fn default_username() -> String {
    "jumpstarter".into()
}

fn default_password() -> Secret {
    Secret::new("password")
}

const fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::parse;

    fn check(config: Value) -> Result<(), String> {
        let config: Config = parse(config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_configuration_of_the_reference_is_taken() {
        let config = json!({
            "arch": "aarch64", "cpu": "cortex-a57", "smp": 4, "mem": "1G", "disk_size": "20G",
            "hostname": "demo", "username": "root", "password": "secret",
            "default_partitions": {"root": "/img.qcow2", "OVMF_CODE.fd": "/code", "OVMF_VARS.fd": "/vars"},
            "hostfwd": {"ssh": {"protocol": "tcp", "hostaddr": "127.0.0.1", "hostport": 2222, "guestport": 22}},
            "fls_version": "0.2", "flash_timeout": 60,
        });
        assert_eq!(check(config), Ok(()));
        assert_eq!(check(json!({})), Ok(()));
    }

    #[test]
    fn forwarded_ports_are_for_this_host_only() {
        let forward = |name: &str, address: &str| {
            let port = json!({"hostaddr": address, "hostport": 2222, "guestport": 22});
            check(json!({"hostfwd": {name: port}})).unwrap_err()
        };
        assert!(forward("ssh", "0.0.0.0").starts_with("hostfwd.ssh.hostaddr: 0.0.0.0 is open"));
        assert!(forward("power", "127.0.0.1").contains("a child of this name"));
        assert!(forward("ssh", "lab.example").contains("invalid IPv4 address"));
    }

    #[test]
    fn mistakes_are_found_without_qemu() {
        assert!(check(json!({"mem": "a lot"})).unwrap_err().starts_with("Invalid size"));
        assert!(check(json!({"arch": "../x"})).unwrap_err().starts_with("arch:"));
        assert!(check(json!({"default_partitions": {"rot": "/x"}})).unwrap_err().contains("`rot`"));
        assert!(check(json!({"accel": "hax"})).unwrap_err().contains("`hax`"));
    }

    #[test]
    fn a_partition_has_one_of_four_names() {
        assert_eq!(Partition::named(None).unwrap(), Partition::Root);
        assert_eq!(Partition::named(Some("OVMF_CODE.fd")).unwrap(), Partition::OvmfCode);
        assert_eq!(
            Partition::named(Some("../x")).unwrap_err().to_string(),
            "invalid partition name: ../x; there are root, bios, OVMF_CODE.fd, OVMF_VARS.fd"
        );
    }
}
