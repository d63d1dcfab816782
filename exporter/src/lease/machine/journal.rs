//! What of a machine outlives a crash.
//!
//! Whoever owns the machine writes down what has changed here before it performs any effect; so
//! nothing is visible outside that a restart would not know of.

use super::super::Lease;
use super::{Cause, EndReason, Ending, Health, Machine, Prepared, Quarantine, State, Tenancy};

/// The facts to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// The lease that the bench has, or has just had.
    pub lease: Option<(Lease, Progress)>,
    /// How many leases in a row have failed.
    pub failures: u32,
    /// Why the bench is out of service, if it is, and what has to be put right.
    pub quarantine: Option<(String, Cause)>,
}

/// How far a lease has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Its beforeLease hook is still to be run, or runs.
    Preparing,
    /// Its client has the bench.
    Prepared(Prepared),
    /// Its afterLease hook is still to be run, or runs.
    CleaningUp(Prepared, EndReason),
    /// Nothing is owed to it.
    Over,
}

impl Machine {
    /// What has to be kept of the present state; nothing new once the exporter is done.
    pub fn journal(&self) -> Option<Journal> {
        let (lease, quarantine) = match &self.state {
            State::Idle => (None, None),
            // Nobody has been told of it, and nothing has been done for it.
            State::Opening(Tenancy { prepared: Prepared::NotYet, .. }, _) => (None, None),
            State::Opening(Tenancy { lease, prepared }, ending) => {
                let progress = match (ending, prepared) {
                    (None, Prepared::Interrupted) => Progress::Preparing,
                    (None, prepared) => Progress::Prepared(*prepared),
                    (Some(ending), _) => Progress::CleaningUp(*prepared, ending.reason),
                };
                (Some((lease, progress)), None)
            }
            State::BeforeHook(lease, _) => (Some((lease, Progress::Preparing)), None),
            State::Ready(Tenancy { lease, prepared }) => {
                (Some((lease, Progress::Prepared(*prepared))), None)
            }
            State::Failing(Tenancy { lease, prepared }, rest)
            | State::AfterHook(Tenancy { lease, prepared }, rest) => {
                (Some((lease, Progress::CleaningUp(*prepared, rest.reason))), None)
            }
            State::Closing(lease, rest) | State::Releasing(lease, rest) => {
                let quarantine = match &rest.health {
                    Health::Untried | Health::Good | Health::Bad(_) => None,
                    Health::Unusable(reason) => Some((reason, Cause::Leases)),
                };
                (Some((lease, Progress::Over)), quarantine)
            }
            State::Quarantined(quarantine) | State::Maintaining(_, Some(quarantine)) => {
                let Quarantine { reason, cause, owed, .. } = quarantine;
                let owed = owed.as_ref().map(|(Tenancy { lease, prepared }, reason)| {
                    (lease, Progress::CleaningUp(*prepared, *reason))
                });
                (owed, Some((reason, *cause)))
            }
            State::Maintaining(_, None) => (None, None),
            State::Stopped => return None,
        };
        Some(Journal {
            lease: lease.map(|(lease, progress)| (lease.clone(), progress)),
            failures: self.failures,
            quarantine: quarantine.map(|(reason, cause)| (reason.clone(), cause)),
        })
    }
}

impl Progress {
    /// What a lease that had come so far needs after a restart, if anything.
    pub(super) fn resume(self, lease: Lease) -> Option<(Tenancy, Option<Ending>)> {
        let (prepared, ending) = match self {
            Self::Preparing => (Prepared::Interrupted, None),
            Self::Prepared(prepared) => (prepared, None),
            Self::CleaningUp(prepared, reason) => {
                (prepared, Some(Ending { reason, leaving: None }))
            }
            Self::Over => return None,
        };
        Some((Tenancy { lease, prepared }, ending))
    }
}
