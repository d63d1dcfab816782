//! A mapping while it is put together.

use std::collections::HashMap;

use super::Entry;

/// The entries of a mapping by key.
#[derive(Default)]
pub(super) struct Entries {
    list: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Entries {
    /// The entry with this key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).map(|index| &self.list[*index])
    }

    /// Adds the entry, or puts it in the place of the one with its key.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.index.get(&entry.key.text) {
            Some(index) => self.list[*index] = entry,
            None => {
                self.index.insert(entry.key.text.clone(), self.list.len());
                self.list.push(entry);
            }
        }
    }

    /// Puts these in, one after the other.
    pub(super) fn put_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| self.put(entry));
    }

    /// In the order in which their keys came up.
    pub(super) fn into_list(self) -> Vec<Entry> {
        self.list
    }
}
