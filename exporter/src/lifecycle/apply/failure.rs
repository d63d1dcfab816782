//! What can go wrong with a change of a driver, and what comes of it.

use std::fmt;

/// Something that did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The driver.
    pub path: String,
    /// What has failed.
    pub reason: String,
    /// What came of it.
    pub consequence: Consequence,
}

/// What comes of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The driver is not in use, and so the bench is not what it should be.
    NotInstalled,
    /// The driver stays as it was.
    Unchanged,
    /// Nothing: what was done stays done.
    Reported,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self.consequence {
            Consequence::NotInstalled => "the driver is not installed",
            Consequence::Unchanged => "the driver stays as it was",
            Consequence::Reported => "what was done stays done",
        };
        write!(f, "driver {}: {}; {consequence}", self.path, self.reason)
    }
}
