//! The `hooks:` of a configuration: scripts around the life of a lease and of the exporter.

use std::time::Duration;

/// `hooks`. Each is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// `beforeLease`: between the assignment of a lease and its client.
    pub before_lease: Option<LeaseHook>,
    /// `afterLease`: between a client and the end of its lease.
    pub after_lease: Option<AfterLeaseHook>,
    /// `lifecycle`: in the exporter's own life, in the order written.
    pub lifecycle: Vec<LifecycleHook>,
    /// `repair`: tries to bring a quarantined bench back.
    pub repair: Option<RepairHook>,
}

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// `script` or `run`: the script, or on one line the path of its file. Blank: nothing is run,
    /// successfully.
    pub text: String,
    /// `exec`: the interpreter. Default: by the extension of a file, else `/bin/sh`.
    pub exec: Option<String>,
    /// `timeout`: the longest it may take, in seconds. Nought lets it take no time at all.
    pub timeout: Duration,
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
}

/// The hook that tries to bring a quarantined bench back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairHook {
    /// What to run. Default `timeout`: 120 seconds.
    pub script: Script,
    /// `interval`: between two attempts, in seconds. Default: 60.
    pub interval: Duration,
}
