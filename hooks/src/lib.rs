//! Runs one script in a terminal, hears every line of it, and leaves nothing behind.
//!
//! ```text
//! text ──► Script ──► Invocation ─┐
//!                                 ├─► Run::run ──► Outcome
//! variables ──► Environment ──────┘       │
//!                                         └─► one line after the other
//! ```
//!
//! The crate knows nothing of exporters or devices. It answers one question, and with proof: how
//! did the script end, and is anything of it left?

pub mod command;
pub mod environment;
mod interpreter;
pub mod leftovers;
pub mod lines;
pub mod outcome;
mod processes;
mod pty;
mod run;
mod spawn;
pub mod user;

pub use command::{Invocation, Script};
pub use environment::Environment;
pub use outcome::{Ending, Outcome, Process, StartError};
pub use processes::leader;
pub use run::{Run, Stop};
pub use user::User;
