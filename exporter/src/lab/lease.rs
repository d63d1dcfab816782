//! A lease of the lab: what was asked for, and what has become of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::selector::{Labels, Selector};
use super::terms::Terms;

/// What the keys of tags have in front of them as labels of a lease.
pub const TAG_PREFIX: &str = "metadata.jumpstarter.dev/";

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name, which no other lease has or had.
    pub name: String,
    /// The client that holds it.
    pub client: String,
    /// What the exporter's labels have to be.
    pub selector: Selector,
    /// The exporter that it has to be, if that was said.
    pub exporter_name: Option<String>,
    /// It may be an exporter that is out of service. Only remembered: no exporter of a lab is.
    pub allow_disabled: bool,
    /// When.
    pub terms: Terms,
    /// What its client finds it by.
    pub tags: BTreeMap<String, String>,
    /// What hooks are to know.
    pub context: BTreeMap<String, String>,
    /// When it was asked for.
    pub created: Timestamp,
    /// How far it has come.
    pub stage: Stage,
    /// Its client has said that it may go.
    pub deleted: bool,
}

/// How far a lease has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its time has not come yet.
    Scheduled,
    /// It waits for an exporter.
    Waiting,
    /// It has one.
    Held(Hold),
    /// It is over.
    Ended {
        /// The exporter that it had, if it came so far.
        hold: Option<Hold>,
        /// Since when it is over.
        at: Timestamp,
        /// Why.
        how: How,
    },
}

/// The exporter that a lease has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub exporter: String,
    /// Since when.
    pub since: Timestamp,
}

/// Why a lease is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It was given back.
    Released,
    /// Its time was up.
    Expired,
    /// There was no exporter for it.
    Unsatisfiable(Refusal),
}

/// Why there is no exporter for a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The protocol's word for it.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Lease {
    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        match self.stage {
            Stage::Scheduled | Stage::Waiting | Stage::Held(_) => false,
            Stage::Ended { .. } => true,
        }
    }

    /// The exporter that it has or had.
    pub fn hold(&self) -> Option<&Hold> {
        match &self.stage {
            Stage::Scheduled | Stage::Waiting => None,
            Stage::Held(hold) => Some(hold),
            Stage::Ended { hold, .. } => hold.as_ref(),
        }
    }

    /// When it is over, as far as is known.
    pub fn end(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Scheduled | Stage::Waiting => self.terms.fixed_end(),
            Stage::Held(hold) => Some(self.terms.end_if(hold.since)),
            Stage::Ended { at, .. } => Some(*at),
        }
    }

    /// How long it has had its exporter.
    pub fn held_for(&self, now: Timestamp) -> Option<SignedDuration> {
        let end = match &self.stage {
            Stage::Scheduled | Stage::Waiting | Stage::Held(_) => now,
            Stage::Ended { at, .. } => *at,
        };
        self.hold().map(|hold| end.duration_since(hold.since).max(SignedDuration::ZERO))
    }

    /// When it joins the queue, or has.
    pub fn queued(&self) -> Timestamp {
        self.terms.begin.map_or(self.created, |begin| begin.max(self.created))
    }

    /// Whether an exporter would do.
    pub fn wants(&self, exporter: &str, labels: &Labels) -> bool {
        self.exporter_name.as_ref().is_none_or(|name| name == exporter)
            && self.selector.matches(labels)
    }

    /// What lists are filtered by: what its selector wants with `=`, and its tags.
    pub fn labels(&self) -> Labels {
        let wanted = self.selector.equalities().filter(|(key, _)| !key.starts_with(TAG_PREFIX));
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let tags =
            self.tags.iter().map(|(key, value)| (format!("{TAG_PREFIX}{key}"), value.clone()));
        wanted.chain(tags).collect()
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::Expired => f.write_str("its time was up"),
            Self::Unsatisfiable(refusal) => f.write_str(&refusal.message),
        }
    }
}
