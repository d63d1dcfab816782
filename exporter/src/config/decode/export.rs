//! `export`: the tree of devices.
//!
//! A node is what its keys make it: `type` a device, else `children` a group, else `ref` a proxy.
//! The reference tries the three shapes one after the other and so makes an empty group of a device
//! with any mistake in it; here that is the mistake.

use super::item::Item;
use super::section::Section;
use super::{optional_text, stages, unless_null};
use crate::config::export::{Device, DriverNode};

/// Keys of which only a device has a use.
const DEVICE_KEYS: [&str; 5] = ["description", "methods_description", "config", "version", "hooks"];

/// Reads a mapping from names to nodes: `export` or `children`.
pub(super) fn nodes(item: &Item<'_>) -> Vec<(String, DriverNode)> {
    item.named().into_iter().map(|(name, item)| (name, node(&item))).collect()
}

fn node(item: &Item<'_>) -> DriverNode {
    let node = item.section(|keys| {
        let [type_name, children, target] = ["type", "children", "ref"].map(|key| keys.get(key));
        if let Some(type_name) = type_name {
            keys.ignore("ref", "is ignored beside `type`", "keep one of the two");
            return DriverNode::Device(Box::new(device(keys, &type_name)));
        }
        for key in DEVICE_KEYS {
            keys.ignore(key, "is ignored without `type`", "give the node a `type`, or remove it");
        }
        if let Some(children) = children {
            keys.ignore("ref", "is ignored beside `children`", "keep one of the two");
            DriverNode::Group(nodes(&children))
        } else if let Some(target) = target {
            DriverNode::Proxy(target.text().unwrap_or_default())
        } else {
            let message = "has none of `type`, `children` and `ref`, which makes it an empty group";
            item.warning(message, "give it a `type`");
            DriverNode::Group(Vec::new())
        }
    });
    node.unwrap_or(DriverNode::Group(Vec::new()))
}

fn device(keys: &mut Section<'_>, type_name: &Item<'_>) -> Device {
    Device {
        type_name: type_name.text().unwrap_or_default(),
        description: optional_text(keys, "description"),
        methods_description: keys
            .get("methods_description")
            .map(|item| item.texts())
            .unwrap_or_default(),
        config: keys
            .get("config")
            .map(|item| item.named().into_iter().map(|(key, item)| (key, item.json())).collect())
            .unwrap_or_default(),
        children: keys.get("children").map(|item| nodes(&item)).unwrap_or_default(),
        version: optional_text(keys, "version"),
        hooks: unless_null(keys, "hooks").map(|item| stages::hooks(&item)).unwrap_or_default(),
    }
}
