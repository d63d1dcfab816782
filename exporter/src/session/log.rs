//! What an exporter says: hook output, driver messages and its own, for everybody who listens.
//!
//! Records wait in a ring, and each reader walks along it at its own pace: late readers hear a
//! lease from its beginning, several hear all of it, and none can hold up whoever speaks.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::Notify;

use crate::lease::Lease;

/// How much the ring holds: enough for a chatty hook, little enough for a small host.
const MOST_RECORDS: usize = 64 * 1024;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// One thing said.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub time: SystemTime,
    /// How bad it is.
    pub severity: Severity,
    /// Who says it.
    pub source: Source,
    /// One line.
    pub message: String,
    /// The category of the driver that it is about.
    pub driver_type: Option<String>,
    /// The method that was called.
    pub operation: Option<String>,
    /// Whatever else is known, by name.
    pub fields: Vec<(&'static str, String)>,
    /// The lease in which it is said.
    pub lease: Option<Arc<Lease>>,
}

/// How bad it is, under the names that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For developers.
    Debug,
    /// The normal course.
    Info,
    /// Something went wrong, but it goes on.
    Warning,
    /// Something failed.
    Error,
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A driver.
    Driver,
    /// The beforeLease hook.
    BeforeLeaseHook,
    /// The afterLease hook.
    AfterLeaseHook,
    /// The exporter.
    System,
}

/// Where records go. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

/// Walks along a [`Log`].
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    next: u64,
}

#[derive(Debug, Default)]
struct Shared {
    ring: Mutex<Ring>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// The number of the oldest record that is still there.
    first: u64,
    /// Where a new reader begins.
    start: u64,
    /// The lease that the bench has.
    lease: Option<Arc<Lease>>,
}

impl Record {
    /// A record of this moment about nothing in particular.
    pub fn new(severity: Severity, source: Source, message: impl Into<String>) -> Self {
        Self {
            time: SystemTime::now(),
            severity,
            source,
            message: message.into(),
            driver_type: None,
            operation: None,
            fields: Vec::new(),
            lease: None,
        }
    }

    /// About how much memory it takes.
    fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len());
        size_of::<Self>() + self.message.len() + fields.sum::<usize>()
    }
}

impl Log {
    /// Adds a record. Never waits; the oldest records make room.
    pub fn push(&self, record: Record) {
        let mut ring = self.shared.lock();
        let record = Record { lease: ring.lease.clone(), ..record };
        ring.bytes += record.size();
        ring.records.push_back(Arc::new(record));
        while ring.records.len() > MOST_RECORDS || ring.bytes > MOST_BYTES {
            ring.forget_oldest();
        }
        drop(ring);
        self.shared.grown.notify_waiters();
    }

    /// A lease begins: later readers hear nothing of what came before. The lease before it is kept for
    /// readers that are still on their way.
    pub fn begin_lease(&self, lease: &Lease) {
        let mut ring = self.shared.lock();
        ring.lease = Some(Arc::new(lease.clone()));
        while ring.first < ring.start {
            ring.forget_oldest();
        }
        ring.start = ring.end();
    }

    /// The lease has another client.
    pub fn hand_over(&self, client: &str) {
        if let Some(lease) = &mut self.shared.lock().lease {
            Arc::make_mut(lease).client = client.to_owned();
        }
    }

    /// What is said from now on belongs to no lease.
    pub fn end_lease(&self) {
        self.shared.lock().lease = None;
    }

    /// A reader that begins where the lease did.
    pub fn reader(&self) -> LogReader {
        let next = self.shared.lock().start;
        LogReader { shared: Arc::clone(&self.shared), next }
    }
}

impl Log {
    /// A reader of what is said from now on.
    pub fn reader_from_now(&self) -> LogReader {
        let next = self.shared.lock().end();
        LogReader { shared: Arc::clone(&self.shared), next }
    }
}

impl LogReader {
    /// Waits until there is a next record. Cancel safe.
    pub async fn ready(&self) {
        loop {
            let grown = self.shared.grown.notified();
            if self.next < self.shared.lock().end() {
                return;
            }
            grown.await;
        }
    }

    /// Leaves out the oldest records, so that no more than `most` are still to be read. Returns how
    /// many that were, with those that were too old for the ring.
    pub fn skip_all_but(&mut self, most: u64) -> u64 {
        let ring = self.shared.lock();
        let next = self.next.max(ring.first).max(ring.end().saturating_sub(most));
        let skipped = next - self.next;
        self.next = next;
        skipped
    }

