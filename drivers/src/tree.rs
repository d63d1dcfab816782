//! The devices of one exporter, as a tree.

mod build;
mod rebuild;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::build::{Problem, TreeError};
pub use self::rebuild::Rebuilt;
use crate::driver::{Driver, Use};
use crate::error::{DriverError, Result};
use crate::registry::Built;

/// What a node of the tree is to be: the `export:` part of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// A device, by its `type:`.
    Device(DeviceSpec),
    /// A group without a device of its own.
    Group(Vec<(String, Self)>),
    /// Another node once more, by its dotted path from the top of the tree.
    Proxy(String),
}

/// What a device node is to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceSpec {
    /// The driver, as in [`find`](crate::registry::find).
    pub type_name: String,
    /// Help text for the device.
    pub description: Option<String>,
    /// Help texts for the client's commands.
    pub methods_description: BTreeMap<String, String>,
    /// The driver's settings.
    pub config: Map<String, Value>,
    /// Nodes below this one.
    pub children: Vec<(String, Spec)>,
}

/// The built tree.
#[derive(Debug)]
pub struct Tree {
    root: Arc<Node>,
    by_id: HashMap<Uuid, Arc<Node>>,
    /// Every node once, children before their parents, and what a node uses before it.
    order: Vec<Arc<Node>>,
}

/// One device of the tree.
#[derive(Debug)]
pub struct Node {
    /// How clients address it.
    pub id: Uuid,
    /// Its names from the top of the tree, with dots between them; empty for the root.
    pub path: String,
    /// Labels from the configuration.
    pub labels: BTreeMap<String, String>,
    /// Help text for the device.
    pub description: Option<String>,
    /// Help texts for the client's commands.
    pub methods_description: BTreeMap<String, String>,
    /// What does the work.
    pub driver: Arc<dyn Driver>,
    /// The children that the driver brings itself, whether they are in the tree or hidden by the
    /// configuration's; none for a group.
    brought: Option<Vec<(String, Built)>>,
    children: Vec<(String, Child)>,
}

#[derive(Debug)]
enum Child {
    Own(Arc<Node>),
    /// The path of the node that stands here once more. [`Tree::build`] has made sure that it leads
    /// somewhere else.
    Proxy(Vec<String>),
}

/// One line of the report: a node, as it is seen from one place of the tree.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its name there; none for the root.
    pub name: Option<&'a str>,
    /// The node above it there; none for the root.
    pub parent: Option<Uuid>,
}

impl Tree {
    /// The driver of the node with this id.
    pub fn find(&self, id: Uuid) -> Option<&Arc<Node>> {
        self.by_id.get(&id)
    }

    /// Every place of the tree, parents before their children, in the order of the configuration.
    /// A proxied subtree appears once more below its proxy, with the same ids.
    pub fn walk(&self) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        self.visit(Place { node: &self.root, name: None, parent: None }, &mut places);
        places
    }

    /// Opens every driver, those that others use before them, children before their parents. If one fails, those already open are
    /// closed again and the error names the one that failed.
    pub async fn open(&self) -> Result<(), OpenError> {
        for (index, node) in self.order.iter().enumerate() {
            if let Err(source) = self.open_node(node).await {
                for opened in self.order[..index].iter().rev() {
                    opened.driver.close().await;
                }
                return Err(OpenError { path: node.path.clone(), source });
            }
        }
        Ok(())
    }

    /// Opens every driver that can be, children before their parents. The errors name the others.
    pub async fn open_what_works(&self, which: impl Fn(&str) -> bool) -> Vec<OpenError> {
        let mut errors = Vec::new();
        for node in self.order.iter().filter(|node| which(&node.path)) {
            if let Err(source) = self.open_node(node).await {
                errors.push(OpenError { path: node.path.clone(), source });
            }
        }
        errors
    }

    /// Closes every driver, parents before their children.
    pub async fn close(&self) {
        for node in self.order.iter().rev() {
            node.driver.close().await;
        }
    }

    async fn open_node(&self, node: &Node) -> Result<()> {
        for (used, found) in self.used_by(node) {
            node.driver.adopt(used.name, Arc::clone(&found.driver));
        }
        node.driver.open().await
    }

    /// The nodes that a node uses, as far as they are there.
    fn used_by<'a>(&'a self, node: &'a Node) -> Vec<(&'static Use, &'a Arc<Node>)> {
        let found = |used: &'static Use| {
            let (_, child) = node.children.iter().find(|(name, _)| name == used.name)?;
            let node = match child {
                Child::Own(node) => node,
                Child::Proxy(path) => self.resolve(path, 0)?,
            };
            Some((used, node))
        };
        node.driver.uses().iter().filter_map(found).collect()
    }

    fn visit<'a>(&'a self, place: Place<'a>, places: &mut Vec<Place<'a>>) {
        places.push(place);
        for (name, child) in &place.node.children {
            let node = match child {
                Child::Own(node) => Some(node),
                Child::Proxy(path) => self.resolve(path, 0),
            };
            if let Some(node) = node {
                self.visit(Place { node, name: Some(name), parent: Some(place.node.id) }, places);
            }
        }
    }

    /// Follows a path from the top, through proxies where it meets them. None if it leads nowhere
    /// or `depth` shows that it only leads from proxy to proxy.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&Arc<Node>> {
        if depth > self.order.len() {
            return None;
        }
        path.iter().try_fold(&self.root, |node, name| {
            let (_, child) = node.children.iter().find(|(child, _)| child == name)?;
            match child {
                Child::Own(node) => Some(node),
                Child::Proxy(path) => self.resolve(path, depth + 1),
            }
        })
    }
}

