//! The store, as the exporter and its readers use it.
#![expect(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

mod commands;
mod crash;
mod faults;
mod history;
mod latency;
mod records;
mod recovery;
mod start;
mod web;
