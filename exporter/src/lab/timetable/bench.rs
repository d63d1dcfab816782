//! An exporter, as far as the timetable is concerned.

use crate::lab::selector::Labels;
use crate::lease::status::Status;

/// An exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bench {
    /// What it is chosen by.
    pub labels: Labels,
    /// Whether it could serve a lease.
    pub presence: Presence,
    /// The lease that it has.
    pub lease: Option<String>,
}

/// Whether an exporter could serve a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is out of service.
    Offline,
    /// It serves one, or cleans up after one.
    Busy,
    /// It waits for one.
    Ready,
}

impl Bench {
    /// Whether it may be given to somebody.
    pub fn is_free(&self) -> bool {
        self.presence == Presence::Ready && self.lease.is_none()
    }
}

impl From<Status> for Presence {
    fn from(status: Status) -> Self {
        match status {
            Status::Offline => Self::Offline,
            Status::Available => Self::Ready,
            Status::BeforeLeaseHook
            | Status::LeaseReady
            | Status::AfterLeaseHook
            | Status::BeforeLeaseHookFailed
            | Status::AfterLeaseHookFailed => Self::Busy,
        }
    }
}
