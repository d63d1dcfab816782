//! Hilt, the exporter.

pub mod lease;
pub mod session;
pub mod wire;
