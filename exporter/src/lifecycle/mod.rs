//! The hooks of all three lives: which script belongs to which event, what it is told, and what its
//! end means.
//!
//! ```text
//! lease ─────► lease     ─┐
//! exporter ──► exporter  ─┤
//! driver ────► apply     ─┼─► execution ──► hooks::Run ──► script
//! bench ─────► repair    ─┘       │
//!                                 └─► log, store, log_file
//! ```
//!
//! A driver's life follows from its [`definition`]: what has changed since it was last applied makes
//! the [`changes`], and `apply` carries them out.

mod apply;
pub mod changes;
pub mod definition;
pub mod departure;
mod environment;
mod execution;
mod exporter;
mod lease;
mod lives;
mod log_file;
mod motd;
pub mod rehearsal;
mod repair;
mod shape;
#[cfg(test)]
mod testing;
mod verdict;

pub use self::apply::{Consequence, Drivers, Failure};
pub use self::environment::Scene;
pub use self::exporter::ExporterHooks;
pub use self::lease::{LeaseHooks, Report, Turn};
pub use self::lives::{Lifecycle, Setting};
pub use self::repair::RepairHook;
