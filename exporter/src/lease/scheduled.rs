//! Leases that somebody outside schedules, a controller for example.
//!
//! ```text
//! Schedule ── Assignment ──► Scheduled ──► actor ──► machine
//!    ▲                           │
//!    └──── tenure, returned ─────┘
//! ```
//!
//! What the scheduler says is a state, not an event: the last word counts, and whoever was away for
//! a while has missed nothing. A lease is known by its name, also after a restart; one that the
//! bench has given back is never begun again.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::{Builder, Uuid};

use super::Lease;
use super::machine::{EndReason, Event};
use super::standing::LINGER;
use super::status::Reader;

/// How long the bench waits for the scheduler to hear that a lease was given back. After that it goes
/// on; the scheduler is told when it can be reached.
pub const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take on its way to a client.
const DELIVERY: Duration = Duration::from_millis(500);

/// How long the connections of a lease may take to notice that it is over.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What the scheduler says of the bench.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Assignment {
    /// Nothing so far.
    #[default]
    Unheard,
    /// Nobody has it.
    Vacant,
    /// Somebody has it.
    Leased(Claim),
}

/// A lease, as the scheduler tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Who holds it; empty where nobody says.
    pub client: String,
    /// What its client wants hooks to know, by name.
    pub context: BTreeMap<String, String>,
}

/// A lease for which the bench is open.
#[derive(Debug, Clone)]
pub struct Tenure {
    /// Its name.
    pub lease: String,
    /// Cancelled when nobody of this lease may reach the bench any more.
    pub over: CancellationToken,
    /// Owns the connections of its clients.
    pub connections: TaskTracker,
}

/// The bench's side.
#[derive(Debug)]
pub struct Scheduled {
    assignment: watch::Receiver<Assignment>,
    tenure: watch::Sender<Option<Tenure>>,
    returned: watch::Sender<Option<String>>,
    status: Reader,
    /// Owns the waiting for clients that look at how their lease has ended.
    tasks: TaskTracker,
}

/// The scheduler's side. Clones are the same.
#[derive(Debug, Clone)]
pub struct Schedule {
    assignment: watch::Sender<Assignment>,
    tenure: watch::Receiver<Option<Tenure>>,
    returned: watch::Receiver<Option<String>>,
}

/// Both sides. `returned` is the lease that an earlier process has given back, or has meant to.
pub fn schedule(status: Reader, returned: Option<String>) -> (Scheduled, Schedule) {
    let (assigner, assignment) = watch::channel(Assignment::Unheard);
    let (tenure, opened) = watch::channel(None);
    let (returned, given_back) = watch::channel(returned);
    let scheduled = Scheduled { assignment, tenure, returned, status, tasks: TaskTracker::new() };
    (scheduled, Schedule { assignment: assigner, tenure: opened, returned: given_back })
}

impl Schedule {
    /// Says what is.
    pub fn say(&self, assignment: Assignment) {
        self.assignment.send_if_modified(|said| {
            let is_new = *said != assignment;
            *said = assignment;
            is_new
        });
    }

    /// What was said last, as it changes.
    pub fn assignment(&self) -> watch::Receiver<Assignment> {
        self.assignment.subscribe()
    }

    /// The lease for which the bench is open, or was open last.
    pub fn tenure(&self) -> watch::Receiver<Option<Tenure>> {
        self.tenure.clone()
    }

    /// The lease that the bench has given back last.
    pub fn returned(&self) -> watch::Receiver<Option<String>> {
        self.returned.clone()
    }

    /// The lease that the scheduler still takes for the bench's, while the bench has given it back.
    pub fn owed(&self) -> Option<String> {
        match &*self.assignment.borrow() {
            Assignment::Unheard | Assignment::Vacant => None,
            Assignment::Leased(claim) => {
                self.returned.borrow().clone().filter(|name| *name == claim.name)
            }
        }
    }

    /// The scheduler knows that this lease was given back.
    pub fn settle(&self, lease: &str) {
        self.assignment.send_if_modified(|said| {
            let is_it = said.names(lease);
            if is_it {
                *said = Assignment::Vacant;
            }
            is_it
        });
    }
}

