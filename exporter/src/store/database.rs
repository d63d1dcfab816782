//! The database file of a state directory, opened for writing.

use std::fs::{self, DirBuilder, File, Metadata};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::unistd::Uid;
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use super::error::StoreError;
use super::record::{Recovery, Write};
use super::run::{RunBegun, RunEnded};
use super::{DATABASE, rows, schema};

/// How long another process, such as somebody's `sqlite3`, may keep us from writing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A database that is whole, of today's schema, and writable.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Makes sure that the directory is there and this user's own.
pub(super) fn claim(dir: &Path) -> Result<(), StoreError> {
    let system = |error| StoreError::of_system(dir, error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system)?;
    let owner = fs::metadata(dir).map_err(system)?.uid();
    let me = Uid::effective().as_raw();
    if owner == me { Ok(()) } else { Err(StoreError::OtherOwner { dir: dir.into(), owner, me }) }
}

impl Database {
    /// Opens the database of a directory, whose lock the caller has; makes it where there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(DATABASE);
        let refused = |error| StoreError::of_database(&path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(refused)?;
        // SQLite is content with reading where it may not write.
        if connection.is_readonly(MAIN_DB).map_err(refused)? {
            return Err(StoreError::ReadOnly { path, reason: "read-only file".into() });
        }
        connection.busy_timeout(PATIENCE).map_err(refused)?;
        let is_new = check_version(&connection, &path)? == 0;
        configure(&connection, is_new).map_err(refused)?;
        check_integrity(&connection, &path)?;
        schema::migrate(&mut connection).map_err(refused)?;
        if is_new {
            keep(&connection, dir, &path)?;
        }
        // Whether it can be written is found out now, not in the middle of a lease.
        let opened = rows::nanoseconds(Timestamp::now());
        connection.execute("UPDATE bench SET opened = ?1", [opened]).map_err(refused)?;
        let found = fs::metadata(&path).map_err(|error| StoreError::of_system(&path, error))?;
        Ok(Self { connection, path, identity: identity(&found) })
    }

    /// Closes the runs that the last process has left unfinished, and says what else it has left.
    pub(super) fn recover(&mut self) -> Result<Recovery, StoreError> {
        let recover = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let recovery = rows::read_back(&transaction)?;
            for run in &recovery.unfinished_runs {
                rows::interrupt(&transaction, run)?;
            }
            transaction.commit()?;
            Ok(recovery)
        };
        recover(&mut self.connection).map_err(|error| StoreError::of_database(&self.path, error))
    }

    /// Makes changes, all or none, that lead from one state to another.
    pub(super) fn write(
        &mut self,
        writes: &[Write],
        old: &Recovery,
        new: &Recovery,
    ) -> Result<(), StoreError> {
        self.transact(|connection| {
            let now = Timestamp::now();
            writes.iter().try_for_each(|write| rows::record(connection, write, now))?;
            rows::settle(connection, old, new)
        })
    }

    /// Makes the database say what `state` does, and adds `runs` to its history, which may know their
    /// beginnings. Their outputs come last, as they need the most room and matter least.
    pub(super) fn restore<'a>(
        &mut self,
        state: &Recovery,
        runs: impl Iterator<Item = &'a (RunBegun, RunEnded)> + Clone,
    ) -> Result<(), StoreError> {
        self.transact(|connection| {
            for (begun, ended) in runs.clone() {
                rows::begin(connection, begun)?;
                rows::conclude(connection, ended)?;
            }
            rows::restore(connection, state, Timestamp::now())
        })?;
        self.transact(|connection| {
            let mut ended = runs.map(|(_, ended)| ended);
            ended.try_for_each(|ended| rows::keep_output(connection, ended))
        })
    }

    /// The connection, for what needs no transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does something in one transaction, in the file that others would find.
    fn transact(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        // SQLite would go on writing into a file that has been removed.
        let found =
            fs::metadata(&self.path).map_err(|error| StoreError::of_system(&self.path, error))?;
        if identity(&found) != self.identity {
            let finding = "it was replaced by another file".into();
            return Err(StoreError::Damaged { path: self.path.clone(), finding });
        }
        let transact = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            transaction.commit()
        };
        transact(&mut self.connection).map_err(|error| StoreError::of_database(&self.path, error))
    }
}

