//! The `hooks:` of a configuration: scripts around the life of a lease and of the exporter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `hooks`. Each is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// `beforeLease`: between the assignment of a lease and its client.
    pub before_lease: Option<LeaseHook>,
    /// `afterLease`: between a client and the end of its lease.
    pub after_lease: Option<AfterLeaseHook>,
    /// `lifecycle`: in the exporter's own life, in the order written.
    pub lifecycle: Vec<LifecycleHook>,
    /// `repair`: tries to bring a quarantined bench back.
    pub repair: Option<RepairHook>,
    /// `quarantineAfter`: how many leases in a row may fail before the bench is taken out of
    /// service; 0 for any number. Default: 5.
    pub quarantine_after: u32,
}

impl Hooks {
    /// Every script, of whichever hook.
    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        let before = self.before_lease.iter().map(|hook| &hook.script);
        let after = self.after_lease.iter().map(|after| &after.hook.script);
        let lifecycle = self.lifecycle.iter().map(|hook| &hook.script);
        let repair = self.repair.iter().map(|repair| &repair.script);
        before.chain(after).chain(lifecycle).chain(repair)
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            before_lease: None,
            after_lease: None,
            lifecycle: Vec::new(),
            repair: None,
            quarantine_after: 5,
        }
    }
}

/// Something to run. Its serialised form is kept with the drivers that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Script {
    /// `script` or `run`: what to run. Blank: nothing is run, successfully.
    pub text: String,
    /// How the text is to be taken.
    pub form: Form,
    /// `exec`: the interpreter. Default: see [`Form`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<String>,
    /// `timeout`: the longest it may take, in seconds. Nought lets it take no time at all.
    pub timeout: Duration,
    /// `env`: the variables that it starts with.
    #[serde(skip_serializing_if = "is_default")]
    pub env: Env,
    /// `user`: whose rights it has. Default: the exporter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `workdir`: the directory that it runs in, an absolute path. Default: the exporter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<PathBuf>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Script {
    /// The file that the script is: one line that names one. Its path is absolute.
    ///
    /// What is always text may be the path of a program all the same, which then is the script.
    pub fn file(&self) -> Option<PathBuf> {
        let text = match (self.form, &self.workdir) {
            (Form::Text, Some(workdir)) => workdir.join(self.text.trim()).display().to_string(),
            (Form::Text, None) | (Form::TextOrFile, _) => self.text.clone(),
        };
        match hooks::Script::detect(&text) {
            hooks::Script::File(path) => Some(std::path::absolute(&path).unwrap_or(path)),
            hooks::Script::Blank | hooks::Script::Inline(_) => None,
        }
    }
}

/// How the text of a script is to be taken: each system that hooks come from has its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Form {
    /// As Jumpstarter does with `script`: one line that names a file is that file, for the
    /// interpreter that its extension asks for; all else is text for `/bin/sh`.
    #[default]
    TextOrFile,
    /// As SkyPilot and Chef do: always text, for bash. Where there is none, for `/bin/sh`.
    Text,
}

/// `env`: the variables that a hook starts with, before Hilt adds its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Env {
    /// `inherit`: what it gets of the exporter's own environment.
    pub inherit: Inherit,
    /// `set`: what it gets besides.
    pub set: BTreeMap<String, String>,
}

/// What a hook gets of the exporter's own environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Inherit {
    /// Everything.
    #[default]
    All,
    /// The variables of these names.
    Only(Vec<String>),
}

/// A hook around a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHook {
    /// What to run. Default `timeout`: 120 seconds.
    pub script: Script,
    /// `onFailure`: what its failure leads to. Default: `warn`.
    pub on_failure: OnFailure,
}

/// The hook after a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterLeaseHook {
    /// What every lease hook has.
    pub hook: LeaseHook,
    /// `when`: after which leases. Default: `ready`.
    pub when: When,
}

/// What the failure of a lease hook leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// A warning; the lease goes on.
    #[default]
    Warn,
    /// The end of the lease.
    EndLease,
    /// The end of the exporter, with exit code 1.
    Exit,
    /// No further lease until the bench is repaired.
    Quarantine,
}

/// After which leases the `afterLease` hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// After those that got as far as their client.
    #[default]
    Ready,
    /// Also after those whose `beforeLease` hook failed.
    Always,
}

/// A hook in the exporter's own life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleHook {
    /// What to run. Default `timeout`: 3600 seconds.
    pub script: Script,
    /// `events`: when. At least one; default: all.
    pub events: Vec<LifecycleEvent>,
}

/// What happens in the exporter's own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleEvent {
    /// It is asked to stop while idle, or has drained.
    Stop,
    /// It is told to go while leased.
    Preemption,
    /// It is unregistered for good.
    Down,
}

impl LifecycleEvent {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Stop, Self::Preemption, Self::Down];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Preemption => "preemption",
            Self::Down => "down",
        }
    }
}

/// The hook that tries to bring a quarantined bench back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairHook {
    /// What to run. Default `timeout`: 120 seconds.
    pub script: Script,
    /// `interval`: between two attempts, in seconds. Default: 60.
    pub interval: Duration,
}
