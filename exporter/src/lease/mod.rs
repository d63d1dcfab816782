//! The lease: its life, the task that owns it, and what the world sees of it.

pub mod actor;
pub mod machine;
pub mod standing;
pub mod status;

/// A client's claim on the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Who holds it; empty where nobody says.
    pub client: String,
}
