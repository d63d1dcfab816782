//! What a driver is, for its own life: everything that makes it another driver when it changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use drivers::tree::DeviceSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::config::export::{Device, DriverNode, Platform, Stage, StageScript};
use crate::config::hooks::Script;
use crate::store::AppliedDriver;

/// The definition of one driver. Children are drivers of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Names from the top of the tree, with dots between them.
    pub path: String,
    /// `type`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `config`: the driver's settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    methods_description: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hooks: BTreeMap<Stage, Vec<StageScript>>,
    /// What is in the files that scripts are, as SHA-256; nothing of those that can't be read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<PathBuf, String>,
}

impl Definition {
    /// The drivers of a configuration, children before their parents, as they are opened.
    pub fn all(config: &Config) -> Vec<Self> {
        let mut definitions = Vec::new();
        collect(&config.export, "", &mut definitions);
        definitions
    }

    /// What was once applied.
    ///
    /// # Errors
    ///
    /// It was written by another version of Hilt, which this one doesn't understand.
    pub fn applied(driver: &AppliedDriver) -> serde_json::Result<Self> {
        serde_json::from_str(&driver.definition)
    }

    /// The definition as it is kept, once it has been applied.
    pub fn to_applied(&self) -> AppliedDriver {
        let definition = self.canonical();
        AppliedDriver {
            path: self.path.clone(),
            type_name: self.type_name.clone(),
            version: self.version.clone(),
            hash: sha256(definition.as_bytes()),
            definition,
        }
    }

    /// Two definitions with the same hash are the same: SHA-256, in hexadecimal.
    pub fn hash(&self) -> String {
        sha256(self.canonical().as_bytes())
    }

    /// The script of a stage for the platform of this host.
    pub fn script(&self, stage: Stage) -> Option<&Script> {
        let scripts = self.hooks.get(&stage)?;
        let here = scripts.iter().find(|script| script.platform == Platform::HERE);
        here.map(|here| &here.script)
    }

    /// The settings as a hook sees them: `CHEF_HOOK_<NAME>`, the names of nested settings joined,
    /// in upper case, and with `_` for whatever can't be in a variable's name.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        settings("CHEF_HOOK", &self.config, &mut variables);
        variables
    }

    /// The device, as a tree is built of it. Its children are added where the tree is put together.
    pub fn spec(&self) -> DeviceSpec {
        DeviceSpec {
            type_name: self.type_name.clone(),
            description: self.description.clone(),
            methods_description: self.methods_description.clone(),
            config: self.config.clone(),
            children: Vec::new(),
        }
    }

    /// As JSON in which the order of keys says nothing.
    fn canonical(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.sort_all_objects();
        value.to_string()
    }

    fn of_device(path: String, device: &Device) -> Self {
        let scripts = device.hooks.values().flatten().map(|script| &script.script);
        let files = scripts.filter_map(Script::file);
        let files = files.filter_map(|file| content(&file).map(|content| (file, content)));
        Self {
            path,
            type_name: device.type_name.clone(),
            version: device.version.clone(),
            config: device.config.clone(),
            description: device.description.clone(),
            methods_description: device.methods_description.clone(),
            hooks: device.hooks.clone(),
            files: files.collect(),
        }
    }
}

fn collect(nodes: &[(String, DriverNode)], above: &str, definitions: &mut Vec<Definition>) {
    for (name, node) in nodes {
        let path = format!("{above}{name}");
        match node {
            DriverNode::Device(device) => {
                collect(&device.children, &format!("{path}."), definitions);
                definitions.push(Definition::of_device(path, device));
            }
            DriverNode::Group(children) => collect(children, &format!("{path}."), definitions),
            DriverNode::Proxy(_) => {}
        }
    }
}

