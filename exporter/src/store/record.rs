//! What can be written, and what is there after a restart.

use jiff::Timestamp;

use super::lease::{LeaseRecord, Progress};
use super::run::{RunBegun, RunEnded};

/// A change that must survive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// What is known of the one lease that the bench has, or still owes something.
    Lease(LeaseRecord),
    /// A hook is about to run.
    RunBegun(RunBegun),
    /// A hook's run is over.
    RunEnded(RunEnded),
    /// A driver is in use, by this definition.
    DriverApplied(AppliedDriver),
    /// A driver is no longer in use.
    DriverRemoved {
        /// Where it was in the tree, its names joined by dots.
        path: String,
    },
    /// The bench is kept out of service.
    Quarantined {
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// The bench is back in service.
    QuarantineLifted,
    /// How often leases have failed one after the other.
    FailuresInARow(u32),
}

/// A driver in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedDriver {
    /// Where it is in the tree, its names joined by dots.
    pub path: String,
    /// Its `type`.
    pub type_name: String,
    /// Its `version`.
    pub version: Option<String>,
    /// SHA-256 of its definition, in hexadecimal.
    pub hash: String,
    /// Enough of its definition to run its hooks when it is gone from the configuration, as JSON.
    pub definition: String,
}

/// What a process leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The lease that it had, or that was still owed something.
    pub lease: Option<LeaseRecord>,
    /// Hooks that were running, the first to have started first.
    pub unfinished_runs: Vec<RunBegun>,
    /// The drivers in use, by path.
    pub drivers: Vec<AppliedDriver>,
    /// Why the bench was out of service, and since when.
    pub quarantine: Option<(String, Timestamp)>,
    /// How often leases have failed one after the other.
    pub failures: u32,
}

impl Recovery {
    /// What is left once `write` has been made, too. Returns the beginning of a run that has ended.
    pub(super) fn apply(&mut self, write: &Write) -> Option<RunBegun> {
        match write {
            Write::Lease(record) => {
                self.lease = (record.progress != Progress::Over).then(|| record.clone());
            }
            Write::RunBegun(run) => self.unfinished_runs.push(run.clone()),
            Write::RunEnded(ended) => {
                let position = self.unfinished_runs.iter().position(|run| run.id == ended.id)?;
                return Some(self.unfinished_runs.remove(position));
            }
            Write::DriverApplied(driver) => {
                match self.drivers.binary_search_by(|known| known.path.cmp(&driver.path)) {
                    Ok(position) => self.drivers[position] = driver.clone(),
                    Err(position) => self.drivers.insert(position, driver.clone()),
                }
            }
            Write::DriverRemoved { path } => self.drivers.retain(|driver| driver.path != *path),
            Write::Quarantined { reason, since } => {
                self.quarantine = Some((reason.clone(), *since));
            }
            Write::QuarantineLifted => self.quarantine = None,
            Write::FailuresInARow(count) => self.failures = *count,
        }
        None
    }
}
