//! From signals to an orderly end: the first asks for it, the second no longer waits.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals have asked for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// End the lease with its afterLease hook, then stop.
    pub drain: CancellationToken,
    /// As `drain`, but for good: the hooks for that run, and the drivers are deleted.
    pub down: CancellationToken,
    /// Stop now.
    pub abort: CancellationToken,
}

/// The signals that end an exporter.
#[derive(Debug)]
pub struct Signals {
    streams: [(&'static str, Signal); 3],
}

impl Signals {
    /// Listens to SIGTERM, SIGINT and SIGHUP from now on.
    pub fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { streams: [("SIGTERM", terminate), ("SIGINT", interrupt), ("SIGHUP", hangup)] })
    }

    /// Passes signals on to `shutdown` for as long as it is polled.
    pub async fn watch(mut self, shutdown: Shutdown) -> std::convert::Infallible {
        loop {
            let [(first, one), (second, two), (third, three)] = &mut self.streams;
            let name = tokio::select! {
                _ = one.recv() => *first,
                _ = two.recv() => *second,
                _ = three.recv() => *third,
            };
            if shutdown.drain.is_cancelled() {
                tracing::warn!("{name}: stopping at once");
                shutdown.abort.cancel();
            } else {
                tracing::info!("{name}: stopping in good order; a second signal stops at once");
                shutdown.drain.cancel();
            }
        }
    }
}