fn content(file: &Path) -> Option<String> {
    fs::read(file).ok().map(|content| sha256(&content))
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn settings(above: &str, values: &Map<String, Value>, variables: &mut BTreeMap<String, String>) {
    for (key, value) in values {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name = format!("{above}_{}", key.chars().map(fit).collect::<String>());
        let text = match value {
            Value::Object(values) => {
                settings(&name, values, variables);
                continue;
            }
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
        };
        variables.insert(name, text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POWER: &str = "jumpstarter_driver_power.driver.MockPower";

    fn read(export: &str) -> Vec<Definition> {
        let source = format!("metadata: {{namespace: default, name: bench}}\nexport:\n{export}")
            .replace("POWER", POWER);
        let environment = crate::config::Environment::default();
        let loaded = crate::config::parse(Path::new("x"), source.as_bytes(), &environment);
        Definition::all(&loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config)
    }

    fn hash(export: &str) -> String {
        let [definition] = &read(export)[..] else { panic!("{export}") };
        definition.hash()
    }

    #[test]
    fn every_device_has_a_definition_and_children_come_first() {
        let definitions = read(
            "  rack: {children: {a: {type: POWER, children: {b: {type: POWER}}}}}
  again: {ref: rack.a}
  c: {type: POWER, version: '2'}
",
        );
        let paths: Vec<_> = definitions.iter().map(|definition| &definition.path).collect();
        assert_eq!(paths, ["rack.a.b", "rack.a", "c"]);
        assert_eq!(definitions[2].version.as_deref(), Some("2"));
    }

    #[test]
    fn whatever_changes_changes_the_hash_and_order_is_nothing() {
        let base = "  a: {type: POWER, version: '1', config: {x: {y: 1, z: [2]}, w: no}}";
        let same = "  a: {config: {w: no, x: {z: [2], y: 1}}, version: '1', type: POWER}";
        assert_eq!(hash(base), hash(same));
        let others = [
            "  a: {type: POWER, config: {x: {y: 1, z: [2]}, w: no}}",
            "  a: {type: POWER, version: '2', config: {x: {y: 1, z: [2]}, w: no}}",
            "  a: {type: POWER, version: '1', config: {x: {y: 2, z: [2]}, w: no}}",
            "  a: {type: POWER, version: '1', config: {x: {y: 1, z: [2]}, w: no}, description: x}",
            "  a: {type: POWER, version: '1', config: {x: {y: 1, z: [2]}, w: no}, \
                hooks: {preUpdate: {scripts: [{targetPlatform: windows, run: x}]}}}",
            "  a: {type: POWER, version: '1', config: {x: {y: 1, z: [2]}, w: no}, \
                hooks: {preUpdate: {scripts: [{targetPlatform: windows, run: y}]}}}",
        ];
        let hashes = others.map(hash);
        for (index, other) in hashes.iter().enumerate() {
            assert_ne!(hash(base), *other);
            assert!(!hashes[..index].contains(other), "{}", others[index]);
        }
    }

    #[test]
    fn a_change_in_a_scripts_file_is_a_change() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = || {
            let run = file.path().display();
            let scripts = format!("[{{targetPlatform: linux, run: {run}}}]");
            hash(&format!("  a: {{type: POWER, hooks: {{preUpdate: {{scripts: {scripts}}}}}}}"))
        };
        let before = hash();
        assert_eq!(before, hash());
        fs::write(file.path(), "true").unwrap();
        assert_ne!(before, hash());
    }

    /// Otherwise a new version of Hilt would take every driver for a changed one.
    #[test]
    fn the_form_that_is_kept_stays_as_it_is() {
        let [definition] = &read(
            "  a: {type: POWER, version: '1', config: {b: 1, a: ~}, hooks: {preDelete: \
              {scripts: [{targetPlatform: linux, run: x}]}}}",
        )[..] else {
            panic!()
        };
        let kept = definition.to_applied();
        assert_eq!(
            kept.definition,
            json!({
                "config": {"a": null, "b": 1},
                "hooks": {"preDelete": [{
                    "platform": "linux",
                    "script": {"form": "Text", "text": "x", "timeout": {"nanos": 0, "secs": 300}},
                }]},
                "path": "a",
                "type": POWER,
                "version": "1",
            })
            .to_string()
        );
        assert_eq!(kept.hash, definition.hash());
        assert_eq!(Definition::applied(&kept).unwrap(), *definition);
    }

    #[test]
    fn the_script_is_the_one_for_this_platform() {
        let [definition] = &read(
            "  a: {type: POWER, hooks: {preInstall: {scripts: [{targetPlatform: windows, run: w}, \
              {targetPlatform: linux, run: l}]}, postInstall: {scripts: [{targetPlatform: windows, \
              run: w}]}}}",
        )[..] else {
            panic!()
        };
        assert_eq!(
            definition.script(Stage::PreInstall).map(|script| script.text.as_str()),
            Some("l")
        );
        assert_eq!(definition.script(Stage::PostInstall), None);
        assert_eq!(definition.script(Stage::PreDelete), None);
    }

    #[test]
    fn settings_are_variables() {
        let [definition] = &read(
            "  a: {type: POWER, config: {config-name.key: x, port: 3, nested: {a.b: on, none: ~, \
              list: [1, a]}, 'ü=': y}}",
        )[..] else {
            panic!()
        };
        let expected = [
            ("CHEF_HOOK_CONFIG_NAME_KEY", "x"),
            ("CHEF_HOOK_NESTED_A_B", "true"),
            ("CHEF_HOOK_NESTED_LIST", "[1,\"a\"]"),
            ("CHEF_HOOK_NESTED_NONE", ""),
            ("CHEF_HOOK_PORT", "3"),
            ("CHEF_HOOK___", "y"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(definition.settings(), expected.into());
    }
}
