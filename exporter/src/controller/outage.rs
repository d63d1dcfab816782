//! What people are told of somebody who can't be reached: once, and when it is over.

use tokio::time::Instant;

use crate::activity::{Activity, Doing};

/// An outage, if there is one.
#[derive(Debug)]
pub(super) struct Outage {
    /// Who it is.
    who: String,
    activity: Activity,
    present: Option<Present>,
}

#[derive(Debug)]
struct Present {
    since: Instant,
    reason: String,
    /// Shows that it goes on.
    _doing: Doing,
}

impl Outage {
    pub(super) fn new(who: String, activity: &Activity) -> Self {
        Self { who, activity: activity.clone(), present: None }
    }

    /// It has failed again. Every other reason is told once more; returns whether it is another.
    pub(super) fn failed(&mut self, reason: &str) -> bool {
        let Self { who, activity, present } = self;
        if present.as_ref().is_some_and(|present| present.reason == reason) {
            tracing::debug!("still no {who}: {reason}");
            return false;
        }
        tracing::warn!("no {who}: {reason}; trying again until it works");
        let since = present.as_ref().map_or_else(Instant::now, |present| present.since);
        let shown = format!("no {who}: {reason}; tried again until it works");
        let doing = activity.begin(move || shown.clone());
        *present = Some(Present { since, reason: reason.to_owned(), _doing: doing });
        true
    }

    /// It works.
    pub(super) fn over(&mut self) {
        if let Some(Present { since, .. }) = self.present.take() {
            tracing::info!("{} is back after {} s", self.who, since.elapsed().as_secs());
        }
    }
}

/// Why a call has failed, down to what the network says.
pub(super) fn reason(status: &tonic::Status) -> String {
    let mut reason = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    reason
}
