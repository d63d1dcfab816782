//! The one room where work may block a thread: opening a device, changing its settings, reading and
//! writing files, closing what is slow to close.
//!
//! Everything else in this crate waits for readiness instead. Work in a thread can't be stopped: if
//! it outlasts its limit or nobody waits for it any more, it is left to end there, and what it
//! returns is dropped there. Work that may take long is given a way to notice.

use std::ops::Deref;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{DriverError, Result};

/// Runs `work` in a thread where it may block, for at most `limit`. `what` says in errors what was
/// being done, and to what.
///
/// # Errors
///
/// Those of `work`; [`DriverError::Timeout`] if it takes longer; [`DriverError::Device`] if it
/// panics.
pub async fn run<T, W>(what: &str, limit: Duration, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    match tokio::time::timeout(limit, start(what, work).done()).await {
        Ok(result) => result,
        Err(_) => Err(DriverError::Timeout(format!("{what}: not done within {limit:?}"))),
    }
}

/// Work that has begun, and takes as long as it takes.
#[derive(Debug)]
pub struct Working<T> {
    what: Box<str>,
    thread: JoinHandle<Result<T>>,
}

/// Begins `work` in a thread where it may block. `what` says in errors what was being done.
pub fn start<T, W>(what: &str, work: W) -> Working<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    // What the work logs belongs to the call that it is done for.
    let span = tracing::Span::current();
    let thread = tokio::task::spawn_blocking(move || span.in_scope(work));
    Working { what: what.into(), thread }
}

impl<T> Working<T> {
    /// Waits for the work to be done.
    ///
    /// # Errors
    ///
    /// Those of the work; [`DriverError::Device`] if it panics.
    pub async fn done(self) -> Result<T> {
        let panicked = |_| Err(DriverError::Device(format!("{}: the driver panicked", self.what)));
        self.thread.await.unwrap_or_else(panicked)
    }
}

/// Drops a value whose drop may block, without waiting for it.
pub fn discard<T: Send + 'static>(value: T) {
    // Without a runtime there is nobody whom blocking could hold up.
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn_blocking(move || drop(value)));
    }
}

/// A value whose drop may block, and so is dropped in this room.
///
/// Closing a serial port is an example: the kernel waits up to 30 s for its output to be sent.
#[derive(Debug)]
pub struct SlowDrop<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> SlowDrop<T> {
    /// Takes charge of the value's end.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send + 'static> Deref for SlowDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("because the value is only taken when it is dropped")
    }
}

impl<T: Send + 'static> Drop for SlowDrop<T> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    #[tokio::test]
    async fn work_has_a_time_limit() {
        let (release, held) = mpsc::channel::<()>();
        let work = move || {
            // An error means that the sender is gone: time to end as well.
            held.recv().ok();
            Ok(())
        };
        let error = run("open the test", Duration::from_millis(20), work).await.unwrap_err();
        assert_eq!(error.to_string(), "open the test: not done within 20ms");
        drop(release);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let work = || -> Result<()> { panic!("on purpose") };
        let error = run("open the test", Duration::from_secs(5), work).await.unwrap_err();
        assert_eq!(error.to_string(), "open the test: the driver panicked");
    }

    #[tokio::test]
    async fn a_slow_drop_is_not_for_this_thread() {
        struct Tell(mpsc::Sender<ThreadId>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }
        let (sender, dropped_in) = mpsc::channel();
        drop(SlowDrop::new(Tell(sender)));
        let there = tokio::task::spawn_blocking(move || dropped_in.recv().unwrap()).await.unwrap();
        assert_ne!(there, thread::current().id());
    }
}
