//! A value of the file, with where it is and what was found wrong with it.

use super::Findings;
use crate::config::mistake::{Mistake, Position, Severity};
use crate::config::yaml::{Content, Entry, Node};

/// A value of the file with the keys that lead to it.
#[derive(Clone)]
pub(in crate::config) struct Item<'a> {
    pub(in crate::config) node: &'a Node,
    /// Where its key is; where it is itself, if it has none.
    pub(super) key: Position,
    pub(in crate::config) path: String,
    pub(in crate::config) findings: &'a Findings<'a>,
}

impl<'a> Item<'a> {
    /// The top of a file.
    pub(in crate::config) fn top(node: &'a Node, findings: &'a Findings<'a>) -> Self {
        Self { node, key: node.position, path: String::new(), findings }
    }

    pub(super) fn below(&self, entry: &'a Entry) -> Self {
        let path = joined(&self.path, &entry.key.text);
        Self { node: &entry.value, key: entry.position, path, findings: self.findings }
    }

    pub(super) fn at(&self, index: usize, node: &'a Node) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { node, key: node.position, path, findings: self.findings }
    }

    /// The value of this key, or the item of this index. Notes nothing.
    pub(in crate::config) fn find(&self, step: &str) -> Option<Self> {
        match &self.node.content {
            Content::Mapping(_) => self.node.entry(step).map(|entry| self.below(entry)),
            Content::Sequence(items) => {
                let index = step.parse().ok()?;
                items.get(index).map(|node| self.at(index, node))
            }
            Content::Scalar(_) => None,
        }
    }

    /// What these keys and indices lead to. Where one isn't there, the path goes on and the place
    /// stays.
    pub(in crate::config) fn descend<'k>(&self, steps: impl IntoIterator<Item = &'k str>) -> Self {
        let mut item = self.clone();
        let mut is_there = true;
        for step in steps {
            match item.find(step).filter(|_| is_there) {
                Some(next) => item = next,
                None => {
                    is_there = false;
                    item.path = joined(&item.path, step);
                }
            }
        }
        item
    }

    /// Whether it is this text.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(&self.node.content, Content::Scalar(scalar) if scalar.text == text)
    }

    /// Notes a mistake in the value.
    pub(in crate::config) fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.node.position, Severity::Error, message, hint);
    }

    /// Notes a mistake in the key.
    pub(in crate::config) fn key_error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.key, Severity::Error, message, hint);
    }

    /// Notes that the value is probably not what was meant.
    pub(in crate::config) fn warning(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.node.position, Severity::Warning, message, hint);
    }

    /// Notes that others can change what this leads to.
    pub(in crate::config) fn exposed(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.node.position, Severity::Exposed, message, hint);
    }

    /// Notes that it is probably not what was meant to have this key.
    pub(super) fn key_warning(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.key, Severity::Warning, message, hint);
    }

    /// Notes that nobody reads this.
    pub(super) fn ignored(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.note(self.key, Severity::IgnoredKey, message, hint);
    }

    pub(super) fn note(
        &self,
        position: Position,
        severity: Severity,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.note(Mistake {
            position,
            path: self.path.clone(),
            severity,
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }
}

/// A key that would look like two, or like none, stands in quotes.
fn joined(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || c == '.');
    let key = if is_plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
