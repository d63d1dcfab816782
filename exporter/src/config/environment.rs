//! The environment variables of a process, as a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Environment variables. Handed on instead of read where they are needed, so that tests bring
/// their own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of this process. A missing `HOME` is looked up, because system services run
    /// without one.
    pub fn of_process() -> Self {
        let mut variables: BTreeMap<_, _> = std::env::vars_os().collect();
        if let Some(home) = std::env::home_dir() {
            variables.entry("HOME".into()).or_insert(home.into());
        }
        Self { variables }
    }

    /// The value of this variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of this variable in any casing of its name, preferably the one given. Values that
    /// are no Unicode don't count.
    pub fn get_in_any_case(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str).or_else(|| {
            self.variables
                .iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .find_map(|(_, value)| value.to_str())
        })
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self { variables: variables.map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// Only the names: values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_but_the_exact_one_first() {
        let environment = Environment::from_iter([("jmp_name", "a"), ("JMP_NAMESPACE", "b")]);
        assert_eq!(environment.get_in_any_case("JMP_NAME"), Some("a"));
        assert_eq!(environment.get_in_any_case("JMP_NAMESPACE"), Some("b"));
        assert_eq!(environment.get("JMP_NAME"), None);
        let both = Environment::from_iter([("JMP_name", "a"), ("JMP_NAME", "b")]);
        assert_eq!(both.get_in_any_case("JMP_NAME"), Some("b"));
    }

    #[test]
    fn values_are_not_printed() {
        let environment = Environment::from_iter([("TOKEN", "hush")]);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
    }
}
