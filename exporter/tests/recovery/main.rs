//! An exporter as a process of its own: killed, started again, told to go.
#![cfg(test)]

mod activity;
mod bench;
mod console;
mod everywhere;
mod leftovers;
mod quarantine;
mod reload;
mod service_manager;
