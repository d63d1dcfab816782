//! What drivers say about their settings, in words for those who write them.
//!
//! The settings are read by serde, whose messages speak of Rust's types.

use super::nearest::nearest;

/// What is wrong with a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The driver has no such setting.
    UnknownKey {
        /// What was meant, or what there is.
        hint: String,
    },
    /// The driver needs a setting that isn't there.
    Missing {
        /// The setting.
        key: String,
    },
    /// The driver can't take the value.
    Wrong {
        /// What is wrong.
        message: String,
        /// What would be right; empty if the driver didn't say.
        hint: String,
    },
}

impl Refusal {
    /// Understands the message of a [`drivers::registry::ConfigError`].
    pub(super) fn of_setting(text: &str) -> Self {
        if let Some(rest) = text.strip_prefix("unknown field `") {
            let (key, expected) = rest.split_once('`').unwrap_or((rest, ""));
            let known: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
            let hint = match nearest(key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if known.is_empty() => "this driver has no settings".to_owned(),
                None => format!("known here: {}", known.join(", ")),
            };
            return Self::UnknownKey { hint };
        }
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        if let Some(key) = missing {
            return Self::Missing { key: key.to_owned() };
        }
        match text.rsplit_once(", expected ") {
            Some((what, expected)) => {
                let what = ["invalid type: ", "invalid value: ", "unknown variant "]
                    .iter()
                    .find_map(|beginning| what.strip_prefix(beginning))
                    .map_or_else(|| what.to_owned(), |found| format!("can't be {found}"));
                Self::Wrong { message: what, hint: format!("expected {}", plain(expected)) }
            }
            None => {
                let (message, hint) = Self::of_driver(text);
                Self::Wrong { message, hint }
            }
        }
    }

    /// Splits a driver's own words where they go on to what would be right.
    pub(super) fn of_driver(text: &str) -> (String, String) {
        let (message, hint) = text.split_once("; ").unwrap_or((text, ""));
        (message.to_owned(), hint.to_owned())
    }
}

/// The range of a Rust number in words.
fn plain(expected: &str) -> String {
    let range = match expected {
        "u8" => (0, u64::from(u8::MAX)),
        "u16" => (0, u64::from(u16::MAX)),
        "u32" => (0, u64::from(u32::MAX)),
        "a nonzero u8" => (1, u64::from(u8::MAX)),
        "a nonzero u16" => (1, u64::from(u16::MAX)),
        "a nonzero u32" => (1, u64::from(u32::MAX)),
        "u64" | "usize" => return "a whole number of at least 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" => return "a whole number".to_owned(),
        "f32" | "f64" => return "a number".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from {} to {}", range.0, range.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (String, String) {
        let refusal = Refusal::of_setting(text);
        let Refusal::Wrong { message, hint } = refusal else { panic!("{refusal:?}") };
        (message, hint)
    }

    #[test]
    fn values_are_refused_in_plain_words() {
        for (text, message, hint) in [
            (
                "invalid value: integer `300`, expected u8",
                "can't be integer `300`",
                "expected a whole number from 0 to 255",
            ),
            (
                "invalid type: string \"a, expected b\", expected f64",
                "can't be string \"a, expected b\"",
                "expected a number",
            ),
            (
                "unknown variant `odd`, expected one of `none`, `even`",
                "can't be `odd`",
                "expected one of `none`, `even`",
            ),
            ("port 9 is none; use 1 to 3", "port 9 is none", "use 1 to 3"),
            ("no such hub", "no such hub", ""),
        ] {
            assert_eq!(wrong(text), (message.to_owned(), hint.to_owned()), "{text}");
        }
    }

    #[test]
    fn keys_are_told_from_values() {
        for (text, hint) in [
            ("unknown field `prot`, expected `port`", "did you mean `port`?"),
            ("unknown field `baud`, expected one of `port`, `url`", "known here: port, url"),
            ("unknown field `prot`, there are no fields", "this driver has no settings"),
        ] {
            assert_eq!(Refusal::of_setting(text), Refusal::UnknownKey { hint: hint.to_owned() });
        }
        assert_eq!(
            Refusal::of_setting("missing field `url`"),
            Refusal::Missing { key: "url".to_owned() }
        );
    }
}
