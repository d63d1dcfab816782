//! An exporter's configuration.

pub mod discover;
mod environment;

pub use self::environment::Environment;
