//! The status of an exporter, as the world sees it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// What an exporter is doing. The protocol's `ExporterStatus`, without its zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does not serve.
    Offline,
    /// It waits for a lease.
    Available,
    /// It prepares the bench for a lease.
    BeforeLeaseHook,
    /// A client may use the bench.
    LeaseReady,
    /// It cleans up after a lease.
    AfterLeaseHook,
    /// It could not prepare the bench.
    BeforeLeaseHookFailed,
    /// It could not clean up.
    AfterLeaseHookFailed,
}

/// One publication.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the exporter is doing.
    pub status: Status,
    /// Why, for people.
    pub message: String,
    /// How many publications there have been.
    pub version: u64,
    /// When.
    pub since: Timestamp,
    /// What it did before.
    pub previous: Option<Status>,
    /// Only those are meant who have had the lease that is over: there won't be another.
    pub is_farewell: bool,
    /// Cancelled as soon as the exporter is about to do something else. Whatever was admitted
    /// because of this status ends with it.
    pub period: CancellationToken,
}

/// The one place where a status leaves the exporter.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Snapshot>,
}

/// Reads what was published last.
#[derive(Debug, Clone)]
pub struct Reader {
    receiver: watch::Receiver<Snapshot>,
    viewers: Arc<Viewers>,
}

/// A connection through which somebody may follow the status. Shows whether a publication has been
/// seen by everybody who follows; dropped with the connection.
#[derive(Debug)]
pub struct Viewer {
    id: u64,
    /// A client's, who may be about to use the devices.
    is_client: bool,
    viewers: Arc<Viewers>,
}

/// Those who follow the status, and the latest version that each has seen.
#[derive(Debug, Default)]
struct Viewers {
    next_id: AtomicU64,
    /// How many connections of clients are open, whether they follow the status or not.
    clients: AtomicUsize,
    seen: Mutex<HashMap<u64, u64>>,
    changed: Notify,
}

impl Publisher {
    /// Starts with AVAILABLE, version 0.
    pub fn new() -> (Self, Reader) {
        let (sender, receiver) = watch::channel(Snapshot {
            status: Status::Available,
            message: String::new(),
            version: 0,
            since: Timestamp::now(),
            previous: None,
            is_farewell: false,
            period: CancellationToken::new(),
        });
        (Self { sender }, Reader { receiver, viewers: Arc::default() })
    }

    /// Publishes a status, also if it is the same as before.
    pub fn publish(&self, status: Status, message: String) {
        self.show(status, message, false);
    }

    /// Tells those who have had the last lease that it is over, in the one way that all of them know:
    /// AVAILABLE. Whoever gives leases must not take it for that.
    pub fn take_leave(&self) {
        self.show(Status::Available, "The lease is over, and the exporter goes".into(), true);
    }

    fn show(&self, status: Status, message: String, is_farewell: bool) {
        self.sender.send_modify(|snapshot| {
            snapshot.period.cancel();
            *snapshot = Snapshot {
                status,
                message,
                version: snapshot.version + 1,
                since: Timestamp::now(),
                previous: Some(snapshot.status),
                is_farewell,
                period: CancellationToken::new(),
            };
        });
    }

    /// Ends whatever was admitted because of the present status, and admits no more, while the
    /// status itself stays.
    pub fn end_period(&self) {
        self.sender.borrow().period.cancel();
    }

    /// The status published last.
    pub fn status(&self) -> Status {
        self.sender.borrow().status
    }
}

impl Reader {
    /// What was published last.
    pub fn current(&self) -> Snapshot {
        self.receiver.borrow().clone()
    }

    /// Whether there will be no more publications.
    pub fn is_closed(&self) -> bool {
        self.receiver.has_changed().is_err()
    }

    /// Waits for a publication that is wanted, and returns it; the present one counts. None if
    /// there will be no more.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&Snapshot) -> bool) -> Option<Snapshot> {
        self.receiver.wait_for(wanted).await.ok().map(|snapshot| snapshot.clone())
    }

    /// Returns once everybody who follows the status has seen the last publication or is gone.
    pub async fn seen_by_all(&self) {
        let version = self.receiver.borrow().version;
        loop {
            let changed = self.viewers.changed.notified();
            if self.viewers.seen().values().all(|seen| *seen >= version) {
                return;
            }
            changed.await;
        }
    }

    /// A connection that may come to follow the status.
    pub fn viewer(&self) -> Viewer {
        self.connect(false)
    }

    /// The same, of a client.
    pub fn client(&self) -> Viewer {
        self.viewers.clients.fetch_add(1, Ordering::Relaxed);
        self.connect(true)
    }

    fn connect(&self, is_client: bool) -> Viewer {
        let id = self.viewers.next_id.fetch_add(1, Ordering::Relaxed);
        Viewer { id, is_client, viewers: Arc::clone(&self.viewers) }
    }

    /// Waits until no connection of a client is open.
    pub async fn deserted(&self) {
        loop {
            let changed = self.viewers.changed.notified();
            if self.is_deserted() {
                return;
            }
            changed.await;
        }
    }

    /// Whether no connection of a client is open.
    pub fn is_deserted(&self) -> bool {
        self.clients() == 0
    }

    /// How many connections of clients are open.
    pub fn clients(&self) -> usize {
        self.viewers.clients.load(Ordering::Relaxed)
    }

    /// A mark by which [`newcomer`](Self::newcomer) tells who came later.
    pub fn mark(&self) -> u64 {
        self.viewers.next_id.load(Ordering::Relaxed)
    }

    /// Waits until somebody follows the status whose connection was made after `mark`.
    pub async fn newcomer(&self, mark: u64) {
        loop {
            let changed = self.viewers.changed.notified();
            if self.viewers.seen().keys().any(|id| *id >= mark) {
                return;
            }
            changed.await;
        }
    }
}

