//! YAML as PyYAML's safe loader reads it, with the position of everything.
//!
//! The parser of the YAML crate gives events; [`mod@compose`] makes a tree of [`Node`]s of them, and
//! [`scalar`] says what an unquoted word means. The rules are those of YAML 1.1 as the reference
//! implements them, so that a file means the same to both: `on` is a boolean, `010` is eight. Only
//! the parser's idea of syntax is that of YAML 1.2: quoted text can't go on at the margin, and the
//! Unicode line separators are no line breaks.

mod compose;
mod entries;
mod scalar;
mod syntax;

use super::mistake::Position;

pub(super) use self::compose::compose;
pub(super) use self::scalar::{Meaning, Scalar};

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// In the order of the file, every key once.
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Where the key is.
    pub(super) position: Position,
    pub(super) key: Scalar,
    pub(super) value: Node,
}

impl Node {
    /// The entries, if it is a mapping.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            Content::Scalar(_) | Content::Sequence(_) => None,
        }
    }

    /// The entry with this key, if it is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key.text == key)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.meaning == Meaning::Null)
    }

    /// What it is, for "must be text, but is ...".
    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Scalar(scalar) => scalar.kind(),
        }
    }
}
