//! Which drivers are in use, and which are on their way.

use super::super::changes::Change;
use super::super::shape::{Definitions, Nodes};
use crate::store::DoneStage;

/// The drivers of one exporter, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// In use, by path.
    pub(super) definitions: Definitions,
    /// Drivers that are in the tree from the start, so that clients know of them, but are still to
    /// be installed.
    pub(super) expected: Definitions,
    /// The hooks that need not be run again, of changes that a crash has cut off.
    pub(super) done: Vec<DoneStage>,
    /// What the tree was last built of, and its description.
    pub(super) shape: Nodes,
    pub(super) description: Option<String>,
}

impl InUse {
    /// Notes what of this is still to be installed.
    pub(super) fn expect(&mut self, wanted: Definitions) {
        self.expected = wanted;
        self.expected.retain(|path, _| !self.definitions.contains_key(path));
    }

    /// Notes that a change is made.
    pub(super) fn settle(&mut self, change: &Change) {
        let definition = change.definition();
        self.expected.remove(&definition.path);
        match change {
            Change::Install(_) | Change::Update(_) => {
                self.definitions.insert(definition.path.clone(), definition.clone());
            }
            Change::Delete(_) => drop(self.definitions.remove(&definition.path)),
        }
    }

    /// Whether the device at this path is in use; what a driver brings itself is if the driver is.
    pub(super) fn is_installed(&self, path: &str) -> bool {
        let above = path.match_indices('.').map(|(end, _)| &path[..end]);
        let nearest = above
            .chain([path])
            .rev()
            .find(|path| self.definitions.contains_key(*path) || self.expected.contains_key(*path));
        nearest.is_none_or(|path| self.definitions.contains_key(path))
    }

    pub(super) fn in_tree(&self) -> Definitions {
        let mut all = self.expected.clone();
        all.extend(self.definitions.clone());
        all
    }
}
