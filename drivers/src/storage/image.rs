//! Images that are kept without a device.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::copy;
use super::cursor::FileCursor;
use crate::blocking;
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// A complete image, in a file without a name: whatever becomes of the process, it leaves nothing
/// behind. Freeing a large one takes time.
#[derive(Debug, Clone)]
pub(crate) struct Image(Arc<File>);

impl Image {
    /// Takes an image from a client. Nothing is left of one that is incomplete.
    pub(crate) async fn receive(source: Source) -> Result<Self> {
        const NAME: &str = "a temporary file";
        let create =
            || tempfile::tempfile().map_err(|e| DriverError::io(format!("create {NAME}"), e));
        let file = blocking::start("create a temporary file", create).done().await?;
        let (file, bytes) = copy::write(source, file, NAME).await?;
        tracing::info!(bytes, "image written");
        Ok(Self(Arc::new(file)))
    }

    /// Hands the image to a client.
    pub(crate) async fn send(self, sink: &mut Sink) -> Result<()> {
        let (_, bytes) = copy::read(FileCursor::new(self.0), sink, "the image").await?;
        tracing::info!(bytes, "image read");
        Ok(())
    }

    /// Its size in bytes, and its first bytes, at most `count`.
    pub(crate) async fn head(&self, count: usize) -> Result<(u64, Vec<u8>)> {
        let file = Arc::clone(&self.0);
        let read = move || {
            let mut head = vec![0; count];
            let length = file.read_at(&mut head, 0)?;
            head.truncate(length);
            Ok((file.metadata()?.len(), head))
        };
        let read = move || read().map_err(|error| DriverError::io("read the image", error));
        blocking::start("read the image", read).done().await
    }
}
