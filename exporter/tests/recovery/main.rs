//! An exporter that is killed, and started again.
#![cfg(test)]

mod bench;
mod everywhere;
mod leftovers;
mod quarantine;
mod reload;
