//! The embedded lease service: what a lab of one host needs of a controller, without a cluster.
//!
//! ```text
//! jmp ── TLS ──► port ──► service ──► authentication ──► desk ──► timetable     (pure)
//!                            │                             │  └──► store         (SQLite)
//!                            │ router streams              │ assignments
//!                            └──────────► tunnels ──► exporters of this process
//! ```
//!
//! | room | what it is for |
//! |---|---|
//! | [`server`] | puts a lab together and serves it |
//! | [`port`], [`certificate`] | TLS, and the way from there to the services |
//! | [`service`] | ClientService, Dial, RouterService, and what `jmp login` asks |
//! | [`authentication`], [`token`] | who asks |
//! | [`desk`] | the one task that owns the leases |
//! | [`timetable`] | which lease has which exporter, as a pure function |
//! | [`lease`], [`terms`], [`selector`], [`label`], [`name`], [`page`] | what there is to say about a lease |
//! | [`present`], [`refused`] | how it is said on the wire |
//! | [`place`] | an exporter of this process |
//! | [`store`], [`directory`] | what outlives the process |
//! | [`client_file`] | what a client needs to come in |

pub mod authentication;
pub mod certificate;
pub mod client_file;
pub mod desk;
pub mod directory;
pub mod label;
pub mod lease;
pub mod name;
pub mod page;
pub mod place;
pub mod port;
pub mod present;
mod quote;
pub mod refused;
pub mod selector;
pub mod server;
pub mod service;
pub mod store;
pub mod terms;
pub mod timetable;
pub mod token;
