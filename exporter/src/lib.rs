//! Hilt: a hardware exporter that speaks the Jumpstarter protocol.
//!
//! One process runs on a lab host beside real boards. It owns a bench's devices, serves them to
//! whoever holds the lease, and runs the bench's hooks around every lease. This page is the map of
//! the house.
//!
//! ```text
//!             YAML ──► config ──► drivers::Tree ───────────────┐
//!                                                              │
//! controller ◄─► controller ─► lease
//!                    │ tunnels
//! jmp, j ──► session::listener ──► service ──► admission ──► driver ──► device
//!                                     │            ▲
//!                                     │            │ status
//!                           EndSession│   ┌────────┴───────┐
//!                                     └──►│  lease::actor  │──► lifecycle ──► hooks::Run ──► script
//!                  signals ──► shutdown ─►│ (owns Machine) │       │                          │
//!      hilt reload ──► control ──► reload │                │       ▼  j, through its own socket ┘
//!                                    └───►│                │──► store ──► web, hilt hooks history
//!                                         └────────────────┘
//! ```
//!
//! # The rooms, in reading order
//!
//! | room | what it is for |
//! |---|---|
//! | [`app`] | puts an exporter together and runs it |
//! | [`config`] | the YAML, and everything that can be wrong with it |
//! | [`lease`] | `machine`: the life of a lease as a pure function; `actor`: the one task that owns it; `status`: the published view; `assigner`: who gives leases: `standing` without a controller, `scheduled` with one |
//! | [`controller`] | the link to a controller, which gives leases, and to its routers, through which clients come |
//! | [`lab`] | leases for the clients of one host: the same protocol, without a cluster |
//! | [`session`] | what clients and hooks reach: listeners, services, admission, streams, resources, the log |
//! | [`lifecycle`] | which hook belongs to which event, what it is told, and what its end means |
//! | [`store`] | what outlives the process: where the lease stands, hook runs, applied drivers |
//! | [`state`] | where that is kept |
//! | [`reload`] | another configuration for a running exporter |
//! | [`control`] | how `hilt status`, `reload`, `release` and `down` speak with a running exporter |
//! | [`web`] | the history of hooks, over HTTP |
//! | [`activity`] | what each task waits for, for whoever sends SIGQUIT |
//! | [`service_manager`] | what systemd is told |
//! | [`wire`] | the protocol's messages and values |
//! | [`logging`], [`shutdown`], [`tls`], [`secret`] | what their names say |
//! | [`cli`], [`demo`] | `hilt`: one file a subcommand |
//! | [`j`] | the `j` client; it shares only the wire with the rest |
//!
//! The two crates below know nothing of this one: `drivers` has the devices, and `hooks` runs one
//! script, with proof of its end.
//!
//! # Three stories
//!
//! **A lease.** [`lease::assigner`] gives one; the machine answers with *open the session*. The
//! devices open, the machine says *publish BEFORE_LEASE_HOOK, run the hook*. The hook's lines go to
//! the [log](session::log), from which every client reads at its own pace; its verdict comes back
//! as an event, and LEASE_READY is published. A client's EndSession leads to AFTER_LEASE_HOOK, the
//! devices are closed, the lease is given back, and AVAILABLE is published. What happens while a
//! hook runs is data in the machine's state, not a flag beside it.
//!
//! **`j power on` in a hook.** `j` is this program under another name, first on the hook's `PATH`.
//! It connects to the hook's own socket, asks for the report, and calls the driver.
//! [Admission](session::admission) lets it through because of where it comes from and what the
//! status is; a client would have to wait for LEASE_READY. Whatever was admitted ends with the status
//! that admitted it, so nothing of one phase reaches into the next.
//!
//! **A crash.** Before the actor performs an effect, the machine's journal is on disk, and a hook's run
//! before its first process. So the next process knows where the lease stood: it ends what is still
//! running, opens the devices again, runs the hook that was cut off or is owed, and none whose end is
//! on record.
//!
//! # Invariants
//!
//! 1. `drivers` and `hooks` import neither tonic nor prost nor each other, and never say *lease* to
//!    a device.
//! 2. [`lease::machine`] has no async, clock, I/O or logging. Exactly one task owns a machine, and
//!    nobody holds a lock on lease state, because there is none.
//! 3. A status leaves only through [`lease::status`]; each publication adds one to its version.
//! 4. A driver call is admitted in [`session::admission`] and nowhere else.
//! 5. Every state change that must survive a crash is in the [`store`] before anyone outside can see
//!    it.
//! 6. Blocking device I/O happens only in `drivers::blocking`; every transfer has a time limit.
//! 7. Every task is spawned on a tracker or set of its owner. Whoever starts a process can prove
//!    that it and its descendants are gone.
//! 8. Dropping a session at any await leaves hardware closed and sockets unlinked.
//! 9. Secrets are [`secret::Secret`]s, which print `[redacted]`.
//! 10. No wildcard arm in a `match` on a state, an event, an effect or an error category.

pub mod activity;
pub mod app;
mod backoff;
pub mod cli;
pub mod config;
pub mod control;
pub mod controller;
pub mod demo;
pub mod j;
pub mod lab;
pub mod lease;
pub mod lifecycle;
pub mod logging;
pub mod reload;
pub mod service_manager;
pub mod session;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod tls;
pub mod web;
pub mod wire;

pub use drivers::secret;
