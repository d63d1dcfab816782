//! What signals ask of an exporter: an orderly end, of which the second no longer waits, or a look at
//! its configuration.
//!
//! A service is told by SIGHUP to read its configuration again; for a command that somebody has typed,
//! it is the end of the terminal.

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

/// The signals that an exporter listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    on_hangup: OnHangup,
}

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHangup {
    /// The configuration is to be read again.
    Reload,
    /// The terminal is gone, and the command with it.
    Stop,
}

impl Signals {
    /// Listens to SIGTERM, SIGINT and SIGHUP from now on.
    pub fn new(on_hangup: OnHangup) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
        })
    }

    /// Passes signals on to `shutdown` for as long as it is polled.
    pub async fn watch(mut self, shutdown: Shutdown) -> std::convert::Infallible {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => match self.on_hangup {
                    OnHangup::Reload => {
                        shutdown.hangup.notify_one();
                        continue;
                    }
                    OnHangup::Stop => "SIGHUP",
                },
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
