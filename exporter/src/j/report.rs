//! The exporter's report as a tree of drivers.

use std::collections::{BTreeMap, HashMap};

use super::error::{Error, Result};
use crate::wire::{DriverInstanceReport, GetReportResponse};

/// One driver, as the exporter reports it.
#[derive(Debug, PartialEq)]
pub(crate) struct Driver {
    pub(crate) uuid: String,
    /// The names from the root to here. Empty for the root.
    pub(crate) path: Vec<String>,
    pub(crate) class: Class,
    pub(crate) description: Option<String>,
    /// From the name of a command to its help, where the exporter's configuration has one.
    pub(crate) methods: HashMap<String, String>,
    /// By name, in the order of names.
    pub(crate) children: BTreeMap<String, Self>,
}

/// The kind of client that a driver asks for, which decides its verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Composite,
    Power,
    VirtualPower,
    Serial,
    Network,
    Opendal,
    Flasher,
    StorageMux,
    StorageMuxFlasher,
    Shell,
    DigitalOutput,
    DigitalInput,
    /// Any other: it can be called by the names of its methods.
    Unknown,
}

impl Class {
    /// From the label `jumpstarter.dev/client`, the path of a Python class.
    fn of(label: &str) -> Self {
        match label {
            "jumpstarter_driver_composite.client.CompositeClient" => Self::Composite,
            "jumpstarter_driver_power.client.PowerClient"
            | "jumpstarter_driver_noyito_relay.client.NoyitoPowerClient"
            | "jumpstarter_driver_snmp.client.SNMPServerClient" => Self::Power,
            "jumpstarter_driver_power.client.VirtualPowerClient" => Self::VirtualPower,
            "jumpstarter_driver_pyserial.client.PySerialClient" => Self::Serial,
            "jumpstarter_driver_network.client.NetworkClient"
            | "jumpstarter_driver_network.client.DbusNetworkClient" => Self::Network,
            "jumpstarter_driver_opendal.client.OpendalClient" => Self::Opendal,
            "jumpstarter_driver_opendal.client.FlasherClient"
            | "jumpstarter.client.flasher.FlasherClient"
            | "jumpstarter_driver_qemu.client.QemuFlasherClient" => Self::Flasher,
            "jumpstarter_driver_opendal.client.StorageMuxClient" => Self::StorageMux,
            "jumpstarter_driver_opendal.client.StorageMuxFlasherClient" => Self::StorageMuxFlasher,
            "jumpstarter_driver_shell.client.ShellClient" => Self::Shell,
            "jumpstarter_driver_gpiod.client.DigitalOutputClient" => Self::DigitalOutput,
            "jumpstarter_driver_gpiod.client.DigitalInputClient" => Self::DigitalInput,
            _ => Self::Unknown,
        }
    }
}

impl Driver {
    /// The tree of a report.
    ///
    /// A parent comes before its children. The same driver may come again under another parent,
    /// with all its children and the same uuids; a child then belongs to the latest entry of its
    /// parent's uuid.
    pub(crate) fn tree(report: GetReportResponse) -> Result<Self> {
        let mut latest = HashMap::new();
        let mut children = vec![Vec::new(); report.reports.len()];
        let mut root = None;
        for (index, entry) in report.reports.iter().enumerate() {
            latest.insert(entry.uuid.as_str(), index);
            let parent = entry.parent_uuid();
            if parent.is_empty() {
                root = Some(index);
            } else if let Some(&parent) = latest.get(parent).filter(|&&parent| parent != index) {
                let siblings: &mut Vec<usize> = &mut children[parent];
                siblings.push(index);
            } else {
                return Err(Error::Report(format!(
                    "driver {} comes before its parent {parent}",
                    entry.uuid
                )));
            }
        }
        let root = root.ok_or_else(|| Error::Report("it has no root driver".into()))?;
        Ok(build(&report.reports, &children, root, Vec::new()))
    }

    /// The path in the form of the configuration's `ref`, and `exporter` for the root.
    pub(crate) fn name(&self) -> String {
        if self.path.is_empty() { "exporter".to_owned() } else { self.path.join(".") }
    }
}

fn build(
    reports: &[DriverInstanceReport],
    children: &[Vec<usize>],
    index: usize,
    path: Vec<String>,
) -> Driver {
    let entry = &reports[index];
    let label = |name| entry.labels.get(name).map_or("", String::as_str);
    let branches = children[index].iter().map(|&child| {
        let name = reports[child].labels.get("jumpstarter.dev/name").cloned().unwrap_or_default();
        let path = path.iter().chain([&name]).cloned().collect();
        (name, build(reports, children, child, path))
    });
    Driver {
        uuid: entry.uuid.clone(),
        class: Class::of(label("jumpstarter.dev/client")),
        description: entry.description.clone().filter(|text| !text.is_empty()),
        methods: entry.methods_description.clone(),
        children: branches.collect(),
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of a report; an empty parent makes it the root.
    fn entry(uuid: &str, parent: &str, name: &str, client: &str) -> DriverInstanceReport {
        let labels = [("jumpstarter.dev/client", client), ("jumpstarter.dev/name", name)];
        DriverInstanceReport {
            uuid: uuid.into(),
            parent_uuid: (!parent.is_empty()).then(|| parent.into()),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ..DriverInstanceReport::default()
        }
    }

    fn tree(reports: Vec<DriverInstanceReport>) -> Result<Driver> {
        Driver::tree(GetReportResponse { reports, ..GetReportResponse::default() })
    }

    const COMPOSITE: &str = "jumpstarter_driver_composite.client.CompositeClient";
    const POWER: &str = "jumpstarter_driver_power.client.PowerClient";

    #[test]
    fn children_hang_below_their_parents() {
        let root = tree(vec![
            entry("r", "", "", COMPOSITE),
            entry("b", "r", "board", COMPOSITE),
            entry("p", "b", "power", POWER),
        ])
        .unwrap();
        let power = &root.children["board"].children["power"];
        assert_eq!((power.class, power.name()), (Class::Power, "board.power".to_owned()));
        assert_eq!(root.name(), "exporter");
    }

    #[test]
    fn a_proxied_subtree_is_there_twice() {
        let root = tree(vec![
            entry("r", "", "", COMPOSITE),
            entry("b", "r", "board", COMPOSITE),
            entry("p", "b", "power", POWER),
            entry("b", "r", "alias", COMPOSITE),
            entry("p", "b", "power", POWER),
        ])
        .unwrap();
        assert_eq!(root.children["board"].children.len(), 1);
        assert_eq!(root.children["alias"].children["power"].uuid, "p");
        assert_eq!(root.children["alias"].children["power"].name(), "alias.power");
    }

    #[test]
    fn of_two_children_with_one_name_the_later_wins() {
        let root = tree(vec![
            entry("r", "", "", COMPOSITE),
            entry("1", "r", "power", POWER),
            entry("2", "r", "power", POWER),
        ])
        .unwrap();
        assert_eq!(root.children["power"].uuid, "2");
    }

    #[test]
    fn a_report_that_is_no_tree_is_refused() {
        assert!(tree(vec![]).unwrap_err().to_string().contains("no root driver"));
        for orphan in [entry("p", "x", "power", POWER), entry("p", "p", "power", POWER)] {
            let error = tree(vec![entry("r", "", "", COMPOSITE), orphan]).unwrap_err();
            assert!(error.to_string().contains("driver p comes before its parent"), "{error}");
        }
    }
}
