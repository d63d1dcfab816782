//! The tables, and how an older database becomes one of today.
//!
//! A migration that has been released is never changed; the next one is added to the list.
//! Times are nanoseconds since 1970 (`datetime(started / 1000000000, 'unixepoch')` reads them),
//! ids are UUIDs as text.

use rusqlite::{Connection, TransactionBehavior};

/// The `user_version` of a database of this version.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Each makes a database of its index one of the next.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE bench (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    opened            INTEGER,           -- when a process last began to use the database
    quarantine_reason TEXT,
    quarantine_since  INTEGER,
    repaired          INTEGER NOT NULL,  -- 1: the repair hook has succeeded since
    failures          INTEGER NOT NULL,  -- in a row
    process           TEXT               -- the mark of what the last process has started
) STRICT;
INSERT INTO bench (id, repaired, failures) VALUES (1, 0, 0);

CREATE TABLE lease (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    client   TEXT NOT NULL,
    context  TEXT NOT NULL,              -- a JSON object
    progress TEXT NOT NULL,
    prepared TEXT,
    reason   TEXT,
    changed  INTEGER NOT NULL
) STRICT;
CREATE INDEX lease_current ON lease (id) WHERE progress <> 'over';
CREATE INDEX lease_changed ON lease (changed);

CREATE TABLE transition (
    number   INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    lease    TEXT NOT NULL,
    progress TEXT NOT NULL,
    prepared TEXT,
    reason   TEXT
) STRICT;
CREATE INDEX transition_at ON transition (at);

CREATE TABLE run (
    number       INTEGER PRIMARY KEY,    -- in the order of their beginnings
    id           TEXT NOT NULL UNIQUE,
    event        TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject      TEXT NOT NULL,
    version      TEXT,
    hash         TEXT,                   -- of a driver's definition
    lease        TEXT,
    started      INTEGER NOT NULL,
    status       TEXT,                   -- not yet: it has not ended
    exit_code    INTEGER,
    signal       INTEGER,
    detail       TEXT,
    duration     INTEGER,                -- nanoseconds
    kept         INTEGER                 -- bytes of its output
) STRICT;
CREATE INDEX run_started ON run (started);
CREATE INDEX run_unfinished ON run (number) WHERE status IS NULL;

CREATE TABLE output (
    run     INTEGER PRIMARY KEY REFERENCES run (number) ON DELETE CASCADE,
    head    TEXT NOT NULL,
    tail    TEXT NOT NULL,
    omitted INTEGER NOT NULL             -- bytes between the two
) STRICT;

CREATE TABLE driver (
    path       TEXT PRIMARY KEY,
    type_name  TEXT NOT NULL,
    version    TEXT,
    hash       TEXT NOT NULL,
    definition TEXT NOT NULL
) STRICT;

CREATE TABLE ended (                     -- of the hooks of the present lease
    number    INTEGER PRIMARY KEY,
    event     TEXT NOT NULL,
    exit_code INTEGER,
    signal    INTEGER                    -- neither: it took too long
) STRICT;

CREATE TABLE stage (                     -- done, of changes of drivers that are not
    path  TEXT NOT NULL,
    hash  TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (path, hash, event)
) STRICT;
",
    "
ALTER TABLE bench ADD COLUMN quarantine_cause TEXT;
",
    "
-- How much output there is, is asked again and again; of most runs, there is none.
CREATE INDEX run_kept ON run (number, kept) WHERE kept > 0;
",
];

/// The tables that a start depends on. The history is left out: it is most of the bytes, and what
/// can't be read of it harms nobody but its reader.
pub(super) const VITAL: [&str; 5] = ["bench", "lease", "driver", "ended", "stage"];

/// The version of a database; 0 if it is empty.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a database that is not newer up to today.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    let done = usize::try_from(version).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_any_earlier_version_becomes_one_of_today() {
        let columns = |connection: &Connection| -> Vec<String> {
            let mut statement = connection.prepare("SELECT name FROM pragma_table_info('bench')");
            let names = statement.as_mut().unwrap().query_map([], |row| row.get(0)).unwrap();
            names.map(Result::unwrap).collect()
        };
        let mut today = Connection::open_in_memory().unwrap();
        migrate(&mut today).unwrap();
        for earlier in 1..VERSION {
            let mut connection = Connection::open_in_memory().unwrap();
            let done = usize::try_from(earlier).unwrap();
            connection.execute_batch(&MIGRATIONS[..done].concat()).unwrap();
            connection.pragma_update(None, "user_version", earlier).unwrap();
            migrate(&mut connection).unwrap();
            assert_eq!(version(&connection).unwrap(), VERSION);
            assert_eq!(columns(&connection), columns(&today));
        }
    }
}
