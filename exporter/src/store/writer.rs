//! The one thread that writes, and what it does when it can't.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::database::{self, Database};
use super::error::StoreError;
use super::fault::{self, FaultPoint, Side};
use super::lock::Lock;
use super::output::Output;
use super::record::{Recovery, Write};
use super::retention::Sweeper;
use super::run::{RunBegun, RunEnded};

/// After this long, what could not be written is tried again even if nothing else is to be.
const RETRY: Duration = Duration::from_secs(2);

/// Of how many runs the record waits in memory.
const WAITING_RUNS: usize = 1000;

/// How many bytes of output wait in memory.
const WAITING_BYTES: usize = 16 << 20;

/// Changes to be made, and whom to tell.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) done: oneshot::Sender<()>,
}

/// Owns the database, and knows what is in it that matters for the next process.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    lock: Lock,
    link: Link,
    /// What the next process has to find.
    state: Recovery,
    sweeper: Sweeper,
    fault_point: Option<FaultPoint>,
}

/// Whether the database can be written.
#[derive(Debug)]
enum Link {
    Up(Database),
    Down(Missed),
}

/// Ended runs that are not in the history yet. The rest of what was missed is in the state.
#[derive(Debug, Default)]
struct Missed {
    runs: VecDeque<(RunBegun, RunEnded)>,
    bytes: usize,
}

impl Writer {
    /// Takes the directory, and says what the last process has left there.
    pub(super) fn open(dir: &Path) -> Result<(Self, Recovery), StoreError> {
        let fault_point = FaultPoint::of_environment()?;
        database::claim(dir)?;
        let lock = Lock::take(dir)?;
        let mut database = Database::open(dir)?;
        let recovery = database.recover()?;
        let state = Recovery { unfinished_runs: Vec::new(), ..recovery.clone() };
        let mut writer = Self {
            dir: dir.into(),
            lock,
            link: Link::Up(database),
            state,
            sweeper: Sweeper::default(),
            fault_point,
        };
        writer.sweep();
        Ok((writer, recovery))
    }