    /// The next record; waits for it. Says so where a reader was too slow for the ring. Cancel safe.
    pub async fn next(&mut self) -> Arc<Record> {
        loop {
            let shared = Arc::clone(&self.shared);
            let grown = shared.grown.notified();
            if let Some(record) = self.try_next() {
                return record;
            }
            grown.await;
        }
    }

    /// The next record, if it is there already.
    pub fn try_next(&mut self) -> Option<Arc<Record>> {
        let ring = self.shared.lock();
        if self.next < ring.first {
            let lost = ring.first - self.next;
            self.next = ring.first;
            let message =
                format!("{lost} log lines are missing here: they came faster than they were read");
            return Some(Arc::new(Record::new(Severity::Warning, Source::System, message)));
        }
        let index = usize::try_from(self.next - ring.first).ok()?;
        let record = ring.records.get(index).cloned()?;
        self.next += 1;
        Some(record)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("nothing panics while it holds the ring")
    }
}

impl Ring {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.records.pop_front() {
            self.bytes -= oldest.size();
        }
        self.first += 1;
    }

    /// The number that the next record will have.
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    fn lease() -> Lease {
        Lease { id: Uuid::nil(), name: "one".into(), client: "alice".into(), context: [].into() }
    }

    #[test]
    fn what_is_said_belongs_to_the_lease_in_which_it_is_said() {
        let log = Log::default();
        let mut reader = log.reader();
        let mut client = || reader.try_next().unwrap().lease.as_ref().map(|it| it.client.clone());
        say(&log, "before");
        log.begin_lease(&lease());
        say(&log, "in the lease");
        log.hand_over("bob");
        say(&log, "later in the lease");
        log.end_lease();
        say(&log, "after it");
        let said = [client(), client(), client(), client()];
        assert_eq!(said, [None, Some("alice".into()), Some("bob".into()), None]);
    }

    fn say(log: &Log, message: &str) {
        log.push(Record::new(Severity::Info, Source::System, message));
    }

    async fn hear(reader: &mut LogReader, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..count {
            heard.push(reader.next().await.message.clone());
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn every_reader_hears_the_whole_lease_however_late() {
        let log = Log::default();
        say(&log, "before");
        log.begin_lease(&lease());
        let mut early = log.reader();
        say(&log, "one");
        say(&log, "two");
        let mut late = log.reader();
        assert_eq!(hear(&mut early, 2).await, ["one", "two"]);
        assert_eq!(hear(&mut late, 2).await, ["one", "two"]);
        assert!(timeout(Duration::from_secs(1), late.next()).await.is_err());

        log.begin_lease(&lease());
        say(&log, "next lease");
        assert_eq!(hear(&mut late, 1).await, ["next lease"], "a reader goes on across leases");
    }

    #[tokio::test]
    async fn two_leases_are_kept_at_most() {
        let log = Log::default();
        let mut slow = log.reader();
        for number in 0..100 {
            log.begin_lease(&lease());
            say(&log, &format!("lease {number}"));
        }
        assert_eq!(
            hear(&mut slow, 3).await,
            [
                "98 log lines are missing here: they came faster than they were read",
                "lease 98",
                "lease 99"
            ]
        );
        let ring = log.shared.lock();
        assert_eq!(ring.bytes, ring.records.iter().map(|record| record.size()).sum::<usize>());
    }

    #[tokio::test]
    async fn a_reader_may_leave_out_what_is_old_and_knows_how_much_that_was() {
        let log = Log::default();
        say(&log, "before");
        let mut reader = log.reader_from_now();
        for line in 0..10 {
            say(&log, &line.to_string());
        }
        assert_eq!((reader.skip_all_but(3), reader.skip_all_but(3)), (7, 0));
        reader.ready().await;
        assert_eq!(hear(&mut reader, 3).await, ["7", "8", "9"]);
        assert!(reader.try_next().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let log = Log::default();
        let mut reader = log.reader();
        let speak = async { say(&log, "now") };
        let (heard, ()) = tokio::join!(reader.next(), speak);
        assert_eq!(heard.message, "now");
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_what_it_missed() {
        let log = Log::default();
        let mut reader = log.reader();
        for number in 0..MOST_RECORDS + 10 {
            say(&log, &number.to_string());
        }
        assert_eq!(
            hear(&mut reader, 2).await,
            ["10 log lines are missing here: they came faster than they were read", "10"]
        );
    }

    #[test]
    fn long_lines_count_for_what_they_are() {
        let log = Log::default();
        let long = "x".repeat(1024 * 1024);
        for _ in 0..100 {
            say(&log, &long);
        }
        let ring = log.shared.lock();
        assert!(ring.bytes <= MOST_BYTES);
        assert_eq!(ring.bytes, ring.records.iter().map(|record| record.size()).sum::<usize>());
    }
}
