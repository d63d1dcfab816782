//! What signals ask of an exporter: an orderly end, of which the second no longer waits, a look at its
//! configuration, or word of what goes on.
//!
//! A service is told by SIGHUP to read its configuration again; for a command that somebody has typed,
//! it is the end of the terminal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What an exporter has been told. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// End the lease with its afterLease hook, then stop.
    pub drain: CancellationToken,
    /// As `drain`, but for good: the hooks for that run, and the drivers are deleted.
    pub down: CancellationToken,
    /// Stop now.
    pub abort: CancellationToken,
    /// Read the configuration again.
    hangups: watch::Sender<()>,
    /// Say what goes on.
    looks: watch::Sender<()>,
    /// The end of the whole process, where there are other exporters in it.
    process: Option<CancellationToken>,
}

impl Shutdown {
    /// For one of several exporters of a process: it is told what all are told, and what it is told
    /// itself concerns no other.
    #[must_use]
    pub fn of_one(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            down: self.down.child_token(),
            abort: self.abort.child_token(),
            hangups: self.hangups.clone(),
            looks: self.looks.clone(),
            process: Some(self.drain.clone()),
        }
    }

    /// Whether the process ends with this exporter, as far as is known.
    pub fn ends_the_process(&self) -> bool {
        self.process.as_ref().is_none_or(CancellationToken::is_cancelled)
    }

    /// Whether the exporter was told to go, in whichever way.
    pub fn is_told(&self) -> bool {
        [&self.drain, &self.down, &self.abort].into_iter().any(CancellationToken::is_cancelled)
    }

    /// Waits until the exporter is told to go, in whichever way.
    pub async fn told(&self) {
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = self.down.cancelled() => {}
            () = self.abort.cancelled() => {}
        }
    }

    /// Has every exporter look at its configuration.
    pub fn hang_up(&self) {
        self.hangups.send_replace(());
    }

    /// Changes whenever the exporter is to look at its configuration, from now on.
    pub fn hangups(&self) -> watch::Receiver<()> {
        self.hangups.subscribe()
    }

    /// Has everybody say what goes on.
    pub fn look(&self) {
        self.looks.send_replace(());
    }

    /// Changes whenever somebody wants to know what goes on, from now on.
    pub fn looks(&self) -> watch::Receiver<()> {
        self.looks.subscribe()
    }
}

/// The signals that an exporter listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
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
    /// Listens to SIGTERM, SIGINT, SIGHUP and SIGQUIT from now on.
    pub fn new(on_hangup: OnHangup) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
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
                        shutdown.hang_up();
                        continue;
                    }
                    OnHangup::Stop => "SIGHUP",
                },
                _ = self.quit.recv() => {
                    tracing::info!("SIGQUIT: what goes on at the moment");
                    shutdown.look();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_exporter_is_told_concerns_no_other() {
        let all = Shutdown::default();
        let (one, other) = (all.of_one(), all.of_one());
        assert!(all.ends_the_process() && !one.ends_the_process());
        one.down.cancel();
        assert!(one.is_told() && !other.is_told() && !all.is_told());
        let mut hangups = other.hangups();
        all.hang_up();
        assert!(hangups.has_changed().unwrap());
        hangups.mark_unchanged();
        all.drain.cancel();
        assert!(other.is_told() && other.ends_the_process());
    }
}
