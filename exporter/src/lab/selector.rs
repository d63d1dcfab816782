//! Label selectors: which exporters a lease may have, and which things a list is to show.
//!
//! The grammar is that of Kubernetes, with commas for *and*:
//!
//! | term | holds if |
//! |---|---|
//! | `key=value`, `key==value` | the label has this value |
//! | `key!=value` | it does not have this value, or is not there |
//! | `key in (a,b)` | it has one of these values |
//! | `key notin (a,b)` | it has none of these values, or is not there |
//! | `key`, `!key` | it is there, or is not |
//!
//! No crate of its own has it; those that do bring a client of Kubernetes along.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Labels, or anything else that selectors are matched with.
pub type Labels = BTreeMap<String, String>;

/// Which labels are wanted. The empty selector wants nothing and matches everything.
///
/// As text it is in a canonical form: terms by their keys, values sorted, `!=` as `notin`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    terms: Vec<Term>,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Equals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It does not follow the grammar.
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    /// Nothing could ever match.
    #[error(
        "invalid selector: label {key} cannot have multiple equality requirements with different \
         values ({one} and {other})"
    )]
    Conflict {
        /// The label.
        key: String,
        /// A value that it must have.
        one: String,
        /// Another one.
        other: String,
    },
    /// An operator that the grammar knows, but that means nothing here.
    #[error("unsupported label selector operator: {0}")]
    Operator(char),
}

impl Selector {
    /// Whether it wants nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all of its terms hold.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.terms.iter().all(|term| term.holds(labels.get(&term.key)))
    }

    /// The labels that it wants with one value each.
    pub fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.terms.iter().filter_map(|term| match &term.test {
            Test::Equals(value) => Some((&*term.key, &**value)),
            Test::In(_) | Test::NotIn(_) | Test::Exists | Test::Absent => None,
        })
    }

    /// The same, with something in front of every key.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        let prefixed = |term: Term| Term { key: format!("{prefix}{}", term.key), ..term };
        Self { terms: self.terms.into_iter().map(prefixed).collect() }
    }

    /// Whether both match.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { terms: self.terms.into_iter().chain(other.terms).collect() }
    }

    /// Makes it canonical.
    fn of(terms: Vec<Term>) -> Result<Self, SelectorError> {
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        let mut unwanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut canonical = BTreeSet::new();
        for Term { key, test } in terms {
            match test {
                Test::Equals(value) => match wanted.get(&key) {
                    Some(one) if *one != value => {
                        return Err(SelectorError::Conflict {
                            key,
                            one: one.clone(),
                            other: value,
                        });
                    }
                    Some(_) | None => drop(wanted.insert(key, value)),
                },
                Test::NotIn(values) if values.len() == 1 => {
                    unwanted.entry(key).or_default().extend(values);
                }
                Test::NotIn(_) | Test::In(_) | Test::Exists | Test::Absent => {
                    canonical.insert(Term { key, test });
                }
            }
        }
        let equals = |(key, value)| Term { key, test: Test::Equals(value) };
        let differs = |(key, values)| Term { key, test: Test::NotIn(values) };
        canonical.extend(wanted.into_iter().map(equals));
        canonical.extend(unwanted.into_iter().map(differs));
        Ok(Self { terms: canonical.into_iter().collect() })
    }
}

impl Term {
    fn holds(&self, value: Option<&String>) -> bool {
        match &self.test {
            Test::Equals(wanted) => value == Some(wanted),
            Test::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            Test::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.terms.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            write!(f, "{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        let key = &self.key;
        match &self.test {
            Test::Equals(value) => write!(f, "{key}={value}"),
            Test::In(values) => write!(f, "{key} in ({})", list(values)),
            Test::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Test::Exists => f.write_str(key),
            Test::Absent => write!(f, "!{key}"),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn every_operator_means_what_it_does_in_kubernetes() {
        let here = labels(&[("board", "rpi5"), ("site", ""), ("in", "x")]);
        for (text, matches) in [
            ("", true),
            ("board=rpi5", true),
            ("board==rpi5", true),
            ("board=rpi4", false),
            ("absent=rpi5", false),
            ("board!=rpi4", true),
            ("board!=rpi5", false),
            ("absent!=x", true),
            ("board in (rpi4, rpi5)", true),
            ("board in (rpi4)", false),
            ("absent in (x)", false),
            ("board notin (rpi4,rpi5)", false),
            ("absent notin (x)", true),
            ("board", true),
            ("absent", false),
            ("!board", false),
            ("!absent", true),
            ("site=", true),
            ("site in (,a)", true),
            ("in=x, in in (x)", true),
            (" board = rpi5 , !absent ", true),
            ("board=rpi5,absent", false),
        ] {
            assert_eq!(selector(text).matches(&here), matches, "{text}");
        }
    }

    #[test]
    fn the_text_is_canonical() {
        for (text, canonical) in [
            ("", ""),
            ("b==2,a=1", "a=1,b=2"),
            ("a=1,a=1", "a=1"),
            ("a!=2,a!=1", "a notin (1,2)"),
            ("a notin (2)", "a notin (2)"),
            ("x in (c, a,b)", "x in (a,b,c)"),
            ("!a,b,jumpstarter.dev/name=x", "!a,b,jumpstarter.dev/name=x"),
        ] {
            assert_eq!(selector(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_said_to_be_none() {
        let refused = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert_eq!(
            refused("a=1,a=2"),
            "invalid selector: label a cannot have multiple equality requirements with different \
             values (1 and 2)"
        );
        assert_eq!(refused("a>1"), "unsupported label selector operator: >");
        for bad in [
            ",",
            "a,",
            "=a",
            "a=b=c",
            "a in",
            "a in b",
            "a in (b",
            "a in ()x",
            "a b",
            "!a=b",
            "!",
            "a=b c",
            "(",
            "a=-",
            "A/b/c",
            "a\u{0}",
            "a notin (b) c",
        ] {
            let message = refused(bad);
            assert!(message.starts_with("unable to parse requirement: "), "{bad}: {message}");
        }
        assert!(refused(&"x".repeat(1 << 20)).len() < 400);
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_stumble(text in "[a-c=!,() <\\n]{0,24}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
            }
        }
    }
}
