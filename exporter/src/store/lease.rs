//! What is kept of a lease.

use std::collections::BTreeMap;

use uuid::Uuid;

/// A lease that the bench has, or that it still owes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Tells leases of the same name apart.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Who holds it; empty where nobody says.
    pub client: String,
    /// Its context and tags, for its hooks.
    pub context: BTreeMap<String, String>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a lease has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The bench is being made ready.
    Preparing,
    /// The bench has been made ready, or would not be.
    Prepared(Prepared),
    /// What the lease has left behind is being cleaned up.
    CleaningUp {
        /// What became of the preparations.
        prepared: Prepared,
        /// Why the lease ended.
        reason: EndReason,
    },
    /// Nothing is owed to it any more.
    Over,
}

/// What became of a lease's preparations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// The beforeLease hook has not run.
    NotYet,
    /// There is no beforeLease hook.
    Unasked,
    /// The beforeLease hook did what it should.
    Passed,
    /// The beforeLease hook failed, and the lease went on.
    Warned,
    /// The beforeLease hook failed.
    Failed,
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its client, or an administrator, has given it back.
    Released,
    /// Its time is over.
    Expired,
    /// Its client is gone.
    Disconnected,
    /// The bench could not be made ready.
    Failed,
    /// The exporter stops.
    ExporterStopping,
}

impl Prepared {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::NotYet, Self::Unasked, Self::Passed, Self::Warned, Self::Failed];

    /// Its name for hooks and in the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotYet => "not-run",
            Self::Unasked => "none",
            Self::Passed => "success",
            Self::Warned => "warning",
            Self::Failed => "failure",
        }
    }

    /// The one of this name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prepared| prepared.word() == word)
    }
}

impl EndReason {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Released, Self::Expired, Self::Disconnected, Self::Failed, Self::ExporterStopping];

    /// Its name for hooks and in the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::ExporterStopping => "exporter-stopping",
        }
    }

    /// The one of this name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}
