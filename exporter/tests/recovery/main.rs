//! An exporter that is killed, and started again.
#![cfg(test)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bench;
mod everywhere;
mod leftovers;
mod quarantine;
