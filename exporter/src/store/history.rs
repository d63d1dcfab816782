//! What is on record, for reading: also from another process, while the exporter runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params_from_iter};
use uuid::Uuid;

use super::error::StoreError;
use super::event::HookEvent;
use super::output::Output;
use super::rows::{self, nanoseconds, word};
use super::run::{RunBegun, RunStatus};
use super::{DATABASE, database};

/// How long a reader waits while the exporter starts.
const PATIENCE: Duration = Duration::from_secs(2);

/// The columns of a [`Run`].
const LIST: &str = "SELECT {begun}, lease.name, run.status, run.exit_code, run.signal, run.detail,
    run.duration FROM run LEFT JOIN lease ON lease.id = run.lease";

/// A reader of a state directory. It takes no lock and changes nothing.
#[derive(Debug)]
pub struct History {
    /// None: no exporter has ever kept anything here.
    connection: Option<Connection>,
    path: PathBuf,
}

/// A hook's run, without its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How it began.
    pub begun: RunBegun,
    /// The name of the lease that the bench had.
    pub lease_name: Option<String>,
    /// How it ended; none while it runs, or if its exporter has been killed and not started again.
    pub ended: Option<Ended>,
}

/// How a hook's run ended, without its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The short answer.
    pub status: RunStatus,
    /// What it exited with, if it did.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What the numbers don't say.
    pub detail: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Which runs. The default: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Those of this event.
    pub event: Option<HookEvent>,
    /// Those while the bench had a lease of this name.
    pub lease: Option<String>,
    /// Those of the driver at this path.
    pub driver: Option<String>,
    /// Those that ended this way.
    pub status: Option<RunStatus>,
    /// Those that began then or later.
    pub since: Option<Timestamp>,
    /// Those that began before this one.
    pub before: Option<Uuid>,
    /// At most so many, the latest.
    pub limit: Option<u32>,
}

impl History {
    /// Opens the records of a state directory.
    ///
    /// # Errors
    ///
    /// If they can't be read: see [`StoreError`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(DATABASE);
        match path.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { connection: None, path });
            }
            Err(error) => return Err(StoreError::of_system(&path, error)),
        }
        let refused = |error| StoreError::of_database(&path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(refused)?;
        connection.busy_timeout(PATIENCE).map_err(refused)?;
        // An exporter that has only begun to make it has not kept anything yet.
        let is_made = database::check_version(&connection, &path)? > 0;
        Ok(Self { connection: is_made.then_some(connection), path })
    }

    /// The runs that a filter lets through, the latest first.
    ///
    /// # Errors
    ///
    /// If they can't be read.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<Run>, StoreError> {
        let (conditions, values) = filter.conditions();
        self.list(&conditions, values)
    }

    /// The runs of which the id begins so, at most two: enough to see that it is not unique.
    ///
    /// # Errors
    ///
    /// If they can't be read.
    pub fn find(&self, prefix: &str) -> Result<Vec<Run>, StoreError> {
        let values = vec![Value::from(prefix.to_lowercase())];
        self.list(" WHERE substr(run.id, 1, length(?1)) = ?1 LIMIT 2", values)
    }

    /// What a run has printed; nothing if it has not ended.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn output(&self, run: Uuid) -> Result<Output, StoreError> {
        let Some(connection) = &self.connection else { return Ok(Output::default()) };
        let sql = "SELECT head, tail, omitted FROM output
                   WHERE run = (SELECT number FROM run WHERE id = ?1)";
        let output = |row: &Row<'_>| {
            Ok(Output {
                head: row.get(0)?,
                tail: row.get(1)?,
                omitted: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        };
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([run.to_string()], output).optional())
            .map(Option::unwrap_or_default)
            .map_err(|error| StoreError::of_database(&self.path, error))
    }

    fn list(&self, conditions: &str, values: Vec<Value>) -> Result<Vec<Run>, StoreError> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let sql = LIST.replace("{begun}", rows::BEGUN) + conditions;
        let list = || -> rusqlite::Result<_> {
            connection.prepare(&sql)?.query_map(params_from_iter(values), run)?.collect()
        };
        list().map_err(|error| StoreError::of_database(&self.path, error))
    }
}

impl Filter {
    /// What comes after the tables of a statement, and the values that it names.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut values = Vec::new();
        let mut sql = String::new();
        let mut add = |condition: &str, value: Option<Value>| {
            let Some(value) = value else { return };
            values.push(value);
            let joint = if values.len() == 1 { "WHERE" } else { "AND" };
            let condition = condition.replace('?', &format!("?{}", values.len()));
            // Writing into a string can't fail.
            write!(sql, " {joint} {condition}").ok();
        };
        let text = |text: &str| Value::from(text.to_owned());
        add("run.event = ?", self.event.map(|event| text(event.word())));
        add(
            "(lease.name = ? OR (run.subject_kind = 'lease' AND run.subject = ?))",
            self.lease.as_deref().map(text),
        );
        add("run.subject_kind = 'driver' AND run.subject = ?", self.driver.as_deref().map(text));
        add("run.status = ?", self.status.map(|status| text(status.word())));
        add("run.started >= ?", self.since.map(|since| nanoseconds(since).into()));
        add(
            "run.number < (SELECT number FROM run WHERE id = ?)",
            self.before.map(|run| text(&run.to_string())),
        );
        sql += " ORDER BY run.number DESC";
        if let Some(limit) = self.limit {
            write!(sql, " LIMIT {limit}").ok();
        }
        (sql, values)
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let ended = match row.get::<_, Option<String>>(8)? {
        None => None,
        Some(_) => Some(Ended {
            status: word(row, 8, RunStatus::of_word)?,
            exit_code: row.get(9)?,
            signal: row.get(10)?,
            detail: row.get(11)?,
            duration: Duration::from_nanos(row.get::<_, i64>(12)?.unsigned_abs()),
        }),
    };
    Ok(Run { begun: rows::begun(row)?, lease_name: row.get(7)?, ended })
}
