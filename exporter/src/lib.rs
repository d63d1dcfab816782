//! Hilt, the exporter.

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod j;
pub mod lease;
pub mod lifecycle;
pub mod logging;
pub mod secret;
pub mod session;
pub mod shutdown;
pub mod tls;
pub mod wire;
