//! Hilt, the exporter.

pub mod cli;
pub mod config;
pub mod lease;
pub mod wire;
