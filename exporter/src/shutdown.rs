//! What signals ask of an exporter: an orderly end, of which the second no longer waits, or a look at
//! its configuration.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
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
    /// Read the configuration again.
    pub hangup: Arc<Notify>,
}

/// The signals that end an exporter.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens to SIGTERM, SIGINT and SIGHUP from now on.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Passes signals on to `shutdown` for as long as it is polled.
    pub async fn watch(mut self, shutdown: Shutdown) -> std::convert::Infallible {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    shutdown.hangup.notify_one();
                    continue;
                }
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
