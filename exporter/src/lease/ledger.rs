//! What a restart would know of a bench, kept in step with its machine.

use std::time::Duration;

use hooks::leftovers::{self, Gone};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::machine::Phase;
use super::machine::journal::Journal;
use super::overview::Overview;
use crate::store::{End, HookEvent, Quarantined, Recovery, Store, Write};

/// How long what a killed process has left behind may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Keeps the journal of one machine in the store, and shows what it says.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    /// What the last process has left.
    recovery: Recovery,
    /// What is in the store.
    journal: Journal,
    overview: watch::Sender<Overview>,
}

impl Ledger {
    /// A ledger that goes on where an earlier process has stopped.
    pub fn new(store: Store, recovery: Recovery) -> Self {
        let journal = Journal {
            lease: recovery.lease.clone(),
            failures: recovery.failures,
            quarantine: recovery
                .quarantine
                .as_ref()
                .map(|quarantine| (quarantine.reason.clone(), quarantine.cause)),
        };
        let since = recovery.quarantine.as_ref().map_or_else(Timestamp::now, |found| found.since);
        let overview = watch::Sender::new(Overview::default().follow(&journal, since));
        Self { store, recovery, journal, overview }
    }

    /// What the bench is about, as it changes.
    pub fn overview(&self) -> watch::Receiver<Overview> {
        self.overview.subscribe()
    }

    /// What to go on with: what is kept, and what follows from it.
    pub fn journal(&self) -> Journal {
        let journal = self.journal.clone();
        if self.recovery.repaired {
            return Journal { quarantine: None, failures: 0, ..journal };
        }
        journal
    }

    /// Why the bench is out of service, if it is.
    pub fn quarantine(&self) -> Option<String> {
        self.journal.quarantine.as_ref().map(|(reason, _)| reason.clone())
    }

    /// Ends what the last process has left running, and has what this one starts known to the next.
    pub async fn end_leftovers(&mut self) {
        if let Some(mark) = left_behind(self.recovery.process, leftovers::mark()) {
            for (process, gone) in leftovers::end(mark, GRACE).await {
                match gone {
                    Gone::Yes => tracing::warn!("ended {process}, left behind by a crash"),
                    Gone::No => {
                        tracing::error!("{process}, left behind by a crash, can't be ended");
                    }
                }
            }
        }
        if let Some(mark) = leftovers::mark() {
            self.store.commit(vec![Write::Process(mark)]).await;
        }
    }

    /// Makes durable what has changed in a journal, together with the runs of hooks that this
    /// follows from or leads to. Returns when nothing that is done because of it could be forgotten
    /// in a crash.
    pub async fn keep(&mut self, journal: Option<Journal>, runs: Vec<Write>) {
        let mut writes = runs;
        if let Some(journal) = journal
            && journal != self.journal
        {
            let overview = self.overview.borrow().follow(&journal, Timestamp::now());
            writes.extend(changes(&self.journal, &journal, &overview));
            self.journal = journal;
            self.overview.send_replace(overview);
        }
        if !writes.is_empty() {
            self.store.commit(writes).await;
        }
    }

    /// How a hook of the present lease ended, if an earlier process saw its end.
    pub fn recorded(&self, phase: Phase) -> Option<End> {
        let (lease, _) = self.journal.lease.as_ref()?;
        let (recovered, _) = self.recovery.lease.as_ref()?;
        if lease.id != recovered.id {
            return None;
        }
        let of_phase =
            |(event, end): &(HookEvent, End)| (*event == HookEvent::Lease(phase)).then_some(*end);
        self.recovery.ended.iter().rev().find_map(of_phase)
    }
}

/// The mark of what was left behind by the last run of an exporter. If that was in this very process,
/// nothing was: other exporters have the same mark, and whoever starts a process here ends it.
fn left_behind(last: Option<Uuid>, own: Option<Uuid>) -> Option<Uuid> {
    last.filter(|last| Some(*last) != own)
}

