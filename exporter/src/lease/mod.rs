//! The lease: its life, the task that owns it, and what the world sees of it.

pub mod actor;
pub mod assigner;
pub mod ledger;
pub mod machine;
pub mod overview;
pub mod scheduled;
pub mod standing;
pub mod status;

use std::collections::BTreeMap;

use uuid::Uuid;

/// A client's claim on the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Tells it from every other lease, also from an earlier one of the same name.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Who holds it; empty where nobody says.
    pub client: String,
    /// What its client wants hooks to know, by name.
    pub context: BTreeMap<String, String>,
}
