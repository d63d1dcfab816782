//! The environment that a script runs in.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::user::User;

/// Names the run that a process belongs to, in its environment and in that of all its descendants.
pub const RUN_VARIABLE: &str = "HILT_RUN";

/// Environment variables, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of `base`, changed so that programs know that nobody sits at the terminal:
    /// no colours, no prompts, no questions.
    pub fn noninteractive<K, V>(base: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = base.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut environment = Self { variables };
        environment.set("TERM", "dumb");
        environment.set("DEBIAN_FRONTEND", "noninteractive");
        environment.set("GIT_TERMINAL_PROMPT", "0");
        environment.remove("PS1");
        environment
    }

    /// Sets what a login of this user would have set.
    pub fn login(&mut self, user: &User) {
        self.set("HOME", &user.home);
        self.set("SHELL", &user.shell);
        self.set("USER", &user.name);
        self.set("LOGNAME", &user.name);
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Makes sure that a variable is not set.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.variables.remove(name.as_ref());
    }

    /// The value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sits_at_the_terminal() {
        let base = [("TERM", "xterm-256color"), ("PS1", "$ "), ("LANG", "C.UTF-8")];
        let environment = Environment::noninteractive(base);
        let variables: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            variables,
            [
                ("DEBIAN_FRONTEND", "noninteractive"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("LANG", "C.UTF-8"),
                ("TERM", "dumb"),
            ]
        );
    }
}
