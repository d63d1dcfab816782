//! What is asked for.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::Refusal;
use crate::store::{Filter, Found, Histories, HookEvent, RunStatus, StoreError, since};

/// How many items a page has if nothing else is asked for.
const USUAL: u32 = 50;

/// How many may be asked for.
const MOST: u32 = 500;

/// The parameters of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    exporter: Option<String>,
    event: Option<String>,
    lease: Option<String>,
    driver: Option<String>,
    status: Option<String>,
    since: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

impl Wanted {
    /// Whether it is about this exporter.
    pub(super) fn is_of(&self, exporter: &str) -> bool {
        self.exporter.as_deref().is_none_or(|wanted| wanted == exporter)
    }

    /// How many items a page has at most.
    pub(super) fn limit(&self) -> Result<u32, Refusal> {
        let limit = self.limit.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            Ok(limit)
        } else {
            Err(bad(format!("limit: {limit} is not between 1 and {MOST}")))
        }
    }

    /// Which runs it is about.
    pub(super) fn filter(&self, all: &Histories, now: Timestamp) -> Result<Filter, Refusal> {
        let event = |word: &String| {
            HookEvent::of_word(word).ok_or_else(|| {
                let known = HookEvent::ALL.map(HookEvent::word).join(", ");
                bad(format!("event: '{word}' is none; there are: {known}"))
            })
        };
        let status = |word: &String| {
            RunStatus::of_word(word).ok_or_else(|| {
                let known = RunStatus::ALL.map(RunStatus::word).join(", ");
                bad(format!("status: '{word}' is none; there are: {known}"))
            })
        };
        let before = |id: &String| match run(all, id)? {
            Some(found) => Ok((found.run.begun.started, found.run.begun.id)),
            None => Err(bad(format!("before: no run '{id}'"))),
        };
        let moment = |text: &String| since(text, now).map_err(|why| bad(format!("since: {why}")));
        Ok(Filter {
            event: self.event.as_ref().map(event).transpose()?,
            lease: self.lease.clone(),
            driver: self.driver.clone(),
            status: self.status.as_ref().map(status).transpose()?,
            since: self.since.as_ref().map(moment).transpose()?,
            before: self.before.as_ref().map(before).transpose()?,
            limit: None,
        })
    }
}

/// The run of this id.
pub(super) fn run(all: &Histories, id: &str) -> Result<Option<Found>, StoreError> {
    // The beginning of an id is not enough here: what it names could change.
    match id.parse::<Uuid>() {
        Ok(id) => Ok(all.find(&id.to_string())?.into_iter().next()),
        Err(_) => Ok(None),
    }
}

fn bad(error: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, error)
}
