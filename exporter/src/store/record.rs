//! What can be written, and what is there after a restart.

use jiff::Timestamp;

use uuid::Uuid;

use super::event::HookEvent;
use super::run::{End, RunBegun, RunEnded, RunStatus, Subject};
use crate::config::export::Stage;
use crate::lease::Lease;
use crate::lease::machine::Cause;
use crate::lease::machine::journal::Progress;

/// A change that must survive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// What is known of the one lease that the bench has, or still owes something.
    Lease(Lease, Progress),
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
    Quarantined(Quarantined),
    /// The bench is back in service.
    QuarantineLifted,
    /// How often leases have failed one after the other.
    FailuresInARow(u32),
    /// What this process starts has this mark.
    Process(Uuid),
}

/// Why the bench is kept out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// For people.
    pub reason: String,
    /// What has to be put right.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
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
    pub lease: Option<(Lease, Progress)>,
    /// The lease that was over last. Whoever gave it may not know yet.
    pub returned: Option<Lease>,
    /// How those of that lease's hooks ended that did so by themselves.
    pub ended: Vec<(HookEvent, End)>,
    /// Hooks that were running, the first to have started first.
    pub unfinished_runs: Vec<RunBegun>,
    /// The drivers in use, by path.
    pub drivers: Vec<AppliedDriver>,
    /// Why the bench was out of service, if it was.
    pub quarantine: Option<Quarantined>,
    /// Its repair hook has succeeded since.
    pub repaired: bool,
    /// How often leases have failed one after the other.
    pub failures: u32,
    /// The mark of what it has started.
    pub process: Option<Uuid>,
    /// The stages of unfinished changes of drivers that need not be run again.
    pub stages: Vec<DoneStage>,
}

/// A stage of a change of a driver that has come to its end, though the change has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneStage {
    /// Where the driver is in the tree, its names joined by dots.
    pub path: String,
    /// SHA-256 of the definition that the stage is of, in hexadecimal.
    pub hash: String,
    /// Which.
    pub stage: Stage,
}

impl Recovery {
    /// The name of the lease that was over last.
    pub fn returned(&self) -> Option<String> {
        self.returned.as_ref().map(|lease| lease.name.clone())
    }

    /// What is left once `write` has been made, too. Returns a run that has ended with it.
    pub(super) fn apply<'w>(&mut self, write: &'w Write) -> Option<(RunBegun, &'w RunEnded)> {
        match write {
            Write::Lease(lease, progress) => {
                let is_known = self.lease.as_ref().is_some_and(|(known, _)| known.id == lease.id);
                if !is_known || *progress == Progress::Over {
                    self.ended.clear();
                }
                (self.lease, self.returned) = match progress {
                    Progress::Over => (None, Some(lease.clone())),
                    Progress::Preparing | Progress::Prepared(_) | Progress::CleaningUp(..) => {
                        (Some((lease.clone(), *progress)), self.returned.take())
                    }
                };
            }
            Write::RunBegun(run) => self.unfinished_runs.push(run.clone()),
            Write::RunEnded(ended) => {
                let position = self.unfinished_runs.iter().position(|run| run.id == ended.id)?;
                let begun = self.unfinished_runs.remove(position);
                self.note_end(&begun, ended);
                return Some((begun, ended));
            }
            Write::DriverApplied(driver) => {
                self.stages.retain(|done| done.path != driver.path);
                match self.drivers.binary_search_by(|known| known.path.cmp(&driver.path)) {
                    Ok(position) => self.drivers[position] = driver.clone(),
                    Err(position) => self.drivers.insert(position, driver.clone()),
                }
            }
            Write::DriverRemoved { path } => {
                self.stages.retain(|done| done.path != *path);
                self.drivers.retain(|driver| driver.path != *path);
            }
            Write::Quarantined(quarantine) => {
                self.quarantine = Some(quarantine.clone());
                self.repaired = false;
            }
            Write::QuarantineLifted => {
                self.quarantine = None;
                self.repaired = false;
            }
            Write::FailuresInARow(count) => self.failures = *count,
            Write::Process(mark) => self.process = Some(*mark),
        }
        None
    }

    /// Remembers what need not be run again.
    fn note_end(&mut self, begun: &RunBegun, ended: &RunEnded) {
        if begun.lease.is_some()
            && begun.lease == self.lease.as_ref().map(|(lease, _)| lease.id)
            && let Some(end) = ended.end()
        {
            self.ended.push((begun.event, end));
        }
        self.repaired |= self.quarantine.is_some()
            && begun.event == HookEvent::Repair
            && ended.status == RunStatus::Success;
        self.stages.extend(DoneStage::of(begun, ended));
    }
}

impl DoneStage {
    /// What the end of a run has settled, if anything. A stage that comes first and fails ends its
    /// change: the next attempt begins with it.
    pub(super) fn of(begun: &RunBegun, ended: &RunEnded) -> Option<Self> {
        let (HookEvent::Driver(stage), Subject::Driver { path, hash, .. }) =
            (begun.event, &begun.subject)
        else {
            return None;
        };
        let is_done = match stage {
            Stage::PreInstall | Stage::PreUpdate | Stage::PreDelete => {
                ended.end() == Some(End::Exited(0))
            }
            Stage::PostInstall | Stage::PostUpdate | Stage::PostDelete => ended.end().is_some(),
        };
        is_done.then(|| Self { path: path.clone(), hash: hash.clone(), stage })
    }
}