/// Refuses what a newer version has written, before anything in it is touched.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let found =
        schema::version(connection).map_err(|error| StoreError::of_database(path, error))?;
    if found > schema::VERSION {
        return Err(StoreError::Newer { path: path.into(), found, known: schema::VERSION });
    }
    Ok(found)
}

fn configure(connection: &Connection, is_new: bool) -> rusqlite::Result<()> {
    // A commit is on disk when it returns. While there is nothing to lose, nothing waits for a disk.
    connection.pragma_update(None, "synchronous", if is_new { "OFF" } else { "FULL" })?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // KiB. A commit touches a fifth of it; with SQLite's 2 MiB, a hundred exporters fill 200 MB in time.
    connection.pragma_update(None, "cache_size", -512)?;
    // After a large transaction, the log does not keep its size.
    connection.pragma_update(None, "journal_size_limit", 8 << 20)
}

/// Has a new database on disk, and from now on each of its commits.
fn keep(connection: &Connection, dir: &Path, path: &Path) -> Result<(), StoreError> {
    for path in [path, dir] {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|error| StoreError::of_system(path, error))?;
    }
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(|error| StoreError::of_database(path, error))
}

fn check_integrity(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let check = |table: &str| -> rusqlite::Result<Option<String>> {
        if !connection.table_exists(None, table)? {
            return Ok(None);
        }
        let mut finding = None;
        connection.pragma(None, "quick_check", table, |row| {
            let text: String = row.get(0)?;
            if text != "ok" {
                finding.get_or_insert(text);
            }
            Ok(())
        })?;
        Ok(finding)
    };
    for table in schema::VITAL {
        if let Some(finding) = check(table).map_err(|error| StoreError::of_database(path, error))? {
            return Err(StoreError::Damaged { path: path.into(), finding });
        }
    }
    Ok(())
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
impl Database {
    /// Makes the first changes in a new database.
    pub(super) fn write_first(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut new = Recovery::default();
        for write in writes {
            new.apply(write);
        }
        self.write(writes, &Recovery::default(), &new)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::AppliedDriver;
    use crate::store::testing::run;

    fn driver(definition: String) -> Write {
        Write::DriverApplied(AppliedDriver {
            path: "power".into(),
            type_name: String::new(),
            version: None,
            hash: String::new(),
            definition,
        })
    }

    #[test]
    fn a_full_disk_is_told_apart_and_changes_nothing() {
        let dir = TempDir::new().unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        database.connection.pragma_update(None, "max_page_count", 1).unwrap();
        let writes = [Write::FailuresInARow(1), driver("x".repeat(1 << 20))];
        let refused = database.write_first(&writes).unwrap_err();
        assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
        assert_eq!(database.recover().unwrap(), Recovery::default());
    }

    #[test]
    fn what_the_next_process_depends_on_is_written_even_if_outputs_are_not() {
        let dir = TempDir::new().unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        let (begun, ended) = run(&"x".repeat(1 << 20));
        database.write_first(&[Write::RunBegun(begun.clone())]).unwrap();
        database.connection.pragma_update(None, "max_page_count", 100).unwrap();
        let state = Recovery { failures: 3, ..Recovery::default() };
        let refused = database.restore(&state, [(begun, ended)].iter()).unwrap_err();
        assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
        assert_eq!(database.recover().unwrap(), state, "no run counts as unfinished");
    }

    #[test]
    fn a_file_that_nobody_else_would_find_is_not_written() {
        let dir = TempDir::new().unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        fs::remove_file(&database.path).unwrap();
        let refused = database.write_first(&[]).unwrap_err();
        assert!(matches!(refused, StoreError::Io { .. }), "{refused:?}");
        fs::write(&database.path, "").unwrap();
        let refused = database.write_first(&[]).unwrap_err();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    }
}
