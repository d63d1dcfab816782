//! Who works at the desk.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::super::lease::{Lease, Stage};
use super::super::refused::Refused;
use super::super::timetable::{Bench, Changes, Presence, Timetable};
use super::{ALL_LEASES, CLIENT_LEASES, Desk, Order, Query, Seen, Update, unanswered};
use crate::activity;
use crate::lease::scheduled::{Assignment, Claim};

/// The clock may be set while something is waited for.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Owns the timetable.
pub(super) struct Clerk {
    timetable: Timetable,
    desk: Desk,
}

impl Clerk {
    /// Takes up the leases that an earlier process has left.
    pub(super) async fn begin(desk: Desk, leases: Vec<Lease>, now: Timestamp) -> Self {
        let benches = desk.places.all().into_iter().map(|(name, place)| {
            let presence = Presence::from(place.now().status);
            (name, Bench { labels: place.labels(), presence, lease: None })
        });
        let benches: BTreeMap<_, _> = benches.collect();
        let names: Vec<_> = benches.keys().cloned().collect();
        let (timetable, mut changes) = Timetable::restored(benches, leases, now);
        // Everybody is told something.
        changes.benches.extend(names.iter().cloned());
        let mut clerk = Self { timetable, desk };
        clerk.settle(changes).await;
        for name in &names {
            clerk.collect(name, now).await;
        }
        clerk
    }

