//! Hilt's device drivers.

pub mod args;
pub mod blocking;
pub mod composite;
pub mod driver;
pub mod error;
pub mod network;
mod number;
pub mod power;
mod readiness;
pub mod registry;
pub mod serial;
pub mod shell;
pub mod stream;
pub mod tree;

pub use args::Args;
pub use driver::{Call, Driver, Method, Resources, Shape};
pub use error::{DriverError, Result};
pub use stream::{ByteStream, ChunkReader, ChunkWriter, Sink, Source};
pub use tree::Tree;
