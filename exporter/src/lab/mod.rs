//! The embedded lease service: what a lab of one host needs of a controller, without a cluster.
//!
//! ```text
//! jmp ── TLS ──► services ──► authentication ──► desk ──► timetable     (pure)
//!                   │                             │  └──► store         (SQLite)
//!                   │ router streams              │ assignments
//!                   └──────────► tunnels ──► exporters of this process
//! ```

pub mod certificate;
pub mod directory;
pub mod label;
pub mod lease;
pub mod name;
pub mod page;
mod quote;
pub mod selector;
pub mod store;
pub mod terms;
pub mod timetable;
pub mod token;