    /// Writes what is asked for until nobody can ask any more. It is no longer `stalled` whenever a
    /// change is on disk.
    pub(super) fn run(mut self, requests: &Receiver<Request>, stalled: &AtomicBool) {
        loop {
            let next = match self.link {
                Link::Up(_) => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Link::Down(_) => requests.recv_timeout(RETRY),
            };
            match next {
                Ok(Request { writes, done }) => {
                    self.commit(&writes);
                    if stalled.swap(false, Ordering::Relaxed) {
                        tracing::warn!("the store's disk answers again");
                    }
                    // Whoever no longer waits for it doesn't need to know.
                    done.send(()).ok();
                    if self.sweeper.is_due(&writes) {
                        self.sweep();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.retry(),
                Err(RecvTimeoutError::Disconnected) => return self.retry(),
            }
        }
    }

    /// Makes changes, or remembers to.
    fn commit(&mut self, writes: &[Write]) {
        let names = self.fault_names(writes);
        self.reach(Side::Before, &names);
        let old = self.state.clone();
        let ended: Vec<_> = writes.iter().filter_map(|write| self.state.apply(write)).collect();
        if let Link::Up(database) = &mut self.link
            && let Err(error) = database.write(writes, &old, &self.state)
        {
            self.degrade(&error);
        }
        if let Link::Down(missed) = &mut self.link {
            ended.into_iter().for_each(|(begun, ended)| missed.push(begun, ended.clone()));
        }
        self.retry();
        self.reach(Side::After, &names);
    }

    fn degrade(&mut self, error: &StoreError) {
        tracing::warn!(
            "the store can't be written: {error}. The bench goes on, but until this is mended, \
             nothing that happens survives a crash"
        );
        self.link = Link::Down(Missed::default());
    }

    /// Writes what was missed, if anything was, and if it can be written now.
    fn retry(&mut self) {
        let Link::Down(missed) = &self.link else { return };
        match reopened(&self.dir, &mut self.lock, &self.state, missed) {
            Ok(database) => {
                tracing::warn!("the store can be written again; what was missed is written");
                self.link = Link::Up(database);
            }
            Err(error) => tracing::debug!("the store still can't be written: {error}"),
        }
    }

    /// Forgets what is too old, and outputs that are too much. Nothing depends on it.
    fn sweep(&mut self) {
        if let Link::Up(database) = &self.link
            && let Err(error) = self.sweeper.sweep(database.connection())
        {
            tracing::warn!("can't remove old records from the store: {error}");
        }
    }

    fn reach(&mut self, side: Side, names: &[String]) {
        if let Some(point) = &mut self.fault_point {
            point.reach(side, names);
        }
    }

    /// The fault points that a commit is; none if nobody asks.
    fn fault_names(&self, writes: &[Write]) -> Vec<String> {
        if self.fault_point.is_none() {
            return Vec::new();
        }
        let event_of =
            |id| self.state.unfinished_runs.iter().find(|run| run.id == id).map(|run| run.event);
        writes.iter().map(|write| fault::name(write, event_of)).collect()
    }
}

/// Opens the database anew, as if for the first time, and brings it up to date.
fn reopened(
    dir: &Path,
    lock: &mut Lock,
    state: &Recovery,
    missed: &Missed,
) -> Result<Database, StoreError> {
    database::claim(dir)?;
    if !lock.is_in_place().map_err(|error| StoreError::of_system(dir, error))? {
        *lock = Lock::take(dir)?;
    }
    let mut database = Database::open(dir)?;
    database.restore(state, missed.runs.iter())?;
    Ok(database)
}

impl Missed {
    fn push(&mut self, begun: RunBegun, ended: RunEnded) {
        self.bytes += ended.output.kept();
        self.runs.push_back((begun, ended));
        if self.runs.len() > WAITING_RUNS
            && let Some((_, gone)) = self.runs.pop_front()
        {
            self.bytes -= gone.output.kept();
        }
        for (_, ended) in &mut self.runs {
            if self.bytes <= WAITING_BYTES {
                return;
            }
            self.bytes -= ended.output.kept();
            ended.output.forget();
        }
    }
}

impl Output {
    /// Drops what is kept of it.
    fn forget(&mut self) {
        self.omitted += u64::try_from(self.kept()).unwrap_or(u64::MAX);
        self.head = String::new();
        self.tail = String::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::{fs, io};

    use tempfile::TempDir;

    use super::*;
    use crate::store::{Filter, History, testing};

    /// A run that prints `kibibytes`.
    fn run(kibibytes: usize) -> (RunBegun, RunEnded) {
        testing::run(&"x".repeat(kibibytes << 10))
    }

    /// The warnings while `work` is done.
    fn warnings(work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || written.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_fault_is_one_warning_and_its_end_another() {
        let dir = TempDir::new().unwrap();
        let (mut writer, _) = Writer::open(dir.path()).unwrap();
        let (path, aside) = (dir.path().join("store.sqlite3"), dir.path().join("aside"));
        let runs: Vec<_> = (0..3).map(|_| run(64)).collect();
        let found = warnings(|| {
            fs::rename(&path, &aside).unwrap();
            fs::create_dir(&path).unwrap();
            for (begun, ended) in &runs {
                writer.commit(&[Write::RunBegun(begun.clone())]);
                writer.commit(&[Write::RunEnded(ended.clone()), Write::FailuresInARow(7)]);
            }
            fs::remove_dir(&path).unwrap();
            fs::rename(&aside, &path).unwrap();
            writer.retry();
            writer.commit(&[Write::FailuresInARow(8)]);
        });
        let expected = format!(
            " WARN the store can't be written: {}: damaged (it was replaced by another file); \
             move it away to start anew: then the drivers count as not yet installed, and nothing \
             is known of an interrupted lease. The bench goes on, but until this is mended, nothing \
             that happens survives a crash\n \
             WARN the store can be written again; what was missed is written\n",
            path.display()
        );
        assert_eq!(found, expected);
        let history = History::open(dir.path()).unwrap();
        let listed = history.runs(&Filter::default()).unwrap();
        let expected: Vec<_> = runs.iter().rev().map(|(begun, _)| begun.clone()).collect();
        assert_eq!(listed.into_iter().map(|run| run.begun).collect::<Vec<_>>(), expected);
        for (begun, ended) in runs {
            assert_eq!(history.output(begun.id).unwrap(), ended.output);
        }
        drop(writer);
        assert_eq!(Writer::open(dir.path()).unwrap().1.failures, 8);
    }

    #[test]
    fn what_waits_to_be_written_is_bounded() {
        let mut missed = Missed::default();
        let all: Vec<_> = (0..WAITING_RUNS + 20).map(|_| run(100)).collect();
        for (begun, ended) in &all {
            missed.push(begun.clone(), ended.clone());
        }
        let ids = |runs: &mut dyn Iterator<Item = &(RunBegun, RunEnded)>| {
            runs.map(|(begun, _)| begun.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&mut missed.runs.iter()), ids(&mut all.iter().skip(20)));
        let kept: usize = missed.runs.iter().map(|(_, ended)| ended.output.kept()).sum();
        assert_eq!(kept, missed.bytes);
        assert_eq!(kept, WAITING_BYTES / (100 << 10) * (100 << 10));
        let (first, last) = (&missed.runs[0].1.output, &missed.runs[WAITING_RUNS - 1].1.output);
        assert_eq!((first.kept(), first.omitted), (0, 100 << 10));
        assert_eq!((last.kept(), last.omitted), (100 << 10, 0));
    }
}
