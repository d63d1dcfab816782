//! What is measured, in the order of the table: one file a theme.

mod calls;
mod devices;
mod history;
mod hooks;
mod j;
mod labs;
mod leases;
mod many;
mod power;
mod queue;
mod serial;
mod start;
mod streams;
mod transfers;

use std::pin::Pin;

use anyhow::Result;

use super::rounds::Rounds;
use super::row::Samples;

/// The size of a chunk where large ones are sent, in bytes. `j` sends as much at once.
pub(super) const CHUNK: usize = 256 * 1024;

/// Something that is measured in one go.
#[derive(Debug)]
pub(super) struct Measurement {
    /// What it is chosen by on the command line.
    pub(super) name: &'static str,
    /// How it is done, and what the figures mean.
    pub(super) how: &'static str,
    /// What a profile shows where a row may miss its target; printed if one does.
    pub(super) profile: Option<&'static str>,
    pub(super) run: for<'l> fn(&'l Rounds) -> Run<'l>,
}

/// A measurement on its way.
pub(super) type Run<'l> = Pin<Box<dyn Future<Output = Result<Vec<Samples>>> + Send + 'l>>;

/// Everything that is measured.
pub(super) static ALL: &[Measurement] = &[
    start::START,
    j::J,
    calls::UNARY,
    calls::ITEMS,
    streams::PING,
    streams::DUPLEX,
    streams::TCP,
    serial::SERIAL,
    serial::BAUD,
    power::POWER,
    hooks::LINES,
    hooks::BURST,
    hooks::BEFORE,
    hooks::STOP,
    transfers::TRANSFER,
    transfers::FLASH,
    devices::DEVICE,
    leases::LEASE,
    leases::LEASES,
    leases::CONTROLLED,
    history::HISTORY,
    labs::FIRST_CALL,
    labs::TURNAROUND,
    labs::ROUTER,
    queue::QUEUE,
    many::MANY,
];
