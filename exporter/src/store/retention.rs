//! How long things are kept, and how many.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::record::Write;
use super::rows::nanoseconds;

/// How long a run or a lease that is over stays in the history.
const AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How many bytes of output are kept, of all runs together. Of older runs, everything else stays.
const SIZE: i64 = 256 << 20;

/// After how many ended runs it is time to look again.
const RUNS: u32 = 100;

/// After how many bytes of output it is.
const BYTES: usize = 16 << 20;

/// Knows when it is time to look for what is no longer kept.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    runs: u32,
    bytes: usize,
}

impl Sweeper {
    /// Whether it is time, after these changes.
    pub(super) fn is_due(&mut self, writes: &[Write]) -> bool {
        for write in writes {
            if let Write::RunEnded(run) = write {
                self.runs += 1;
                self.bytes += run.output.kept();
            }
        }
        self.runs >= RUNS || self.bytes >= BYTES
    }

    /// Removes what is no longer kept.
    pub(super) fn sweep(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        *self = Self::default();
        let now = Timestamp::now();
        let transaction = connection.unchecked_transaction()?;
        forget_older(&transaction, now.saturating_sub(AGE).unwrap_or(Timestamp::MIN))?;
        forget_outputs(&transaction, SIZE)?;
        transaction.commit()
    }
}

/// Removes what was over before a time.
fn forget_older(connection: &Connection, than: Timestamp) -> rusqlite::Result<()> {
    let than = nanoseconds(than);
    for statement in [
        "DELETE FROM run WHERE started < ?1 AND status IS NOT NULL",
        "DELETE FROM transition WHERE at < ?1",
        "DELETE FROM lease WHERE changed < ?1 AND progress = 'over'",
    ] {
        connection.execute(statement, [than])?;
    }
    Ok(())
}

/// Of the outputs, keeps the latest that fit into `size` bytes.
fn forget_outputs(connection: &Connection, size: i64) -> rusqlite::Result<()> {
    // The first run of which the output fits together with all later ones.
    let oldest: i64 = connection.query_row(
        "SELECT coalesce(min(number), 9223372036854775807) FROM (
             SELECT number, sum(kept) OVER (ORDER BY number DESC) AS total FROM run WHERE kept > 0
         ) WHERE total <= ?1",
        [size],
        |row| row.get(0),
    )?;
    connection.execute(
        "UPDATE output
         SET omitted = omitted + octet_length(head) + octet_length(tail), head = '', tail = ''
         WHERE run IN (SELECT number FROM run WHERE number < ?1 AND kept > 0)",
        [oldest],
    )?;
    connection.execute("UPDATE run SET kept = 0 WHERE number < ?1 AND kept > 0", [oldest])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::lease::Lease;
    use crate::lease::machine::journal::Progress;
    use crate::store::database::Database;
    use crate::store::{Filter, History, Output, RunBegun, testing};

    /// The two writes of a run that prints `letter` a thousand times.
    fn run(age: SignedDuration, letter: &str) -> [Write; 2] {
        let (begun, ended) = testing::run(&letter.repeat(1000));
        let begun = RunBegun { started: begun.started - age, ..begun };
        [Write::RunBegun(begun), Write::RunEnded(ended)]
    }

    /// What is left of the outputs, the latest first.
    fn outputs(dir: &TempDir) -> Vec<Output> {
        let history = History::open(dir.path()).unwrap();
        let runs = history.runs(&Filter::default()).unwrap();
        runs.iter().map(|run| history.output(run.begun.id).unwrap()).collect()
    }

    fn whole(letter: &str) -> Output {
        Output { head: letter.repeat(1000), ..Output::default() }
    }

    #[test]
    fn runs_and_leases_are_forgotten_after_ninety_days() {
        let dir = TempDir::new().unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        let day = SignedDuration::from_hours(24);
        let [unfinished, _] = run(day * 91, "c");
        let mut writes = [run(day * 91, "a"), run(day * 89, "b")].concat();
        writes.push(unfinished);
        for (progress, name) in [(Progress::Over, "over"), (Progress::Preparing, "current")] {
            let (id, name, client) = (Uuid::new_v4(), name.into(), String::new());
            let lease = Lease { id, name, client, context: [].into() };
            writes.push(Write::Lease(lease, progress));
        }
        database.write_first(&writes).unwrap();
        let count = |database: &Database, table| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            database.connection().query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        Sweeper::default().sweep(database.connection()).unwrap();
        assert_eq!(outputs(&dir), [whole("b"), Output::default()]);
        assert_eq!((count(&database, "output"), count(&database, "lease")), (1, 2));
        forget_older(database.connection(), Timestamp::now()).unwrap();
        assert_eq!((count(&database, "run"), count(&database, "transition")), (1, 0));
        let recovery = database.recover().unwrap();
        assert_eq!(recovery.lease.map(|(lease, _)| lease.name).as_deref(), Some("current"));
        assert_eq!(recovery.unfinished_runs.len(), 1);
        assert_eq!(count(&database, "lease"), 1);
    }

    #[test]
    fn of_outputs_that_are_too_much_the_latest_are_kept() {
        let dir = TempDir::new().unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        for letter in ["a", "b", "c"] {
            database.write_first(&run(SignedDuration::ZERO, letter)).unwrap();
        }
        let forgotten = || Output { omitted: 1000, ..Output::default() };
        for (size, left) in [
            (3000, [whole("c"), whole("b"), whole("a")]),
            (2999, [whole("c"), whole("b"), forgotten()]),
            (1000, [whole("c"), forgotten(), forgotten()]),
            (999, [forgotten(), forgotten(), forgotten()]),
        ] {
            forget_outputs(database.connection(), size).unwrap();
            assert_eq!(outputs(&dir), left, "{size}");
        }
    }

    #[test]
    fn it_is_time_after_many_runs_or_many_bytes() {
        let mut sweeper = Sweeper::default();
        let run = run(SignedDuration::ZERO, "a");
        let due: Vec<_> = (0..RUNS).map(|_| sweeper.is_due(&run)).collect();
        assert_eq!(due.iter().filter(|due| **due).count(), 1);
        assert!(due[due.len() - 1]);
    }
}
