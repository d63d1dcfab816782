//! What a bench is about, in a few facts: for people who ask.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Lease;
use super::machine::journal::{Journal, Progress};

/// Who has a bench, and whether it is in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview {
    /// The lease that the bench has, or that it is still owed something.
    pub lease: Option<Lease>,
    /// Why the bench is out of service, if it is.
    pub quarantine: Option<QuarantineOverview>,
    /// How many leases in a row have failed.
    pub failures: u32,
}

/// Why a bench is out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineOverview {
    /// For people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Overview {
    /// What a journal says. A quarantine that has begun since the last overview begins `now`.
    #[must_use]
    pub fn follow(&self, journal: &Journal, now: Timestamp) -> Self {
        let since = self.quarantine.as_ref().map_or(now, |quarantine| quarantine.since);
        let lease = journal.lease.as_ref().filter(|(_, progress)| match progress {
            Progress::Preparing | Progress::Prepared(_) | Progress::CleaningUp(..) => true,
            Progress::Over => false,
        });
        Self {
            lease: lease.map(|(lease, _)| lease.clone()),
            quarantine: journal
                .quarantine
                .clone()
                .map(|(reason, _)| QuarantineOverview { reason, since }),
            failures: journal.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::machine::Cause;

    #[test]
    fn a_quarantine_keeps_its_beginning_until_it_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let bad = |reason: &str| {
            let quarantine = Some((reason.into(), Cause::Leases));
            Journal { quarantine, ..Journal::default() }
        };
        let since = |overview: &Overview| overview.quarantine.as_ref().unwrap().since;
        let first = Overview::default().follow(&bad("no serial"), at(1));
        let second = first.follow(&bad("no power"), at(2));
        assert_eq!((since(&first), since(&second)), (at(1), at(1)));
        assert_eq!(second.quarantine.as_ref().unwrap().reason, "no power");
        let over = second.follow(&Journal::default(), at(3));
        assert_eq!(over, Overview::default());
        assert_eq!(since(&over.follow(&bad("no serial"), at(4))), at(4));
    }
}
