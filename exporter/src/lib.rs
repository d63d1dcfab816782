//! Hilt, the exporter.

pub mod lease;
pub mod wire;
