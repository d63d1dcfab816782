//! Which lease has which exporter, and when that changes: leases × exporters × now, as a pure
//! function.
//!
//! ```text
//!  create ──► Scheduled ── begin ──► Waiting ── an exporter is free ──► Held ──► Ended
//!                 └──────────────────────┴────────── end, release ───────────────►┘
//! ```
//!
//! Leases that are over are handed out and forgotten, so that nothing here grows with history. What
//! waits is served in the order in which it has joined the queue. Between two calls, no lease that
//! waits could have an exporter that is free; so a new lease only has to look at the exporters, and
//! an exporter that becomes free only at the queue.

mod bench;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use self::bench::{Bench, Presence};
use super::lease::{Hold, How, Lease, Refusal, Stage};
use super::selector::Labels;
use super::terms::Terms;

/// Every lease that is not over, and every exporter.
#[derive(Debug, Default)]
pub struct Timetable {
    benches: BTreeMap<String, Bench>,
    leases: BTreeMap<String, Lease>,
    /// Those that wait, in the order of their turn.
    queue: BTreeSet<Turn>,
    /// When something happens to a lease by itself; each has one at most.
    alarms: BTreeSet<(Timestamp, String)>,
}

/// Whose turn it is: who has waited longest; of two who came together, the first by name.
type Turn = (Timestamp, String);

/// What has changed, to be written down and then told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The leases as they are now; those that are over are not in the timetable any more.
    pub leases: Vec<Lease>,
    /// The exporters that somebody else has now, or nobody.
    pub benches: BTreeSet<String>,
}

impl Timetable {
    /// A timetable with the exporters there are, and the leases that were not over when the last
    /// process was.
    pub fn restored(
        benches: BTreeMap<String, Bench>,
        leases: Vec<Lease>,
        now: Timestamp,
    ) -> (Self, Changes) {
        let mut timetable = Self { benches, ..Self::default() };
        let mut changes = Changes::default();
        for lease in leases {
            if let Stage::Held(hold) = &lease.stage {
                changes.benches.insert(hold.exporter.clone());
                if let Some(bench) = timetable.benches.get_mut(&hold.exporter) {
                    bench.lease = Some(lease.name.clone());
                }
            }
            timetable.enter(lease);
        }
        timetable.ring(now, &mut changes);
        timetable.reconsider(now, &mut changes);
        (timetable, changes)
    }

    /// The leases that are not over, by name.
    pub fn leases(&self) -> &BTreeMap<String, Lease> {
        &self.leases
    }

    /// The exporters, by name.
    pub fn benches(&self) -> &BTreeMap<String, Bench> {
        &self.benches
    }

    /// The leases that wait, in the order of their turn.
    pub fn queue(&self) -> impl Iterator<Item = &Lease> {
        self.queue.iter().filter_map(|(_, name)| self.leases.get(name))
    }

    /// The lease that an exporter has.
    pub fn tenant(&self, exporter: &str) -> Option<&Lease> {
        self.leases.get(self.benches.get(exporter)?.lease.as_ref()?)
    }

    /// When something is going to happen by itself.
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// A new lease.
    pub fn create(&mut self, lease: Lease, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let name = lease.name.clone();
        self.enter(lease);
        self.ring(now, &mut changes);
        self.consider(&name, now, &mut changes);
        changes.note(self.leases.get(&name));
        changes
    }

    /// Another beginning, end or duration for a lease.
    pub fn retime(&mut self, name: &str, terms: Terms, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let Some(mut lease) = self.leave(name) else { return changes };
        lease.terms = terms;
        lease.stage = match lease.stage {
            Stage::Scheduled | Stage::Waiting => Stage::Scheduled,
            held @ (Stage::Held(_) | Stage::Ended { .. }) => held,
        };
        self.enter(lease);
        self.ring(now, &mut changes);
        self.consider(name, now, &mut changes);
        changes.note(self.leases.get(name));
        changes
    }

    /// Another client for a lease.
    pub fn transfer(&mut self, name: &str, client: &str) -> Changes {
        let mut changes = Changes::default();
        if let Some(lease) = self.leases.get_mut(name) {
            lease.client = client.into();
            changes.benches.extend(lease.hold().map(|hold| hold.exporter.clone()));
            changes.note(Some(lease));
        }
        changes
    }

    /// The end of a lease. `deleted`: because its client has said so.
    pub fn release(&mut self, name: &str, deleted: bool, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        if let Some(lease) = self.leases.get_mut(name) {
            lease.deleted = deleted;
            self.end(name, How::Released, now, &mut changes);
        }
        changes
    }

