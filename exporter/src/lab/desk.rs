//! The one task that owns the lab's leases. What it decides is written down first, then told to the
//! exporters, and then to whoever has asked.

mod clerk;

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::clerk::Clerk;
use super::lease::{Lease, Refusal};
use super::page::Page;
use super::place::{Place, Places};
use super::refused::Refused;
use super::selector::{Labels, Selector};
use super::store::{Store, StoreError};
use super::terms::Wanted;
use super::timetable::Presence;
use crate::shutdown::Shutdown;

/// How many orders may wait.
const WAITING: usize = 64;

/// How many leases that are not over a client may have, and all of them together.
pub const CLIENT_LEASES: usize = 1_000;
const ALL_LEASES: usize = 20_000;

/// Where leases are asked for. Clones are the same.
#[derive(Debug, Clone)]
pub struct Desk {
    orders: mpsc::Sender<Order>,
    places: Places,
    store: Store,
}

/// A lease, and why it has no exporter if it waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The lease.
    pub lease: Lease,
    /// What it waits for.
    pub obstacle: Option<Refusal>,
}

/// Which leases a list is to show.
#[derive(Debug, Clone)]
pub struct Query {
    /// What their labels have to be.
    pub filter: Selector,
    /// Those that are over, too.
    pub ended: bool,
    /// Which part of the list.
    pub page: Page,
}

/// What is to change about a lease.
#[derive(Debug, Clone)]
pub struct Update {
    /// Whose lease it has to be.
    pub caller: String,
    /// Its times.
    pub wanted: Wanted,
    /// Who is to have it.
    pub client: Option<String>,
}

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// What can be asked of the clerk.
enum Order {
    Create(Box<Lease>, Reply<Seen>),
    Update(String, Update, Reply<Seen>),
    Delete { name: String, caller: String, reply: Reply<()> },
    Lease(String, Reply<Seen>),
    Live(Query, Reply<Vec<Seen>>),
    Arrived(String),
    Presence(String, Presence),
    Left(String),
    Labels(String, Labels),
    Returned(String),
}

impl Desk {
    /// Opens the desk for these exporters, and takes up the leases that are not over. It is served by
    /// a task of `tasks` until it is told to stop at once.
    pub async fn open(
        store: Store,
        places: Places,
        tasks: &TaskTracker,
        told: &Shutdown,
    ) -> Result<Self, StoreError> {
        let (orders, inbox) = mpsc::channel(WAITING);
        let desk = Self { orders, places, store };
        let leases = desk.store.ask(|database| database.live_leases()).await?;
        let clerk = Clerk::begin(desk.clone(), leases, Timestamp::now()).await;
        let stop = &told.abort;
        let (usher, over) = (usher(desk.clone(), stop.clone()), stop.clone());
        tasks.spawn(async move { over.run_until_cancelled(usher).await });
        let (stop, looks) = (stop.clone(), told.looks());
        tasks.spawn(async move { stop.run_until_cancelled(clerk.run(inbox, looks)).await });
        Ok(desk)
    }

    /// The exporters.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// A new lease. If an exporter is free for it, it has it when this returns.
    pub async fn create(&self, lease: Lease) -> Result<Seen, Refused> {
        self.ask(|reply| Order::Create(Box::new(lease), reply)).await
    }

    /// Changes a lease.
    pub async fn update(&self, name: &str, update: Update) -> Result<Seen, Refused> {
        self.ask(|reply| Order::Update(name.into(), update, reply)).await
    }

    /// Gives a lease back.
    pub async fn delete(&self, name: &str, caller: &str) -> Result<(), Refused> {
        let (name, caller) = (name.to_owned(), caller.to_owned());
        self.ask(|reply| Order::Delete { name, caller, reply }).await
    }

    /// A lease by its name, whether it is over or not.
    pub async fn lease(&self, name: &str) -> Result<Seen, Refused> {
        match self.ask(|reply| Order::Lease(name.into(), reply)).await {
            Err(Refused::NoLease(name)) => self.ended(name).await,
            found => found,
        }
    }

