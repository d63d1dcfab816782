//! How a run ended.

use std::fmt;
use std::time::Duration;

/// What became of one run, down to its last process.
#[derive(Debug)]
pub struct Outcome {
    /// How the script ended.
    pub ending: Ending,
    /// From start to the end of the last process.
    pub duration: Duration,
    /// Processes that the script left behind and that were ended for it.
    pub leftovers: Vec<Process>,
    /// Processes that even SIGKILL did not end in time. Empty: nothing of the run is left.
    pub survivors: Vec<Process>,
}

/// How a script ended.
#[derive(Debug)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// It ran longer than it may and was ended.
    TimedOut,
    /// It was ended because nobody wants its result any more.
    Cancelled,
    /// It never ran.
    NotStarted(StartError),
}

/// Why a script never ran.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The interpreter can't be run.
    #[error("interpreter '{program}' {problem}")]
    Interpreter {
        /// The interpreter, as configured.
        program: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The user whose rights it should have can't be taken on.
    #[error("user '{name}' {problem}")]
    User {
        /// The user, as configured.
        name: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The system has no terminal or no process to give.
    #[error("{0}")]
    System(String),
}

/// A process, as the kernel knew it when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its name, cut off by the kernel after 15 bytes.
    pub name: String,
}

impl Outcome {
    /// What became of a script that could not be started.
    pub fn not_started(error: StartError) -> Self {
        Self {
            ending: Ending::NotStarted(error),
            duration: Duration::ZERO,
            leftovers: Vec::new(),
            survivors: Vec::new(),
        }
    }

    /// Whether the script did what it should.
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Exited(0))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}
