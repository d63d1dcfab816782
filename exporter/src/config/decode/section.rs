//! Mappings whose keys are known.

use super::item::Item;
use crate::config::mistake::Severity;
use crate::config::nearest::nearest;

/// A mapping of which single keys are read.
pub(super) struct Section<'a> {
    pub(super) item: Item<'a>,
    known: Vec<&'static str>,
}

impl<'a> Item<'a> {
    /// A mapping of known keys. Those that `read` doesn't ask for are noted as ignored.
    pub(super) fn section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> Option<T> {
        self.read_section(Severity::IgnoredKey, read)
    }

    /// A mapping of known keys; others are errors.
    pub(super) fn closed_section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> Option<T> {
        self.read_section(Severity::Error, read)
    }

    fn read_section<T>(
        &self,
        unknown: Severity,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> Option<T> {
        self.mapping()?;
        let mut section = Section { item: self.clone(), known: Vec::new() };
        let value = read(&mut section);
        section.note_unknown_keys(unknown);
        Some(value)
    }
}

impl<'a> Section<'a> {
    /// The value of this key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.item.find(key)
    }

    /// The value of a key with another spelling, which only counts where the first isn't there.
    pub(super) fn get_either(
        &mut self,
        key: &'static str,
        alias: &'static str,
    ) -> Option<Item<'a>> {
        let (item, other) = (self.get(key), self.item.find(alias));
        let Some(other) = other else { return item };
        // Only where it is used: suggestions for unknown keys stick to the first spelling.
        self.known.push(alias);
        if item.is_some() {
            other.ignored(format!("is ignored beside `{key}`"), "keep one of the two");
            return item;
        }
        Some(other)
    }

    /// The value of a key that has to be there; `hint` says how to add it.
    pub(super) fn required(&mut self, key: &'static str, hint: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.missing(key, hint);
        }
        item
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        self.item.descend([key]).error("is missing", hint);
    }

    /// Notes a known key as ignored, if it is there.
    pub(super) fn ignore(&mut self, key: &'static str, message: &str, hint: &str) {
        if let Some(item) = self.get(key) {
            item.ignored(message, hint);
        }
    }

    fn note_unknown_keys(&self, severity: Severity) {
        for entry in self.item.node.entries().unwrap_or_default() {
            let key = entry.key.text.as_str();
            if self.known.contains(&key) {
                continue;
            }
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let item = self.item.below(entry);
            item.note(item.key, severity, "unknown key", hint);
        }
    }
}
