//! Blocking work, kept off the runtime's threads. Nothing else below `storage` blocks.

use tokio::task::JoinHandle;

use crate::{DriverError, Result};

/// Work that has begun. It goes on when this is dropped, so whoever starts work that may take long
/// gives it a way to notice.
pub(super) struct Offloaded<T>(JoinHandle<Result<T>>);

/// Begins some work on a thread where it may block.
pub(super) fn start<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Offloaded<T> {
    Offloaded(tokio::task::spawn_blocking(work))
}

/// Does some work on a thread where it may block.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    start(work).done().await
}

/// Drops a value whose drop may block, without waiting for it.
pub(super) fn discard<T: Send + 'static>(value: T) {
    drop(tokio::task::spawn_blocking(move || drop(value)));
}

impl<T> Offloaded<T> {
    /// Waits for the work to be done.
    pub(super) async fn done(self) -> Result<T> {
        self.0.await.unwrap_or_else(|error| Err(DriverError::Device(format!("{error}"))))
    }
}
