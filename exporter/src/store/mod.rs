//! What outlives the process: where the lease stands, what its hooks did, which drivers are in use.
//!
//! ```text
//! lease::actor, lifecycle ──► Store::commit ──► writer ──► database ──► store.sqlite3 ◄── History
//!                                              (one thread)                               (any process)
//! ```
//!
//! A state directory belongs to one exporter and, while it runs, to one process, which holds its
//! lock. Each [`Store::commit`] is one transaction, on disk when it returns: what is about to become
//! visible is committed first. If that fails later on, the bench goes on without: the writer says so
//! once, keeps in memory what it could not write, and writes it as soon as it can. The same holds for
//! a disk that does not answer at all.
//!
//! [`History`] reads the same file, also from another process while the exporter runs.

mod database;
mod error;
mod event;
pub mod fault;
mod histories;
mod history;
mod lock;
mod output;
mod record;
mod retention;
mod rows;
mod run;
mod schema;
mod since;
#[cfg(test)]
mod testing;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::error::StoreError;
pub use self::event::HookEvent;
pub use self::histories::{Found, Histories};
pub use self::history::{Ended, Filter, History, Run};
use self::lock::Lock;
pub use self::output::{CAP, Capture, Output};
pub use self::record::{AppliedDriver, DoneStage, Quarantined, Recovery, Write};
pub use self::run::{End, RunBegun, RunEnded, RunStatus, Subject};
pub use self::since::since;
use self::writer::{Request, Writer};

/// How long the disk may take for a change before the bench goes on without waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the database in a state directory.
const DATABASE: &str = "store.sqlite3";

/// Where an exporter keeps what must outlive it. Clones share one writer.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Option<Arc<Thread>>,
}

impl Store {
    /// Takes a state directory for this process and reads what the last one has left there. Runs that
    /// it has left unfinished are now failures, of which the detail says that they were interrupted.
    ///
    /// # Errors
    ///
    /// Why the directory can't be used: see [`StoreError`].
    pub fn open(dir: &Path) -> Result<(Self, Recovery), StoreError> {
        let (writer, recovery) = Writer::open(dir)?;
        let thread = Thread::start(writer)
            .map_err(|reason| StoreError::Io { path: PathBuf::from(dir), reason })?;
        Ok((Self { writer: Some(Arc::new(thread)) }, recovery))
    }

    /// Takes a state directory for this process, without looking into it.
    ///
    /// # Errors
    ///
    /// Why it can't be had, above all because another process has it.
    pub fn reserve(dir: &Path) -> Result<Reservation, StoreError> {
        database::claim(dir)?;
        Lock::take(dir).map(|lock| Reservation { _lock: lock })
    }

    /// A store that keeps nothing.
    pub fn none() -> Self {
        Self { writer: None }
    }

    /// Makes changes durable, all or none of them. Once asked, it is done also if the answer is not
    /// waited for.
    ///
    /// It never fails: a bench must not stand still for a disk that is full or does not answer. A
    /// fault is logged, and the changes are written when it is over.
    pub async fn commit(&self, writes: Vec<Write>) {
        let Some(writer) = &self.writer else { return };
        let (done, durable) = oneshot::channel();
        if let Some(requests) = &writer.requests {
            // An error is seen below, as nobody answers.
            requests.send(Request { writes, done }).ok();
        }
        // One that has kept somebody waiting in vain keeps nobody else.
        let is_stalled = writer.stalled.load(Ordering::Relaxed);
        let patience = if is_stalled { Duration::ZERO } else { PATIENCE };
        match timeout(patience, durable).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                tracing::error!("the store no longer works; nothing is kept until a restart");
            }
            Err(_) if writer.stalled.swap(true, Ordering::Relaxed) => {}
            Err(_) => tracing::warn!(
                "the store's disk has not answered for {} s. The bench goes on, but until it does, \
                 nothing that happens survives a crash",
                PATIENCE.as_secs()
            ),
        }
    }
}

/// The right to a state directory, for as long as it is kept.
#[derive(Debug)]
pub struct Reservation {
    _lock: Lock,
}

/// The thread that writes.
#[derive(Debug)]
struct Thread {
    /// Here until the end.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// It has not answered for too long, and not since.
    stalled: Arc<AtomicBool>,
}

impl Thread {
    fn start(writer: Writer) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let span = tracing::Span::current();
        let stalled = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stalled);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || span.in_scope(|| writer.run(&inbox, &told)))?;
        Ok(Self { requests: Some(requests), thread: Some(thread), stalled })
    }
}

impl Drop for Thread {
    /// Waits until everything is written and the directory is free for the next.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // If it has panicked, that was logged by the panic itself.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_holds_nobody_up_for_long() {
        let (requests, inbox) = mpsc::channel();
        let stalled = Arc::new(AtomicBool::new(false));
        let thread = Thread { requests: Some(requests), thread: None, stalled };
        let store = Store { writer: Some(Arc::new(thread)) };
        let start = Instant::now();
        store.commit(vec![Write::FailuresInARow(1)]).await;
        assert_eq!(start.elapsed(), PATIENCE);
        store.commit(vec![Write::FailuresInARow(2)]).await;
        assert_eq!(start.elapsed(), PATIENCE, "the second waits no more");
        // Both are still to be written, in their order.
        let waiting: Vec<_> =
            inbox.try_iter().flat_map(|request: Request| request.writes).collect();
        assert_eq!(waiting, [Write::FailuresInARow(1), Write::FailuresInARow(2)]);
    }
}
