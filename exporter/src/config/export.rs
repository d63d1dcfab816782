//! The `export:` of a configuration: the bench's devices.

use std::collections::BTreeMap;

use drivers::tree::{DeviceSpec, Spec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Config;
use super::hooks::Script;

/// A node of the tree of devices.
#[derive(Debug, Clone, PartialEq)]
pub enum DriverNode {
    /// With `type`: a device.
    Device(Box<Device>),
    /// With `children`: a group without a device of its own.
    Group(Vec<(String, Self)>),
    /// With `ref`: another node once more, by its dotted path from the top.
    Proxy(String),
}

/// A device and the driver for it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Device {
    /// `type`: the driver, by its Python class path.
    pub type_name: String,
    /// `version`: of the driver's definition, for its life's records.
    pub version: Option<String>,
    /// `description`: help text for the device.
    pub description: Option<String>,
    /// `methods_description`: help texts for the client's commands.
    pub methods_description: BTreeMap<String, String>,
    /// `config`: the driver's settings.
    pub config: Map<String, Value>,
    /// `children`: nodes below this one, in the order of the file.
    pub children: Vec<(String, DriverNode)>,
    /// `hooks`: scripts around the driver's own life.
    pub hooks: BTreeMap<Stage, Vec<StageScript>>,
}

/// A moment of a driver's life at which scripts can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Before it is first put to use. A failure keeps it from being used.
    PreInstall,
    /// After it was first put to use.
    PostInstall,
    /// Before a changed definition replaces it. A failure keeps the old one.
    PreUpdate,
    /// After a changed definition has replaced it.
    PostUpdate,
    /// Before it is taken out of use. A failure keeps it.
    PreDelete,
    /// After it was taken out of use.
    PostDelete,
}

impl Stage {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::PreInstall,
        Self::PostInstall,
        Self::PreUpdate,
        Self::PostUpdate,
        Self::PreDelete,
        Self::PostDelete,
    ];

    /// Its key.
    pub fn word(self) -> &'static str {
        match self {
            Self::PreInstall => "preInstall",
            Self::PostInstall => "postInstall",
            Self::PreUpdate => "preUpdate",
            Self::PostUpdate => "postUpdate",
            Self::PreDelete => "preDelete",
            Self::PostDelete => "postDelete",
        }
    }
}

/// The script of a [`Stage`] for one platform; a stage has at most one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageScript {
    /// `targetPlatform`: where it runs. Elsewhere the stage is skipped.
    pub platform: Platform,
    /// What to run, decoded. Default `timeoutSeconds`: 300, at least 1.
    pub script: Script,
}

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Platform {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl Platform {
    /// The one that this program runs on.
    pub const HERE: Self = if cfg!(windows) { Self::Windows } else { Self::Linux };
}

impl Config {
    /// Every script, of whichever life.
    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        let mut of_drivers = Vec::new();
        collect_scripts(&self.export, &mut of_drivers);
        self.hooks.scripts().chain(of_drivers)
    }

    /// The devices, as [`drivers::Tree::build`] takes them.
    pub fn specs(&self) -> Vec<(String, Spec)> {
        specs(&self.export)
    }
}

fn collect_scripts<'c>(nodes: &'c [(String, DriverNode)], scripts: &mut Vec<&'c Script>) {
    for (_, node) in nodes {
        match node {
            DriverNode::Device(device) => {
                scripts.extend(device.hooks.values().flatten().map(|script| &script.script));
                collect_scripts(&device.children, scripts);
            }
            DriverNode::Group(children) => collect_scripts(children, scripts),
            DriverNode::Proxy(_) => {}
        }
    }
}

fn specs(nodes: &[(String, DriverNode)]) -> Vec<(String, Spec)> {
    nodes.iter().map(|(name, node)| (name.clone(), node.spec())).collect()
}

impl DriverNode {
    fn spec(&self) -> Spec {
        match self {
            Self::Device(device) => Spec::Device(DeviceSpec {
                type_name: device.type_name.clone(),
                description: device.description.clone(),
                methods_description: device.methods_description.clone(),
                config: device.config.clone(),
                children: specs(&device.children),
            }),
            Self::Group(children) => Spec::Group(specs(children)),
            Self::Proxy(target) => Spec::Proxy(target.clone()),
        }
    }
}