/// A driver that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("driver {path}: {source}")]
pub struct OpenError {
    /// The driver's [`Node::path`].
    pub path: String,
    /// What it said.
    pub source: DriverError,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A tree from the shape that a configuration has.
    fn tree(export: &Value) -> Result<Tree, Vec<TreeError>> {
        fn spec(node: &Value) -> Spec {
            let children = node.get("children").map(top).unwrap_or_default();
            match (node.get("type"), node.get("ref")) {
                (Some(type_name), _) => Spec::Device(DeviceSpec {
                    type_name: type_name.as_str().unwrap().into(),
                    config: node["config"].as_object().cloned().unwrap_or_default(),
                    children,
                    ..DeviceSpec::default()
                }),
                (None, Some(target)) => Spec::Proxy(target.as_str().unwrap().into()),
                (None, None) => Spec::Group(children),
            }
        }
        fn top(nodes: &Value) -> Vec<(String, Spec)> {
            let nodes = nodes.as_object().unwrap();
            nodes.iter().map(|(name, node)| (name.clone(), spec(node))).collect()
        }
        Tree::build(None, &top(export))
    }

    fn power() -> Value {
        json!({"type": "jumpstarter_driver_power.driver.MockPower"})
    }

    fn messages(export: &Value) -> Vec<String> {
        tree(export).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_proxied_subtree_is_walked_once_more_with_the_same_ids() {
        let tree = tree(&json!({
            "again": {"ref": "board"},
            "board": {"children": {"power": power(), "switch": {"ref": "power"}}},
            "power": power(),
        }))
        .unwrap();
        let walk = tree.walk();
        let names: Vec<_> = walk.iter().map(|place| place.name.unwrap_or("")).collect();
        assert_eq!(names, ["", "again", "power", "switch", "board", "power", "switch", "power"]);
        assert_eq!(walk[1].node.id, walk[4].node.id);
        assert_eq!(walk[1].parent, Some(walk[0].node.id));
        assert_eq!(walk[2].parent, Some(walk[1].node.id));
        assert_eq!(walk[3].node.id, walk[7].node.id, "a proxy in a proxied group is followed");
        assert!(tree.find(walk[2].node.id).is_some());
    }

    #[test]
    fn proxies_that_lead_nowhere_or_to_themselves_are_refused() {
        assert_eq!(
            messages(&json!({"a": {"ref": "b.c"}, "b": {}})),
            ["a: Proxy driver a references nonexistent driver b.c"]
        );
        assert_eq!(
            messages(&json!({"a": {"ref": "b"}, "b": {"ref": "a"}})),
            [
                "a: Proxy driver a references nonexistent driver b",
                "b: Proxy driver b references nonexistent driver a"
            ]
        );
        assert_eq!(
            messages(&json!({"a": {"children": {"b": {"ref": "a"}}}})),
            ["a.b: Proxy driver b contains itself through a"]
        );
        assert_eq!(
            messages(&json!({
                "a": {"children": {"x": {"ref": "b"}}},
                "b": {"children": {"y": {"ref": "a"}}},
            }))
            .len(),
            2
        );
    }

    #[test]
    fn every_mistake_is_reported_and_none_twice() {
        assert_eq!(
            messages(&json!({
                "a": {"type": "acme.Relay"},
                "b": {"ref": "a"},
                "c": {"type": "jumpstarter_driver_power.driver.MockPower", "config": {"uuid": "x"}},
            })),
            [
                "a: Driver 'acme.Relay' is not installed. Please check exporter configuration.",
                "c: uuid 'x' is not a UUID of its own",
            ]
        );
    }

    #[test]
    fn settings_that_every_driver_has_reach_the_node() {
        let id = "5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d";
        let config = json!({"uuid": id, "labels": {"rack": "7"}, "log_level": "DEBUG"});
        let tree = tree(&json!({
            "power": {"type": "jumpstarter_driver_power.driver.MockPower", "config": config},
        }))
        .unwrap();
        let node = tree.find(Uuid::parse_str(id).unwrap()).unwrap();
        assert_eq!(node.labels["rack"], "7");
    }

    fn order(tree: &Tree) -> Vec<&str> {
        tree.order.iter().map(|node| node.path.as_str()).collect()
    }

    #[test]
    fn what_a_driver_uses_comes_before_it_even_if_it_is_elsewhere() {
        let mux = json!({"type": "jumpstarter_driver_opendal.driver.MockStorageMux"});
        let disk = |mux: &Value| {
            let config = json!({"device": "/dev/sdz"});
            json!({"type": "hilt.storage.BlockDevice", "config": config, "children": {"mux": mux}})
        };
        let tree = tree(&json!({
            "a": disk(&json!({"ref": "rack.mux"})),
            "b": disk(&mux),
            "rack": {"children": {"mux": mux}},
        }))
        .unwrap();
        assert_eq!(order(&tree), ["rack.mux", "a", "b.mux", "b", "rack", ""]);
    }

    #[test]
    fn what_a_driver_can_not_use_is_refused() {
        let disk = json!({
            "type": "hilt.storage.BlockDevice",
            "config": {"device": "/dev/sdz"},
            "children": {"mux": {"ref": "power"}},
        });
        assert_eq!(
            messages(&json!({"disk": disk, "power": power()})),
            ["disk.mux: power can't be used here: it has no method 'host'"]
        );
    }
}
