//! Hilt's device drivers.

pub mod args;
pub mod composite;
pub mod driver;
pub mod encoding;
pub mod error;
pub mod power;
pub mod registry;
pub mod storage;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;

pub use args::Args;
pub use driver::{Call, Driver, Method, Resources, Shape};
pub use encoding::Encoding;
pub use error::{DriverError, Result};
pub use stream::{ByteStream, ChunkReader, ChunkWriter, Sink, Source};
pub use tree::Tree;
