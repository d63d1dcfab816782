//! What a driver keeps of what its device says, for later: a black box.
//!
//! A driver that has a [`Recorder`] records whether anybody uses it or not. Whoever owns the drivers
//! says where to, and what else happens to the bench; what that means is nothing to the driver, except
//! that marks divide a recording.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Records what a device says.
pub trait Recorder: Send + Sync {
    /// Begins to record in a directory, which is made if it isn't there, and goes on for as long as
    /// the driver lives. Does nothing if it has begun already. Has to be called in a runtime.
    fn start(&self, directory: PathBuf);

    /// Notes what happens to the bench, between what was said before and what is said from now on.
    fn mark(&self, mark: Mark);
}

/// What happens to a bench, from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// From here on the recording is for somebody else, who does not get to see what is before.
    /// The same key again goes on with the same part.
    Part {
        /// Tells the parts apart.
        key: String,
        /// For people: whose it is.
        text: String,
    },
    /// A power switch is about to be turned on; its path.
    PowerOn(String),
    /// A power switch is about to be turned off; its path.
    PowerOff(String),
    /// Anything else that people want to know.
    Note(String),
}

impl Mark {
    /// What people read.
    pub fn text(&self) -> String {
        match self {
            Self::Part { text, .. } => text.clone(),
            Self::PowerOn(path) => format!("{path}: power on"),
            Self::PowerOff(path) => format!("{path}: power off"),
            Self::Note(text) => text.clone(),
        }
    }
}