impl Scheduled {
    /// As [`super::assigner::Assigner::next`].
    pub async fn next(&self) -> Lease {
        let last = self.tenure.borrow().clone();
        if let Some(last) = last {
            last.over.cancelled().await;
            last.connections.close();
            timeout(LAST_MOMENT, last.connections.wait()).await.ok();
        }
        let mut assignment = self.assignment.clone();
        let returned = self.returned.borrow().clone();
        let is_new = |said: &Assignment| match said {
            Assignment::Unheard | Assignment::Vacant => false,
            Assignment::Leased(claim) => returned.as_ref() != Some(&claim.name),
        };
        match assignment.wait_for(is_new).await.map(|said| said.clone()) {
            Ok(Assignment::Leased(claim)) => claim.lease(),
            Ok(Assignment::Unheard | Assignment::Vacant) | Err(_) => std::future::pending().await,
        }
    }

    /// As [`super::assigner::Assigner::changed`].
    pub async fn changed(&self, lease: &Lease) -> Event {
        let mut assignment = self.assignment.clone();
        let is_other = |said: &Assignment| what_changed(said, lease).is_some();
        match assignment.wait_for(is_other).await.map(|said| what_changed(&said, lease)) {
            Ok(Some(event)) => event,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// As [`super::assigner::Assigner::opened`].
    pub fn opened(&mut self, lease: &Lease) {
        self.tenure.send_replace(Some(Tenure {
            lease: lease.name.clone(),
            over: CancellationToken::new(),
            connections: TaskTracker::new(),
        }));
    }

    /// As [`super::assigner::Assigner::release`].
    pub fn release(&mut self, lease: &Lease) -> impl Future<Output = ()> + Send + use<> {
        self.returned.send_replace(Some(lease.name.clone()));
        let (mut assignment, lease) = (self.assignment.clone(), lease.name.clone());
        async move {
            let is_known =
                |said: &Assignment| !(said.names(&lease) || *said == Assignment::Unheard);
            timeout(RELEASE_PATIENCE, assignment.wait_for(is_known)).await.map(drop).ok();
        }
    }

    /// As [`super::assigner::Assigner::closed`].
    pub fn closed(&mut self) {
        let Some(tenure) = self.tenure.borrow().clone() else { return };
        let status = self.status.clone();
        self.tasks.spawn(async move {
            let seen = async {
                timeout(LINGER, status.seen_by_all()).await.ok();
                sleep(DELIVERY).await;
            };
            tokio::select! {
                () = seen => {}
                // A client that has hung up waits for nothing, and the next one does not wait for it.
                () = status.deserted() => {}
            }
            tenure.over.cancel();
        });
    }
}

/// Whoever owned the bench is gone, and so is what its clients could reach.
impl Drop for Scheduled {
    fn drop(&mut self) {
        if let Some(tenure) = &*self.tenure.borrow() {
            tenure.over.cancel();
        }
    }
}

/// What an assignment means for a bench that has this lease.
fn what_changed(said: &Assignment, lease: &Lease) -> Option<Event> {
    match said {
        Assignment::Unheard => None,
        Assignment::Leased(claim) if claim.name == lease.name => {
            // Some controllers don't say who it is.
            let is_transferred = !claim.client.is_empty() && claim.client != lease.client;
            is_transferred.then(|| Event::Transferred(claim.client.clone()))
        }
        Assignment::Vacant | Assignment::Leased(_) => Some(Event::Ended(EndReason::Withdrawn)),
    }
}

impl Assignment {
    fn names(&self, lease: &str) -> bool {
        match self {
            Self::Unheard | Self::Vacant => false,
            Self::Leased(claim) => claim.name == lease,
        }
    }
}

impl Claim {
    fn lease(self) -> Lease {
        let Self { name, client, context } = self;
        Lease { id: id_of(&name), name, client, context }
    }
}

/// The id of a lease of this name. A scheduler gives no name twice; so a lease that is told of again
/// after a restart is the same one, and what was done for it is found under its id.
fn id_of(name: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let [head, _] = [0, 16].map(|from| std::array::from_fn(|byte| digest[from + byte]));
    Builder::from_custom_bytes(head).into_uuid()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::lease::status::Publisher;

    fn claim(name: &str, client: &str) -> Assignment {
        Assignment::Leased(Claim { name: name.into(), client: client.into(), context: [].into() })
    }

    async fn soon<T>(work: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::from_secs(60), work).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_begun_once_however_often_it_is_told_of() {
        let (_publisher, reader) = Publisher::new();
        let (mut scheduled, schedule) = schedule(reader, Some("old".into()));
        assert!(soon(scheduled.next()).await.is_none(), "nothing was heard");
        schedule.say(claim("old", "alice"));
        assert!(soon(scheduled.next()).await.is_none(), "it was given back before the restart");
        schedule.say(claim("one", "alice"));
        let lease = scheduled.next().await;
        assert_eq!((&*lease.name, &*lease.client), ("one", "alice"));
        assert_eq!(scheduled.next().await.id, lease.id, "the name makes the id");

        scheduled.opened(&lease);
        assert_eq!(schedule.owed(), None);
        let start = Instant::now();
        scheduled.release(&lease).await;
        assert_eq!(start.elapsed(), RELEASE_PATIENCE, "nobody answers");
        assert_eq!(schedule.owed().as_deref(), Some("one"));
        schedule.settle("one");
        scheduled.closed();
        schedule.say(claim("one", "alice"));
        assert!(soon(scheduled.next()).await.is_none());
        schedule.say(claim("two", "bob"));
        assert_eq!(scheduled.next().await.name, "two");
    }

    #[test]
    fn only_what_the_scheduler_has_said_changes_a_lease() {
        let lease =
            Claim { name: "one".into(), client: "alice".into(), context: [].into() }.lease();
        let changed = |said| what_changed(&said, &lease);
        assert_eq!(changed(Assignment::Unheard), None);
        assert_eq!(changed(claim("one", "alice")), None);
        assert_eq!(changed(claim("one", "")), None);
        assert_eq!(changed(claim("one", "bob")), Some(Event::Transferred("bob".into())));
        let over = Some(Event::Ended(EndReason::Withdrawn));
        assert_eq!(changed(Assignment::Vacant), over);
        assert_eq!(changed(claim("two", "alice")), over);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_lease_waits_until_nobody_of_the_last_is_connected() {
        let (publisher, reader) = Publisher::new();
        let (mut scheduled, schedule) = schedule(reader.clone(), None);
        schedule.say(claim("one", "alice"));
        let lease = scheduled.next().await;
        scheduled.opened(&lease);
        let tenure = schedule.tenure().borrow().clone().unwrap();
        let (over, viewer) = (tenure.over.clone(), reader.client());
        viewer.saw(&reader.current());
        tenure.connections.spawn(async move {
            over.cancelled().await;
            drop(viewer);
        });
        schedule.say(claim("two", "bob"));
        assert!(soon(scheduled.next()).await.is_none());
        publisher.publish(crate::lease::status::Status::Available, String::new());
        let start = Instant::now();
        scheduled.closed();
        assert_eq!(scheduled.next().await.name, "two");
        assert_eq!(
            start.elapsed(),
            LINGER + DELIVERY,
            "its client gets the time to see how it has ended"
        );
        assert!(tenure.connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_lease_does_not_wait_for_a_client_that_has_hung_up() {
        let (_publisher, reader) = Publisher::new();
        let (mut scheduled, schedule) = schedule(reader.clone(), None);
        schedule.say(claim("one", "alice"));
        let lease = scheduled.next().await;
        scheduled.opened(&lease);
        let client = reader.client();
        client.saw(&reader.current());
        schedule.say(claim("two", "bob"));
        scheduled.closed();
        let early = timeout(DELIVERY / 2, scheduled.next()).await;
        assert!(early.is_err(), "an answer may be on its way to it");
        drop(client);
        let hung_up = Instant::now();
        assert_eq!(scheduled.next().await.name, "two");
        assert_eq!(hung_up.elapsed(), Duration::ZERO);
    }
}
