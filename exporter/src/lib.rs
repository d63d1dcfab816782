//! Hilt, the exporter.

pub mod j;
pub mod wire;
