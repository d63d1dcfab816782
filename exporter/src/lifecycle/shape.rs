//! The tree of the drivers in use, while they are not all what the configuration wants.
//!
//! The configuration gives the tree its shape, and the definitions in use fill it: what is wanted
//! but not in use leaves at most a group behind, and what is in use but no longer wanted keeps its
//! place.

use std::collections::BTreeMap;

use drivers::tree::{DeviceSpec, Problem, Spec, TreeError};

use super::definition::Definition;
use crate::config::DriverNode;

/// The definitions in use, by path.
pub(super) type Definitions = BTreeMap<String, Definition>;

/// The nodes of the tree, from the top.
pub(super) type Nodes = Vec<(String, Spec)>;

/// What a tree is to be in which just these drivers are in use.
pub(super) fn of(export: &[(String, DriverNode)], in_use: &Definitions) -> Nodes {
    let mut left = in_use.iter().map(|(path, definition)| (path.as_str(), definition)).collect();
    let mut nodes = wanted(export, "", &mut left);
    // A parent comes before its children, as its path is the shorter one.
    for (path, definition) in left {
        put(&mut nodes, path, definition.spec());
    }
    nodes
}

/// The configuration's nodes that are in use, taken out of those that are `left`.
fn wanted(
    export: &[(String, DriverNode)],
    above: &str,
    left: &mut BTreeMap<&str, &Definition>,
) -> Nodes {
    let mut nodes = Vec::new();
    for (name, node) in export {
        let path = format!("{above}{name}");
        let below = format!("{path}.");
        let spec = match node {
            DriverNode::Device(device) => {
                let children = wanted(&device.children, &below, left);
                match left.remove(path.as_str()) {
                    Some(definition) => Spec::Device(DeviceSpec { children, ..definition.spec() }),
                    None if children.is_empty() => continue,
                    None => Spec::Group(children),
                }
            }
            DriverNode::Group(children) => Spec::Group(wanted(children, &below, left)),
            DriverNode::Proxy(target) => Spec::Proxy(target.clone()),
        };
        nodes.push((name.clone(), spec));
    }
    nodes
}

/// Puts a device where its path says, with groups on the way where nothing is there yet.
fn put(nodes: &mut Nodes, path: &str, device: DeviceSpec) {
    let (name, below) =
        path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let index = nodes.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
        nodes.push((name.to_owned(), Spec::Group(Vec::new())));
        nodes.len() - 1
    });
    let node = &mut nodes[index].1;
    if let Spec::Proxy(_) = node {
        *node = Spec::Group(Vec::new());
    }
    match (below, node) {
        (Some(below), Spec::Group(children) | Spec::Device(DeviceSpec { children, .. })) => {
            put(children, below, device);
        }
        (None, node) => {
            let children = match node {
                Spec::Group(children) | Spec::Device(DeviceSpec { children, .. }) => {
                    std::mem::take(children)
                }
                Spec::Proxy(_) => Vec::new(),
            };
            *node = Spec::Device(DeviceSpec { children, ..device });
        }
        (Some(_), Spec::Proxy(_)) => {}
    }
}

/// Takes the proxies out that only lead nowhere because the driver there is not in use. False if
/// there is none.
pub(super) fn without_dangling(nodes: &mut Nodes, errors: &[TreeError]) -> bool {
    let mut removed = false;
    for error in errors {
        if let Problem::DanglingProxy { .. } = error.problem {
            removed |= remove(nodes, &error.path);
        }
    }
    removed
}

fn remove(nodes: &mut Nodes, path: &[String]) -> bool {
    let Some((name, below)) = path.split_first() else { return false };
    let Some(index) = nodes.iter().position(|(other, _)| other == name) else { return false };
    match &mut nodes[index].1 {
        Spec::Group(children) | Spec::Device(DeviceSpec { children, .. }) if !below.is_empty() => {
            remove(children, below)
        }
        Spec::Proxy(_) if below.is_empty() => {
            nodes.remove(index);
            true
        }
        Spec::Group(_) | Spec::Device(_) | Spec::Proxy(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::config;

    /// A tree in one line.
    fn shown(nodes: &Nodes) -> String {
        let shown = nodes.iter().map(|(name, spec)| match spec {
            Spec::Device(DeviceSpec { children, .. }) if children.is_empty() => format!("{name}!"),
            Spec::Device(DeviceSpec { children, .. }) => format!("{name}!({})", shown(children)),
            Spec::Group(children) => format!("{name}({})", shown(children)),
            Spec::Proxy(target) => format!("{name}={target}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    fn shape(export: &str, in_use: &str) -> String {
        let definition = |path: &str| {
            let json = serde_json::json!({"path": path, "type": "acme.Relay"});
            (path.to_owned(), serde_json::from_value(json).unwrap())
        };
        let export = export.replace("POWER", "{type: jumpstarter_driver_power.driver.MockPower}");
        let export = config(&format!("export: {export}")).export;
        shown(&of(&export, &in_use.split_whitespace().map(definition).collect()))
    }

    #[test]
    fn the_configuration_gives_the_shape() {
        let export = "{p: {ref: b}, g: {children: {a: POWER}}, b: POWER}";
        assert_eq!(shape(export, "g.a b"), "p=b g(a!) b!");
        assert_eq!(shape(export, "b"), "p=b g() b!");
    }

    #[test]
    fn what_is_not_in_use_leaves_a_group_for_its_children() {
        let power = "jumpstarter_driver_power.driver.MockPower";
        let export = format!("{{a: {{type: {power}, children: {{b: POWER}}}}}}");
        assert_eq!(shape(&export, "a a.b"), "a!(b!)");
        assert_eq!(shape(&export, "a"), "a!");
        assert_eq!(shape(&export, "a.b"), "a(b!)");
        assert_eq!(shape(&export, ""), "");
    }

    #[test]
    fn what_is_still_in_use_keeps_its_place() {
        assert_eq!(shape("{a: POWER}", "a x x.y z.y"), "a! x!(y!) z(y!)");
        assert_eq!(shape("{a: {children: {b: POWER}}}", "a a.b"), "a!(b!)");
        assert_eq!(shape("{b: POWER, a: {ref: b}}", "a b"), "b! a!");
        assert_eq!(shape("{b: POWER, a: {ref: b}}", "a.c b"), "b! a(c!)");
    }

    #[test]
    fn a_proxy_of_what_is_not_in_use_is_taken_out() {
        let export = "{g: {children: {p: {ref: b}}}, b: POWER, q: {ref: g.p}}";
        let export = export.replace("POWER", "{type: jumpstarter_driver_power.driver.MockPower}");
        let config = config(&format!("export: {export}"));
        let mut nodes = of(&config.export, &Definitions::new());
        while let Err(errors) = drivers::Tree::build(None, &nodes) {
            assert!(without_dangling(&mut nodes, &errors));
        }
        assert_eq!(shown(&nodes), "g()");
    }
}
