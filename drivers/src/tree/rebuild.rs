//! From one tree to the next, when some of its devices have changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Child, Node, Spec, Tree, TreeError};
use crate::driver::Driver;
use crate::registry::Built;

/// A tree that takes the place of another.
#[derive(Debug)]
pub struct Rebuilt {
    /// The new tree.
    pub tree: Tree,
    /// The old tree's devices that the new one doesn't have, parents before their children. Their
    /// drivers are still to be closed.
    pub gone: Vec<Arc<Node>>,
}

impl Tree {
    /// Builds the tree that is to take this one's place, without touching a device.
    ///
    /// The devices whose paths are in `unchanged` keep their drivers, as they are, and their ids.
    /// All others are built anew.
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build).
    pub fn rebuild(
        &self,
        description: Option<String>,
        top: &[(String, Spec)],
        unchanged: &HashSet<String>,
    ) -> Result<Rebuilt, Vec<TreeError>> {
        let tree = Self::build_with(Kept::of(self, unchanged), description, top)?;
        let drivers: HashSet<_> = tree.order.iter().map(|node| address(&node.driver)).collect();
        let is_gone =
            |node: &&Arc<Node>| node.brought.is_some() && !drivers.contains(&address(&node.driver));
        let gone = self.order.iter().rev().filter(is_gone).map(Arc::clone).collect();
        Ok(Rebuilt { tree, gone })
    }
}

/// What tells a driver from all others.
fn address(driver: &Arc<dyn Driver>) -> *const () {
    Arc::as_ptr(driver).cast()
}

/// What a new tree keeps of an old one: nothing, by default.
#[derive(Default)]
pub(super) struct Kept<'k> {
    devices: HashMap<&'k str, &'k Node>,
    groups: HashMap<&'k str, &'k Node>,
}

impl<'k> Kept<'k> {
    fn of(tree: &'k Tree, unchanged: &HashSet<String>) -> Self {
        let nodes = tree.order.iter().map(|node| (node.path.as_str(), &**node));
        let (devices, groups): (HashMap<_, _>, _) =
            nodes.partition(|(_, node)| node.brought.is_some());
        let devices = devices.into_iter().filter(|(path, _)| unchanged.contains(*path)).collect();
        Self { devices, groups }
    }

    /// The device that is kept at this path.
    pub(super) fn device(&self, path: &str) -> Option<&'k Node> {
        self.devices.get(path).copied()
    }

    /// The group that was at this path.
    pub(super) fn group(&self, path: &str) -> Option<&'k Node> {
        self.groups.get(path).copied()
    }
}

impl Node {
    /// The driver, as it was built; none for a group.
    pub(super) fn built(&self) -> Option<Built> {
        let children = self.brought.clone()?;
        Some(Built { driver: Arc::clone(&self.driver), children })
    }

    /// The child of this name, unless it is a proxy.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        let (_, child) = self.children.iter().find(|(child, _)| child == name)?;
        match child {
            Child::Own(node) => Some(node),
            Child::Proxy(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::DeviceSpec;
    use super::*;

    fn device(type_name: &str, children: Vec<(String, Spec)>) -> Spec {
        let type_name = type_name.into();
        Spec::Device(DeviceSpec { type_name, children, ..DeviceSpec::default() })
    }

    fn power() -> Spec {
        device("jumpstarter_driver_power.driver.MockPower", Vec::new())
    }

    fn named<const N: usize>(nodes: [(&str, Spec); N]) -> Vec<(String, Spec)> {
        nodes.into_iter().map(|(name, spec)| (name.to_owned(), spec)).collect()
    }

    fn node<'t>(tree: &'t Tree, path: &str) -> &'t Node {
        tree.order.iter().find(|node| node.path == path).unwrap()
    }

    fn is_kept(old: &Tree, new: &Tree, path: &str) -> bool {
        let (old, new) = (node(old, path), node(new, path));
        let same_driver = Arc::ptr_eq(&old.driver, &new.driver);
        assert_eq!(old.id == new.id, same_driver || old.brought.is_none(), "{path}");
        same_driver
    }

    fn rebuild(old: &Tree, top: &[(String, Spec)], unchanged: &[&str]) -> (Tree, Vec<String>) {
        let unchanged = unchanged.iter().map(|path| (*path).to_owned()).collect();
        let Rebuilt { tree, gone } = old.rebuild(None, top, &unchanged).unwrap();
        (tree, gone.iter().map(|node| node.path.clone()).collect())
    }