impl Viewer {
    /// Notes that this connection has been told of a publication.
    pub fn saw(&self, snapshot: &Snapshot) {
        self.viewers.seen().insert(self.id, snapshot.version);
        self.viewers.changed.notify_waiters();
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let has_followed = self.viewers.seen().remove(&self.id).is_some();
        if self.is_client {
            self.viewers.clients.fetch_sub(1, Ordering::Relaxed);
        }
        if has_followed || self.is_client {
            self.viewers.changed.notify_waiters();
        }
    }
}

impl Viewers {
    fn seen(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.seen.lock().expect("nothing panics while it holds the viewers")
    }
}

impl Status {
    /// Whether a hook or the bench has failed.
    pub fn is_failure(self) -> bool {
        match self {
            Self::BeforeLeaseHookFailed | Self::AfterLeaseHookFailed => true,
            Self::Offline
            | Self::Available
            | Self::BeforeLeaseHook
            | Self::LeaseReady
            | Self::AfterLeaseHook => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "OFFLINE",
            Self::Available => "AVAILABLE",
            Self::BeforeLeaseHook => "BEFORE_LEASE_HOOK",
            Self::LeaseReady => "LEASE_READY",
            Self::AfterLeaseHook => "AFTER_LEASE_HOOK",
            Self::BeforeLeaseHookFailed => "BEFORE_LEASE_HOOK_FAILED",
            Self::AfterLeaseHookFailed => "AFTER_LEASE_HOOK_FAILED",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn each_publication_is_one_version_and_ends_what_the_last_one_admitted() {
        let (publisher, reader) = Publisher::new();
        let first = reader.current();
        assert_eq!((first.status, first.version, first.previous), (Status::Available, 0, None));

        publisher.publish(Status::LeaseReady, "Ready for commands".into());
        assert!(first.period.is_cancelled());
        let second = reader.current();
        assert_eq!(second.status, Status::LeaseReady);
        assert_eq!((second.version, second.previous), (1, Some(Status::Available)));

        publisher.publish(Status::LeaseReady, "Ready for commands".into());
        assert_eq!(reader.current().version, 2);
        assert!(second.period.is_cancelled());

        publisher.end_period();
        assert!(reader.current().period.is_cancelled());
        assert_eq!(reader.current().version, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_publication_is_seen_when_every_follower_has_seen_it_or_is_gone() {
        let (publisher, reader) = Publisher::new();
        let seen = || timeout(Duration::from_secs(1), reader.seen_by_all());
        let (stays, goes, never_asks) = (reader.viewer(), reader.viewer(), reader.viewer());
        stays.saw(&reader.current());
        goes.saw(&reader.current());
        assert!(seen().await.is_ok());

        publisher.publish(Status::AfterLeaseHookFailed, String::new());
        assert!(seen().await.is_err());
        stays.saw(&reader.current());
        assert!(seen().await.is_err());
        drop(goes);
        assert!(seen().await.is_ok());
        drop(never_asks);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bench_is_deserted_when_the_last_client_is_gone() {
        let (_publisher, reader) = Publisher::new();
        let deserted = || timeout(Duration::from_secs(1), reader.deserted());
        let _hook = reader.viewer();
        assert!(deserted().await.is_ok());
        let (first, last) = (reader.client(), reader.client());
        drop(first);
        assert!(deserted().await.is_err());
        let gone = async {
            tokio::task::yield_now().await;
            drop(last);
        };
        assert!(tokio::join!(deserted(), gone).0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_is_somebody_who_connected_later() {
        let (_publisher, reader) = Publisher::new();
        let old = reader.viewer();
        let mark = reader.mark();
        let newcomer = || timeout(Duration::from_secs(1), reader.newcomer(mark));
        old.saw(&reader.current());
        assert!(newcomer().await.is_err());
        let new = reader.viewer();
        assert!(newcomer().await.is_err(), "a connection that does not ask is nobody");
        new.saw(&reader.current());
        assert!(newcomer().await.is_ok());
    }
}