/// What has to be written when one journal follows another.
fn changes(before: &Journal, after: &Journal, overview: &Overview) -> Vec<Write> {
    let mut writes = Vec::new();
    // That there is no lease any more was written with its end.
    if let Some((lease, progress)) = &after.lease
        && before.lease != after.lease
    {
        writes.push(Write::Lease(lease.clone(), *progress));
    }
    if before.failures != after.failures {
        writes.push(Write::FailuresInARow(after.failures));
    }
    match &after.quarantine {
        same if *same == before.quarantine => {}
        Some((reason, cause)) => {
            let since = overview.quarantine.as_ref().map_or_else(Timestamp::now, |now| now.since);
            let (reason, cause) = (reason.clone(), *cause);
            writes.push(Write::Quarantined(Quarantined { reason, cause, since }));
        }
        None => writes.push(Write::QuarantineLifted),
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Lease;
    use crate::lease::machine::journal::Progress;
    use crate::lease::machine::{Cause, Prepared};

    fn lease() -> Lease {
        Lease {
            id: Uuid::from_u128(7),
            name: "lease-1".into(),
            client: "alice".into(),
            context: [].into(),
        }
    }

    fn no_serial() -> Quarantined {
        let since = Timestamp::UNIX_EPOCH;
        Quarantined { reason: "no serial".into(), cause: Cause::Leases, since }
    }

    fn written(before: &Journal, after: &Journal) -> Vec<Write> {
        let overview = Overview::default()
            .follow(before, Timestamp::UNIX_EPOCH)
            .follow(after, Timestamp::UNIX_EPOCH);
        changes(before, after, &overview)
    }

    #[test]
    fn an_exporter_that_is_started_again_ends_nothing_of_the_others_in_its_process() {
        let (one, other) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        assert_eq!(left_behind(one, other), one);
        assert_eq!(left_behind(one, None), one);
        assert_eq!(left_behind(one, one), None);
        assert_eq!(left_behind(None, one), None);
    }

    #[test]
    fn what_has_changed_is_written_and_nothing_else() {
        let none = Journal::default();
        let preparing =
            Journal { lease: Some((lease(), Progress::Preparing)), ..Journal::default() };
        let over = Journal {
            lease: Some((lease(), Progress::Over)),
            failures: 3,
            quarantine: Some(("no serial".into(), Cause::Leases)),
        };
        assert_eq!(written(&none, &preparing), [Write::Lease(lease(), Progress::Preparing)]);
        assert_eq!(
            written(&preparing, &over),
            [
                Write::Lease(lease(), Progress::Over),
                Write::FailuresInARow(3),
                Write::Quarantined(no_serial()),
            ]
        );
        let vacant = Journal { lease: None, ..over.clone() };
        assert_eq!(written(&over, &vacant), []);
        assert_eq!(written(&vacant, &none), [Write::FailuresInARow(0), Write::QuarantineLifted]);
    }

    #[test]
    fn a_repair_that_nobody_lived_to_see_the_success_of_counts() {
        let recovery =
            Recovery { quarantine: Some(no_serial()), failures: 5, ..Recovery::default() };
        let went_on = |repaired| {
            Ledger::new(Store::none(), Recovery { repaired, ..recovery.clone() }).journal()
        };
        assert_eq!(went_on(false).quarantine, Some(("no serial".into(), Cause::Leases)));
        assert_eq!(went_on(true), Journal::default());
    }

    #[test]
    fn only_the_recovered_lease_has_recorded_ends() {
        let recovery = Recovery {
            lease: Some((lease(), Progress::Preparing)),
            ended: vec![(HookEvent::Lease(Phase::Before), End::Exited(0))],
            ..Recovery::default()
        };
        let mut ledger = Ledger::new(Store::none(), recovery);
        assert_eq!(ledger.recorded(Phase::Before), Some(End::Exited(0)));
        assert_eq!(ledger.recorded(Phase::After), None);
        let other = Lease { id: Uuid::from_u128(8), ..lease() };
        ledger.journal.lease = Some((other, Progress::Prepared(Prepared::Passed)));
        assert_eq!(ledger.recorded(Phase::Before), None);
    }
}
