//! Reading values as what they are meant to be.
//!
//! A reader that finds a mistake notes it and returns none, and its caller goes on with a default:
//! nobody gets to see a configuration of which a part is wrong.

use serde_json::{Number, Value};

use super::coerce;
use super::item::Item;
use crate::config::yaml::{Content, Entry, Meaning, Scalar};

impl<'a> Item<'a> {
    /// A mapping whose keys are names that the author chose.
    pub(super) fn named(&self) -> Vec<(String, Self)> {
        let mut named = Vec::new();
        for entry in self.mapping().unwrap_or_default() {
            match entry.key.meaning {
                // YAML takes an unquoted `on` for a boolean, but a name is what was meant.
                Meaning::Text | Meaning::Bool(_) => {
                    named.push((entry.key.text.clone(), self.below(entry)));
                }
                Meaning::Null | Meaning::Integer(_) | Meaning::Float(_) | Meaning::Timestamp => {
                    let message = format!("a key must be text, but is {}", entry.key.kind());
                    self.below(entry).key_error(message, "write it in quotes");
                }
            }
        }
        named
    }

    /// A mapping, whatever its keys.
    pub(super) fn mapping(&self) -> Option<&'a [Entry]> {
        let entries = self.node.entries();
        if entries.is_none() {
            let message = format!("must be a mapping, but is {}", self.node.kind());
            self.error(message, "write its keys below it, or `{}` for none");
        }
        entries
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.content, Content::Sequence(_))
    }

    /// A list.
    pub(super) fn list(&self) -> Vec<Self> {
        match &self.node.content {
            Content::Sequence(items) => {
                items.iter().enumerate().map(|(index, node)| self.at(index, node)).collect()
            }
            Content::Scalar(_) | Content::Mapping(_) => {
                let message = format!("must be a list, but is {}", self.node.kind());
                self.error(message, "put each item on a line of its own, after `- `");
                Vec::new()
            }
        }
    }

    /// Whether quotes would make a text of it.
    pub(in crate::config) fn lacks_quotes(&self) -> bool {
        match &self.node.content {
            Content::Scalar(scalar) => !matches!(scalar.meaning, Meaning::Text | Meaning::Null),
            Content::Sequence(_) | Content::Mapping(_) => false,
        }
    }

    /// A text.
    pub(in crate::config) fn text(&self) -> Option<String> {
        // The value isn't quoted in the message: it may be a token.
        let hint = match &self.node.content {
            Content::Scalar(Scalar { meaning: Meaning::Text, text }) => return Some(text.clone()),
            Content::Scalar(Scalar { meaning: Meaning::Null, .. }) => "give it a value",
            Content::Scalar(_) => "write it in quotes",
            Content::Sequence(_) | Content::Mapping(_) => "write it as one text",
        };
        self.error(format!("must be text, but is {}", self.node.kind()), hint);
        None
    }

    /// A text, or null for none.
    pub(super) fn optional_text(&self) -> Option<String> {
        if self.is_null() { None } else { self.text() }
    }

    /// A name with a text for each.
    pub(super) fn texts<C: FromIterator<(String, String)>>(&self) -> C {
        self.named().into_iter().filter_map(|(name, item)| Some((name, item.text()?))).collect()
    }

    /// A boolean.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = coerce::boolean(self.node);
        if value.is_none() {
            self.error(
                format!("must be a boolean, but is {}", self.shown()),
                "write true or false",
            );
        }
        value
    }

    /// A whole number, clamped to its type.
    pub(super) fn integer(&self, example: i64) -> Option<i64> {
        let value = coerce::integer(self.node);
        if value.is_none() {
            let message = format!("must be a whole number, but is {}", self.shown());
            self.error(message, format!("write a number such as {example}"));
        }
        value.map(|value| {
            i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
        })
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        if let Content::Scalar(Scalar { text, .. }) = &self.node.content
            && let Some((_, value)) = choices.iter().find(|(word, _)| word == text)
        {
            return Some(*value);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let hint = match words.split_last() {
            Some((last, [])) => format!("write {last}"),
            Some((last, others)) => format!("write {} or {last}", others.join(", ")),
            None => String::new(),
        };
        self.error(format!("can't be {}", self.shown()), hint);
        None
    }

    /// A word in backquotes, or what else it is.
    pub(super) fn shown(&self) -> String {
        match &self.node.content {
            Content::Scalar(scalar) if scalar.meaning != Meaning::Null => {
                format!("`{}`", scalar.text)
            }
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => {
                self.node.kind().into()
            }
        }
    }

    /// Whatever it is, as the drivers take it. Keys become text as they are written, and so do
    /// dates.
    pub(super) fn json(&self) -> Value {
        match &self.node.content {
            Content::Scalar(scalar) => match scalar.meaning {
                Meaning::Null => Value::Null,
                Meaning::Bool(value) => Value::Bool(value),
                Meaning::Integer(value) => match Number::from_i128(value) {
                    Some(number) => Value::Number(number),
                    None => self.no_number("is more than 64 bits can hold", "use a smaller number"),
                },
                Meaning::Float(value) => match Number::from_f64(value) {
                    Some(number) => Value::Number(number),
                    None => self.no_number("is no finite number", "use a finite number"),
                },
                Meaning::Timestamp | Meaning::Text => Value::String(scalar.text.clone()),
            },
            Content::Sequence(_) => self.list().iter().map(Self::json).collect(),
            Content::Mapping(entries) => entries
                .iter()
                .map(|entry| (entry.key.text.clone(), self.below(entry).json()))
                .collect(),
        }
    }

    fn no_number(&self, message: &str, hint: &str) -> Value {
        self.error(message, format!("{hint}, or write it in quotes"));
        Value::Null
    }
}
