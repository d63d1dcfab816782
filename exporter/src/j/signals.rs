//! Being interrupted: a verb that is cut off first puts the bench in order.

use std::future::Future;

use tokio::signal::unix::{self, SignalKind};

use super::error::{Error, Result};

/// The signals that end a verb.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

/// A signal that ended a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal is gone.
    Hangup,
    /// Ctrl-C.
    Interrupt,
    /// What a hook's time limit sends.
    Terminate,
}

impl Signals {
    /// From now on, signals wait for [`guard`](Self::guard) instead of ending the process.
    pub(crate) fn listen() -> Result<Self> {
        let listen =
            |kind| unix::signal(kind).map_err(|error| Error::local("listening for signals", error));
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Runs `work` until it is done or a signal comes. Work that is cut off is dropped.
    pub(crate) async fn guard<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            outcome = work => outcome,
            signal = self.next() => Err(Error::Interrupted(signal)),
        }
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

impl Signal {
    /// 128 and the signal's number, as shells count.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}
