//! What is kept of a hook's run.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::event::HookEvent;
use super::output::Output;

/// A hook that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunBegun {
    /// Names the run.
    pub id: Uuid,
    /// What it is run for.
    pub event: HookEvent,
    /// Whose life it belongs to.
    pub subject: Subject,
    /// The lease that the bench has meanwhile.
    pub lease: Option<Uuid>,
    /// When.
    pub started: Timestamp,
}

/// Whose life a hook belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A lease's.
    Lease {
        /// The lease's name.
        name: String,
    },
    /// The exporter's.
    Exporter {
        /// The exporter's name.
        name: String,
    },
    /// A driver's.
    Driver {
        /// Where it is in the tree, its names joined by dots.
        path: String,
        /// Its `version`, as configured.
        version: Option<String>,
        /// SHA-256 of the definition that the hook is of, in hexadecimal.
        hash: String,
    },
}

/// How a script ended by itself, or by its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// It took too long.
    TimedOut,
}

/// How a hook's run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnded {
    /// Names the run.
    pub id: Uuid,
    /// The short answer.
    pub status: RunStatus,
    /// What it exited with, if it did.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What the numbers don't say: that it could not be started, was cancelled or interrupted.
    pub detail: Option<String>,
    /// How long it took, to the end of its last process.
    pub duration: Duration,
    /// What it has printed.
    pub output: Output,
}

/// How a hook's run ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It did what it should.
    Success,
    /// It did not.
    Failure,
    /// It took too long.
    Timeout,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("time-out"),
        }
    }
}

impl RunEnded {
    /// How the script ended; none if it never ran, or was cut off.
    pub fn end(&self) -> Option<End> {
        End::of(self.status, self.exit_code, self.signal)
    }
}

impl End {
    pub(super) fn of(
        status: RunStatus,
        exit_code: Option<i32>,
        signal: Option<i32>,
    ) -> Option<Self> {
        match (status, exit_code, signal) {
            (RunStatus::Timeout, _, _) => Some(Self::TimedOut),
            (RunStatus::Success | RunStatus::Failure, Some(code), _) => Some(Self::Exited(code)),
            (RunStatus::Success | RunStatus::Failure, None, signal) => signal.map(Self::Signaled),
        }
    }
}

impl Subject {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Lease { name } | Self::Exporter { name } => name,
            Self::Driver { path, .. } => path,
        }
    }

    /// Its version, where it has one.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Lease { .. } | Self::Exporter { .. } => None,
            Self::Driver { version, .. } => version.as_deref(),
        }
    }
}

impl RunStatus {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Timeout];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
        }
    }

    /// The one of this name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