    /// A part of a list: one more than its page has, if there are more.
    pub async fn leases(&self, query: Query) -> Result<Vec<Seen>, Refused> {
        if !query.ended {
            return self.ask(|reply| Order::Live(query, reply)).await;
        }
        let Query { filter, page, .. } = query;
        let wanted = move |lease: &Lease| filter.matches(&lease.labels());
        let found = self.store.ask(move |database| database.page(&page, wanted)).await;
        let mut seen = Vec::new();
        for lease in found.map_err(unanswered)? {
            // What it waits for, only the clerk knows.
            seen.push(match lease.has_ended() {
                true => Seen { lease, obstacle: None },
                false => self.lease(&lease.name).await?,
            });
        }
        Ok(seen)
    }

    async fn ended(&self, name: String) -> Result<Seen, Refused> {
        let wanted = name.clone();
        let found = self.store.ask(move |database| database.lease(&wanted)).await;
        let lease = found.map_err(unanswered)?.ok_or(Refused::NoLease(name))?;
        Ok(Seen { lease, obstacle: None })
    }

    async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }
}

/// Tells the clerk of exporters that come, and what becomes of each.
async fn usher(desk: Desk, stop: CancellationToken) {
    let mut known = BTreeSet::new();
    let mut followers = JoinSet::new();
    let mut news = desk.places.follow();
    loop {
        let names: Vec<_> = news.borrow_and_update().keys().cloned().collect();
        for name in names {
            if known.insert(name.clone()) {
                followers.spawn(attend(name, desk.clone(), stop.clone()));
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// Follows every run of an exporter, one after the other. An exporter that is gone because everything
/// ends has not left: what it had is for the next process.
async fn attend(name: String, desk: Desk, stop: CancellationToken) {
    let Desk { orders, places, .. } = desk;
    let mut news = places.follow();
    let mut last: Option<Place> = None;
    loop {
        let is_next =
            |place: &&Place| !place.is_vacant() && last.as_ref().is_none_or(|last| !last.is(place));
        let next = news.wait_for(|places| places.get(&name).is_some_and(|it| is_next(&it))).await;
        let next = next.map(|places| places.get(&name).cloned());
        let Ok(Some(place)) = next else { return };
        if orders.send(Order::Arrived(name.clone())).await.is_err() {
            return;
        }
        follow(name.clone(), place.clone(), orders.clone()).await;
        if stop.is_cancelled() || orders.send(Order::Left(name.clone())).await.is_err() {
            return;
        }
        last = Some(place);
    }
}

/// Tells the clerk what becomes of an exporter, until it runs no more.
async fn follow(name: String, place: Place, orders: mpsc::Sender<Order>) {
    let presences = async {
        let mut status = place.status.clone();
        let mut last = None;
        loop {
            let is_new =
                |now: &crate::lease::status::Snapshot| last != Some(Presence::from(now.status));
            let Some(now) = status.wait_for(is_new).await else { return };
            let presence = Presence::from(now.status);
            last = Some(presence);
            if orders.send(Order::Presence(name.clone(), presence)).await.is_err() {
                return;
            }
        }
    };
    let returns = async {
        let mut returned = place.schedule.returned();
        while returned.changed().await.is_ok() {
            let lease = returned.borrow_and_update().clone();
            if let Some(lease) = lease
                && orders.send(Order::Returned(lease)).await.is_err()
            {
                return;
            }
        }
    };
    let labels = async {
        let mut config = place.config.clone();
        while config.changed().await.is_ok() {
            let labels = super::place::labels(&config.borrow_and_update());
            if orders.send(Order::Labels(name.clone(), labels)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(presences, returns, labels);
}

fn unanswered(error: StoreError) -> Refused {
    tracing::error!("{error}");
    Refused::Store("see the log".into())
}