    /// An exporter has come, perhaps for the first time. A lease that it has is still its own.
    pub fn welcome(
        &mut self,
        exporter: &str,
        labels: Labels,
        presence: Presence,
        now: Timestamp,
    ) -> Changes {
        let held = |lease: &&Lease| lease.hold().is_some_and(|hold| hold.exporter == exporter);
        let lease = self.leases.values().find(held).map(|lease| lease.name.clone());
        self.benches.insert(exporter.into(), Bench { labels, presence, lease });
        // It has to be told, whatever it is.
        let mut changes = Changes { benches: [exporter.into()].into(), ..Changes::default() };
        self.reconsider(now, &mut changes);
        changes
    }

    /// An exporter is gone, and may come back. A lease that it had is over.
    pub fn lose(&mut self, exporter: &str, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let Some(bench) = self.benches.get_mut(exporter) else { return changes };
        bench.presence = Presence::Offline;
        if let Some(lease) = bench.lease.clone() {
            self.end(&lease, How::Released, now, &mut changes);
        }
        changes
    }

    /// What an exporter is now.
    pub fn follow(&mut self, exporter: &str, presence: Presence, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        if let Some(bench) = self.benches.get_mut(exporter) {
            bench.presence = presence;
            self.serve(exporter, now, &mut changes);
        }
        changes
    }

    /// An exporter has other labels now: who waits may have it, or may wait for nothing.
    pub fn relabel(&mut self, exporter: &str, labels: Labels, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        if let Some(bench) = self.benches.get_mut(exporter) {
            bench.labels = labels;
            self.reconsider(now, &mut changes);
        }
        changes
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.ring(now, &mut changes);
        changes
    }

    /// Why a lease has no exporter yet.
    pub fn obstacle(&self, lease: &Lease) -> Refusal {
        let wanted: Vec<_> =
            self.benches.iter().filter(|(name, it)| lease.wants(name, &it.labels)).collect();
        let first = wanted.first().map(|(name, _)| name.as_str()).unwrap_or_default();
        let online = wanted.iter().filter(|(_, bench)| bench.presence != Presence::Offline);
        let (online, free) = online.fold((0, 0), |(online, free), (_, bench)| {
            (online + 1, free + usize::from(bench.lease.is_none()))
        });
        let (reason, message) = match (online, free) {
            (0, _) => {
                let count = wanted.len();
                ("Offline", format!("none of the {count} matching exporters ({first}) is online"))
            }
            (_, 0) => ("NotAvailable", format!("all {online} matching exporters are leased")),
            (_, free) => (
                "NotReady",
                format!("none of {free} exporters is ready: a previous lease is being cleaned up"),
            ),
        };
        Refusal { reason: reason.into(), message }
    }

    /// Does everything that is due.
    fn ring(&mut self, now: Timestamp, changes: &mut Changes) {
        while let Some((at, _)) = self.alarms.first()
            && *at <= now
            && let Some((_, name)) = self.alarms.pop_first()
        {
            match self.leases.get(&name).map(|lease| &lease.stage) {
                Some(Stage::Scheduled) => {
                    if let Some(mut lease) = self.leave(&name) {
                        lease.stage = Stage::Waiting;
                        self.enter(lease);
                        self.consider(&name, now, changes);
                    }
                }
                // A client that waits for an exporter only hears of what can't be satisfied.
                Some(Stage::Waiting) => {
                    let message = "the lease's time was over before an exporter was free".into();
                    let refusal = Refusal { reason: "NotAvailable".into(), message };
                    self.end(&name, How::Unsatisfiable(refusal), now, changes);
                }
                Some(Stage::Held(_)) => self.end(&name, How::Expired, now, changes),
                Some(Stage::Ended { .. }) | None => {}
            }
        }
    }

    /// Looks for an exporter for a lease that waits.
    fn consider(&mut self, name: &str, now: Timestamp, changes: &mut Changes) {
        let Some(lease) = self.leases.get(name) else { return };
        match lease.stage {
            Stage::Scheduled | Stage::Held(_) | Stage::Ended { .. } => return,
            Stage::Waiting => {}
        }
        if let Some(refusal) = self.refusal(lease) {
            return self.end(name, How::Unsatisfiable(refusal), now, changes);
        }
        let free = self
            .benches
            .iter()
            .find(|(exporter, bench)| bench.is_free() && lease.wants(exporter, &bench.labels));
        if let Some((exporter, _)) = free {
            let exporter = exporter.clone();
            self.assign(name, &exporter, now, changes);
        } else {
            changes.note(self.leases.get(name));
        }
    }