    #[test]
    fn what_is_unchanged_stays_and_what_is_gone_is_named() {
        let old = Tree::build(
            None,
            &named([
                ("a", power()),
                ("rack", Spec::Group(named([("b", power()), ("c", power())]))),
            ]),
        )
        .unwrap();
        let top = named([
            ("rack", Spec::Group(named([("c", power()), ("a", power()), ("b", power())]))),
            ("again", Spec::Proxy("rack.b".into())),
        ]);
        let (new, gone) = rebuild(&old, &top, &["rack.b", "a"]);
        assert_eq!(gone, ["rack.c", "a"], "parents would come before their children");
        assert!(is_kept(&old, &new, "rack.b") && !is_kept(&old, &new, "rack.c"));
        assert_eq!(node(&old, "rack").id, node(&new, "rack").id);
        assert_eq!(node(&old, "").id, node(&new, "").id);
        assert_eq!(new.walk().last().unwrap().node.id, node(&old, "rack.b").id);
    }

    #[test]
    fn a_board_keeps_all_that_it_brings() {
        let board = |children| named([("board", device("hilt.simulated.Board", children))]);
        let old = Tree::build(None, &board(Vec::new())).unwrap();
        let paths: Vec<_> = old.order.iter().map(|node| node.path.clone()).collect();
        let brought = paths.iter().filter(|path| path.starts_with("board."));
        let (new, gone) = rebuild(&old, &board(Vec::new()), &["board"]);
        assert_eq!(gone, [""; 0]);
        assert!(brought.clone().count() > 1);
        for path in brought {
            assert!(is_kept(&old, &new, path), "{path}");
        }

        // A child of the configuration hides one of the board's, and later no longer does.
        let (hidden, gone) = rebuild(&new, &board(named([("power", power())])), &["board"]);
        assert_eq!(gone, ["board.power"]);
        assert!(!is_kept(&new, &hidden, "board.power"));
        let (shown, gone) = rebuild(&hidden, &board(Vec::new()), &["board"]);
        assert_eq!(gone, ["board.power"]);
        assert!(Arc::ptr_eq(
            &node(&old, "board.power").driver,
            &node(&shown, "board.power").driver
        ));
    }

    #[test]
    fn a_device_below_another_is_changed_alone() {
        let tree = |inner| {
            let inner = named([("inner", inner)]);
            named([("outer", device("jumpstarter_driver_power.driver.MockPower", inner))])
        };
        let old = Tree::build(None, &tree(power())).unwrap();
        let changed = device("jumpstarter_driver_network.driver.EchoNetwork", Vec::new());
        let (new, gone) = rebuild(&old, &tree(changed), &["outer"]);
        assert_eq!(gone, ["outer.inner"]);
        assert!(is_kept(&old, &new, "outer"));
    }

    #[test]
    fn mistakes_leave_the_old_tree_as_it_is() {
        let old = Tree::build(None, &named([("a", power())])).unwrap();
        let wrong = named([("a", power()), ("b", device("acme.Relay", Vec::new()))]);
        let errors = old.rebuild(None, &wrong, &HashSet::from(["a".into()])).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(old.find(node(&old, "a").id).is_some());
    }

    proptest! {
        #[test]
        fn every_driver_is_kept_or_gone(old in 0_u8..64, new in 0_u8..64, unchanged in 0_u8..64) {
            let names = |set: u8| (0..6).filter(move |bit| set & (1 << bit) != 0).map(|bit| format!("d{bit}"));
            let top = |set| names(set).map(|name| (name, power())).collect::<Vec<_>>();
            let before = Tree::build(None, &top(old)).unwrap();
            let unchanged: HashSet<_> = names(unchanged).collect();
            let Rebuilt { tree, gone } = before.rebuild(None, &top(new), &unchanged).unwrap();
            let gone: HashSet<_> = gone.iter().map(|node| node.path.clone()).collect();
            for name in names(old) {
                let is_kept = names(new).any(|other| other == name)
                    && unchanged.contains(&name)
                    && is_kept(&before, &tree, &name);
                prop_assert_ne!(is_kept, gone.contains(&name));
            }
            prop_assert_eq!(tree.order.len(), names(new).count() + 1);
        }
    }
}