    /// Works for as long as it is polled.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Order>,
        mut looks: watch::Receiver<()>,
    ) {
        loop {
            let alarm = self.timetable.next_alarm();
            let alarm = async {
                match alarm {
                    Some(at) => sleep(until(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.take(order).await,
                    None => return,
                },
                Ok(()) = looks.changed() => self.tell_what_goes_on(),
                () = alarm => {
                    let changes = self.timetable.advance(Timestamp::now());
                    self.settle(changes).await;
                }
            }
        }
    }

    async fn take(&mut self, order: Order) {
        let now = Timestamp::now();
        // Who has asked may have gone; what was decided counts all the same.
        match order {
            Order::Create(lease, reply) => drop(reply.send(self.create(*lease, now).await)),
            Order::Update(name, update, reply) => {
                drop(reply.send(self.update(&name, update, now).await));
            }
            Order::Delete { name, caller, reply } => {
                drop(reply.send(self.delete(&name, &caller, now).await));
            }
            Order::Lease(name, reply) => drop(reply.send(self.seen(&name))),
            Order::Live(query, reply) => drop(reply.send(Ok(self.live(&query)))),
            Order::Arrived(exporter) => {
                let Some(place) = self.desk.places.get(&exporter) else { return };
                let presence = Presence::from(place.now().status);
                let changes = self.timetable.welcome(&exporter, place.labels(), presence, now);
                self.settle(changes).await;
                self.collect(&exporter, now).await;
            }
            Order::Left(exporter) => {
                let changes = self.timetable.lose(&exporter, now);
                self.settle(changes).await;
            }
            Order::Presence(exporter, presence) => {
                let changes = self.timetable.follow(&exporter, presence, now);
                self.settle(changes).await;
            }
            Order::Labels(exporter, labels) => {
                let changes = self.timetable.relabel(&exporter, labels, now);
                self.settle(changes).await;
            }
            Order::Returned(lease) => self.returned(&lease, now).await,
        }
    }

    async fn create(&mut self, lease: Lease, now: Timestamp) -> Result<Seen, Refused> {
        let (name, client) = (lease.name.clone(), lease.client.clone());
        let leases = self.timetable.leases();
        if leases.contains_key(&name) {
            return Err(Refused::Exists(name));
        }
        if leases.len() >= ALL_LEASES {
            return Err(Refused::Full(leases.len()));
        }
        if leases.values().filter(|lease| lease.client == client).count() >= CLIENT_LEASES {
            return Err(Refused::TooMany { client, count: CLIENT_LEASES, what: "leases" });
        }
        match self.desk.ended(name.clone()).await {
            Err(Refused::NoLease(_)) => {}
            Ok(_) => return Err(Refused::Exists(name)),
            Err(refused) => return Err(refused),
        }
        tracing::info!(lease = name, client, "a lease is asked for: {}", lease.selector);
        let changes = self.timetable.create(lease, now);
        self.settled(changes, &name).await
    }

    async fn update(
        &mut self,
        name: &str,
        update: Update,
        now: Timestamp,
    ) -> Result<Seen, Refused> {
        let Update { caller, wanted, client } = update;
        let Some(lease) = self.timetable.leases().get(name) else {
            let ended = self.desk.ended(name.into()).await?;
            let is_own = ended.lease.client == caller;
            return Err(if is_own { Refused::Over } else { Refused::NotYours("UpdateLease") });
        };
        if lease.client != caller {
            return Err(Refused::NotYours("UpdateLease"));
        }
        let is_held = lease.hold().is_some();
        let terms = if wanted.is_empty() {
            None
        } else {
            let terms =
                lease.terms.changed(wanted).map_err(|it| Refused::Invalid(it.to_string()))?;
            if is_held && wanted.begin.is_some() && wanted.begin != lease.terms.begin {
                return Err(Refused::Started);
            }
            Some(terms)
        };
        if client.is_some() && !is_held {
            return Err(Refused::NotStarted);
        }
        let mut changes = Changes::default();
        if let Some(client) = client {
            tracing::info!(lease = name, client, "the lease is handed over by {caller}");
            changes = self.timetable.transfer(name, &client);
        }
        if let Some(terms) = terms {
            let Changes { leases, benches } = self.timetable.retime(name, terms, now);
            changes.leases.extend(leases);
            changes.benches.extend(benches);
        }
        self.settled(changes, name).await
    }

    async fn delete(&mut self, name: &str, caller: &str, now: Timestamp) -> Result<(), Refused> {
        let denied = Refused::NotYours("DeleteLease");
        let Some(lease) = self.timetable.leases().get(name) else {
            let Seen { lease, .. } = self.desk.ended(name.into()).await?;
            if lease.client != caller {
                return Err(denied);
            }
            if lease.deleted {
                return Err(Refused::Released(name.into()));
            }
            // Its end has come before its client could say so.
            self.keep(vec![Lease { deleted: true, ..lease }]).await;
            return Ok(());
        };
        if lease.client != caller {
            return Err(denied);
        }
        let changes = self.timetable.release(name, true, now);
        self.settle(changes).await;
        Ok(())
    }

    /// The exporter has finished with a lease.
    async fn returned(&mut self, lease: &str, now: Timestamp) {
        let changes = self.timetable.release(lease, false, now);
        self.settle(changes).await;
    }

    /// Takes back the lease that an exporter has given back just before its process has ended, or it
    /// itself.
    async fn collect(&mut self, exporter: &str, now: Timestamp) {
        if let Some(lease) = self.desk.places.get(exporter).and_then(|it| it.schedule.owed()) {
            self.returned(&lease, now).await;
        }
    }

    /// Says who has what, and who waits.
    fn tell_what_goes_on(&self) {
        let now = Timestamp::now();
        let lasting =
            |since: Timestamp| activity::in_words(now.duration_since(since).unsigned_abs());
        for (name, bench) in self.timetable.benches() {
            let presence = format!("{:?}", bench.presence).to_lowercase();
            activity::say(&match self.timetable.tenant(name) {
                None => format!("lab: {name} is {presence}, and nobody has it"),
                Some(lease) => {
                    let since = lease.hold().map_or(lease.created, |hold| hold.since);
                    let (lease, client, since) = (&lease.name, &lease.client, lasting(since));
                    format!(
                        "lab: {name} is {presence}; {client} has it with lease {lease}, for {since}"
                    )
                }
            });
        }
        for lease in self.timetable.queue() {
            let (name, client, since) = (&lease.name, &lease.client, lasting(lease.queued()));
            let obstacle = self.timetable.obstacle(lease).message;
            activity::say(&format!(
                "lab: {client} waits with lease {name}, for {since}: {obstacle}"
            ));
        }
    }

    fn seen(&self, name: &str) -> Result<Seen, Refused> {
        let lease = self.timetable.leases().get(name);
        let lease = lease.ok_or_else(|| Refused::NoLease(name.into()))?.clone();
        let obstacle = match lease.stage {
            Stage::Waiting => Some(self.timetable.obstacle(&lease)),
            Stage::Scheduled | Stage::Held(_) | Stage::Ended { .. } => None,
        };
        Ok(Seen { lease, obstacle })
    }

    fn live(&self, query: &Query) -> Vec<Seen> {
        let Query { filter, page, .. } = query;
        let leases = self.timetable.leases();
        let names = leases
            .iter()
            .filter(|(name, lease)| **name > page.after && filter.matches(&lease.labels()))
            .map(|(name, _)| name)
            .take(page.size + 1);
        names.filter_map(|name| self.seen(name).ok()).collect()
    }

    /// Settles, and shows what has become of a lease.
    async fn settled(&mut self, changes: Changes, name: &str) -> Result<Seen, Refused> {
        let last = changes.leases.iter().rfind(|lease| lease.name == name).cloned();
        self.settle(changes).await;
        match (self.seen(name), last) {
            (Ok(seen), _) => Ok(seen),
            (Err(_), Some(lease)) => Ok(Seen { lease, obstacle: None }),
            (Err(refused), None) => Err(refused),
        }
    }

    /// Writes down what has changed, and only then lets anybody know.
    async fn settle(&mut self, changes: Changes) {
        let Changes { leases, benches } = changes;
        for lease in &leases {
            tell(lease);
        }
        self.keep(leases).await;
        for exporter in benches {
            let Some(place) = self.desk.places.get(&exporter) else { continue };
            place.schedule.say(match self.timetable.tenant(&exporter) {
                None => Assignment::Vacant,
                Some(lease) => Assignment::Leased(Claim {
                    name: lease.name.clone(),
                    client: lease.client.clone(),
                    context: lease.context.clone(),
                }),
            });
        }
    }

    async fn keep(&self, leases: Vec<Lease>) {
        if !leases.is_empty()
            && let Err(error) = self.desk.store.ask(|database| database.save(leases)).await
        {
            drop(unanswered(error));
        }
    }
}

/// Says what has become of a lease.
fn tell(lease: &Lease) {
    let (name, client) = (&lease.name, &lease.client);
    match &lease.stage {
        Stage::Scheduled | Stage::Waiting => {}
        Stage::Held(hold) => {
            tracing::info!(lease = name, client, "the lease has {}", hold.exporter);
        }
        Stage::Ended { how, .. } => {
            tracing::info!(lease = name, client, "the lease is over: {how}");
        }
    }
}

/// How long to sleep.
fn until(at: Timestamp) -> Duration {
    let left = at.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default().min(LONGEST_SLEEP)
}
