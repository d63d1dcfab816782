//! The tables of a lab.

mod clients;
mod leases;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

pub use self::clients::Client;
use self::leases::SWEEP;
use crate::lab::directory::Directory;
use crate::lab::lease::Lease;

/// How long another process may keep us from writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The `user_version` of the database.
const VERSION: i64 = 1;

/// Leases are documents: what is asked of them is asked in `lab::timetable`, and here only which
/// of them are over.
const SCHEMA: &str = "
CREATE TABLE client (
    name       TEXT PRIMARY KEY,
    id         TEXT NOT NULL,
    added      INTEGER NOT NULL,         -- seconds since 1970, as all times here
    life       INTEGER NOT NULL,         -- of its tokens, in seconds
    generation INTEGER NOT NULL,
    rotated    INTEGER,
    invitation BLOB,                     -- SHA-256 of what it may log in with, once
    invited    INTEGER,                  -- until when
    renewal    BLOB,                     -- SHA-256 of its refresh token
    spent      BLOB                      -- SHA-256 of the one before
) STRICT;
CREATE TABLE lease (
    name     TEXT PRIMARY KEY,
    ended    INTEGER,                    -- not yet
    document TEXT NOT NULL               -- JSON
) STRICT;
CREATE INDEX lease_live ON lease (name) WHERE ended IS NULL;
CREATE INDEX lease_ended ON lease (ended) WHERE ended IS NOT NULL;
";

/// The database of a lab.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// What could not be written yet.
    unsaved: Vec<Lease>,
    /// How many leases have ended since the history was last looked after.
    since_sweep: u32,
}

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refuses.
    #[error("{}: {reason}", path.display())]
    Database {
        /// Where it is.
        path: PathBuf,
        /// What it says.
        reason: rusqlite::Error,
    },
    /// A later version of Hilt has been here.
    #[error("{}: written by a newer hilt (schema {found}; this one knows {VERSION}); update hilt", path.display())]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A lease in it can't be read.
    #[error("{}: the lease {name} can't be read: {reason}", path.display())]
    Lease {
        /// Where it is.
        path: PathBuf,
        /// The lease's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There can be no thread for it.
    #[error("no thread for the lab's database: {0}")]
    NoThread(String),
    /// Its thread has ended.
    #[error("the lab's database no longer works; restart hilt")]
    Gone,
}

impl Database {
    /// Opens the database of a lab; makes it where there is none.
    pub fn open(directory: &Directory) -> Result<Self, StoreError> {
        Self::at(&directory.file("store.sqlite3"))
    }

    fn at(path: &Path) -> Result<Self, StoreError> {
        let refused = |reason| StoreError::Database { path: path.into(), reason };
        let mut connection = Connection::open(path).map_err(refused)?;
        let found = prepare(&mut connection).map_err(refused)?;
        if found > VERSION {
            return Err(StoreError::Newer { path: path.into(), found });
        }
        Ok(Self { connection, path: path.into(), unsaved: Vec::new(), since_sweep: SWEEP })
    }

    fn refused<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|reason| StoreError::Database { path: self.path.clone(), reason })
    }
}

/// Makes the tables where there are none; returns the version that was found.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(found)
}

#[cfg(test)]
mod testing {
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use super::*;

    pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);

    pub(super) fn database() -> (TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::at(&dir.path().join("store.sqlite3")).unwrap();
        (dir, database)
    }

    pub(super) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
}
