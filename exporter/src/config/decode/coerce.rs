//! What else the reference takes for a number or a boolean.

use crate::config::yaml::{Content, Meaning, Node};

/// A whole number: also one with nothing behind its point, one in quotes, and a boolean.
pub(super) fn integer(node: &Node) -> Option<i128> {
    let Content::Scalar(scalar) = &node.content else { return None };
    match scalar.meaning {
        Meaning::Integer(value) => Some(value),
        Meaning::Bool(value) => Some(value.into()),
        Meaning::Float(value) => whole(value),
        Meaning::Text => digits(scalar.text.trim()),
        Meaning::Null | Meaning::Timestamp => None,
    }
}

/// A boolean: also one of the usual words in quotes, and the numbers 0 and 1.
pub(super) fn boolean(node: &Node) -> Option<bool> {
    let Content::Scalar(scalar) = &node.content else { return None };
    match scalar.meaning {
        Meaning::Bool(value) => Some(value),
        Meaning::Integer(0) => Some(false),
        Meaning::Integer(1) => Some(true),
        Meaning::Float(0.0) => Some(false),
        Meaning::Float(1.0) => Some(true),
        Meaning::Text => match scalar.text.to_ascii_lowercase().as_str() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            _ => None,
        },
        Meaning::Integer(_) | Meaning::Float(_) | Meaning::Null | Meaning::Timestamp => None,
    }
}

/// A double without a fraction, as far as doubles are exact (2^53).
fn whole(value: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i128)
}

/// `60`, `+60`, `1_000`, `60.0`.
fn digits(text: &str) -> Option<i128> {
    let number = match text.split_once('.') {
        Some((number, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => number,
        Some(_) => return None,
        None => text,
    };
    let body = number.strip_prefix(['+', '-']).unwrap_or(number);
    let grouped =
        body.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if grouped { number.replace('_', "").parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::compose;

    fn node(source: &str) -> Node {
        compose(source, &mut Vec::new()).unwrap().unwrap()
    }

    /// What `pydantic.TypeAdapter(int)` made of these.
    #[test]
    fn numbers_are_those_of_the_reference() {
        for (source, expected) in [
            ("60", Some(60)),
            ("-3", Some(-3)),
            ("on", Some(1)),
            ("1.0", Some(1)),
            ("1.5", None),
            (".nan", None),
            ("'60'", Some(60)),
            ("' 60 '", Some(60)),
            ("'60.0'", Some(60)),
            ("'60.'", None),
            ("'.0'", None),
            ("'60.5'", None),
            ("'+60'", Some(60)),
            ("'+ 60'", None),
            ("'00060'", Some(60)),
            ("'1_000'", Some(1000)),
            ("'1_0.0'", Some(10)),
            ("'1__0'", None),
            ("'60_'", None),
            ("'0x10'", None),
            ("'6e1'", None),
            ("'٣'", None),
            ("''", None),
            ("soon", None),
            ("~", None),
            ("2024-01-01", None),
            ("[]", None),
        ] {
            assert_eq!(integer(&node(source)), expected, "{source}");
        }
    }

    /// What `pydantic.TypeAdapter(bool)` made of these.
    #[test]
    fn booleans_are_those_of_the_reference() {
        for (source, expected) in [
            ("off", Some(false)),
            ("1", Some(true)),
            ("0", Some(false)),
            ("2", None),
            ("1.0", Some(true)),
            ("0.0", Some(false)),
            ("0.5", None),
            ("'tRuE'", Some(true)),
            ("y", Some(true)),
            ("'f'", Some(false)),
            ("'0'", Some(false)),
            ("'1.0'", None),
            ("' true'", None),
            ("''", None),
            ("~", None),
            ("{}", None),
        ] {
            assert_eq!(boolean(&node(source)), expected, "{source}");
        }
    }
}
