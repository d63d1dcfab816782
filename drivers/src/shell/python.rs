//! How the reference shows values in its error texts, which clients and their tests look at.

use serde_json::Value;

/// A list of strings, as Python shows it.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<_> = items.into_iter().map(string).collect();
    format!("[{}]", items.join(", "))
}

/// A string, as Python shows it: in single quotes unless only double ones save escapes.
fn string(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            other if other == quote => shown.extend(['\\', quote]),
            other if other.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(other))),
            other => shown.push(other),
        }
    }
    shown.push(quote);
    shown
}

/// The type of an argument, as Python shows it. Numbers arrive there as floating point.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<class 'NoneType'>",
        Value::Bool(_) => "<class 'bool'>",
        Value::Number(_) => "<class 'float'>",
        Value::String(_) => "<class 'str'>",
        Value::Array(_) => "<class 'list'>",
        Value::Object(_) => "<class 'dict'>",
    }
}

/// Whether Python would take it for the name of something.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|other| other == '_' || other.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_python() {
        assert_eq!(
            list(["plain", "it's", "\"it's\"", "a\\b\n\t\x1b", "größe"]),
            r#"['plain', "it's", '"it\'s"', 'a\\b\n\t\x1b', 'größe']"#
        );
        assert_eq!(list([]), "[]");
    }

    #[test]
    fn identifiers_are_names() {
        for name in ["A", "_", "a1", "größe"] {
            assert!(is_identifier(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A=B", "A B", "A\0"] {
            assert!(!is_identifier(name), "{name:?}");
        }
    }
}
