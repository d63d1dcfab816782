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
