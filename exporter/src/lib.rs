//! Hilt, the exporter.

pub mod wire;