    /// Looks for an exporter for everybody who waits.
    fn reconsider(&mut self, now: Timestamp, changes: &mut Changes) {
        let waiting: Vec<_> = self.queue.iter().map(|(_, name)| name.clone()).collect();
        for name in waiting {
            self.consider(&name, now, changes);
        }
    }

    /// Gives an exporter, if it is free, to whoever has waited longest for it.
    fn serve(&mut self, exporter: &str, now: Timestamp, changes: &mut Changes) {
        let Some(bench) = self.benches.get(exporter).filter(|bench| bench.is_free()) else {
            return;
        };
        let wants = |lease: &&Lease| lease.wants(exporter, &bench.labels);
        let mut waiting = self.queue.iter().filter_map(|(_, name)| self.leases.get(name));
        if let Some(lease) = waiting.find(wants) {
            let name = lease.name.clone();
            self.assign(&name, exporter, now, changes);
        }
    }

    fn assign(&mut self, name: &str, exporter: &str, now: Timestamp, changes: &mut Changes) {
        let Some(mut lease) = self.leave(name) else { return };
        lease.stage = Stage::Held(Hold { exporter: exporter.into(), since: now });
        if let Some(bench) = self.benches.get_mut(exporter) {
            bench.lease = Some(name.into());
        }
        self.enter(lease);
        changes.benches.insert(exporter.into());
        changes.note(self.leases.get(name));
    }

    fn end(&mut self, name: &str, how: How, now: Timestamp, changes: &mut Changes) {
        let Some(lease) = self.leave(name) else { return };
        let hold = match &lease.stage {
            Stage::Held(hold) => Some(hold.clone()),
            Stage::Scheduled | Stage::Waiting | Stage::Ended { .. } => None,
        };
        let exporter = hold.as_ref().map(|hold| hold.exporter.clone());
        changes.note(Some(&Lease { stage: Stage::Ended { hold, at: now, how }, ..lease }));
        let Some(exporter) = exporter else { return };
        changes.benches.insert(exporter.clone());
        if let Some(bench) = self.benches.get_mut(&exporter) {
            bench.lease = None;
            self.serve(&exporter, now, changes);
        }
    }

    /// Why no exporter will ever do.
    fn refusal(&self, lease: &Lease) -> Option<Refusal> {
        let selector = &lease.selector;
        let (reason, message) = match &lease.exporter_name {
            Some(name) => match self.benches.get(name) {
                None => ("ExporterNotFound", format!("Requested exporter {name} was not found")),
                Some(bench) if selector.matches(&bench.labels) => return None,
                Some(_) => (
                    "SelectorMismatch",
                    format!("Requested exporter {name} does not match selector {selector}"),
                ),
            },
            None => {
                let mut benches = self.benches.values();
                if benches.any(|bench| selector.matches(&bench.labels)) {
                    return None;
                }
                ("NoAccess", format!("no exporter of this lab matches selector {selector}"))
            }
        };
        Some(Refusal { reason: reason.into(), message })
    }

    /// Puts a lease where its stage belongs.
    fn enter(&mut self, lease: Lease) {
        let name = lease.name.clone();
        let alarm = match &lease.stage {
            Stage::Scheduled => Some(lease.queued()),
            Stage::Waiting => {
                self.queue.insert((lease.queued(), name.clone()));
                lease.terms.fixed_end()
            }
            Stage::Held(_) => lease.end(),
            Stage::Ended { .. } => return,
        };
        self.alarms.extend(alarm.map(|at| (at, name.clone())));
        self.leases.insert(name, lease);
    }

    /// Takes a lease out of everywhere.
    fn leave(&mut self, name: &str) -> Option<Lease> {
        let lease = self.leases.remove(name)?;
        self.queue.remove(&(lease.queued(), name.to_owned()));
        let alarms = [Some(lease.queued()), lease.terms.fixed_end(), lease.end()];
        for at in alarms.into_iter().flatten() {
            self.alarms.remove(&(at, name.to_owned()));
        }
        Some(lease)
    }
}

impl Changes {
    /// The last word on a lease counts.
    fn note(&mut self, lease: Option<&Lease>) {
        let Some(lease) = lease else { return };
        match self.leases.iter_mut().find(|noted| noted.name == lease.name) {
            Some(noted) => noted.clone_from(lease),
            None => self.leases.push(lease.clone()),
        }
    }
}
