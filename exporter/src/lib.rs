//! Hilt, the exporter.

pub mod config;
pub mod wire;
