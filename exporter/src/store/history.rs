//! What is on record, for reading: also from another process, while the exporter runs.

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
    /// How long it took; nobody knows if its exporter did not see its end.
    pub duration: Option<Duration>,
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
    /// Those that come after this one in the list: when it began, and its id.
    pub before: Option<(Timestamp, Uuid)>,
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
            Err(reason) => return Err(StoreError::Io { path, reason }),
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
        let mut sql = String::new();
        let mut values = Vec::new();
        let mut add = |condition: &str, compared: Vec<Value>| {
            // A value for each `?`, in their order.
            sql += if values.is_empty() { " WHERE " } else { " AND " };
            sql += condition;
            values.extend(compared);
        };
        let text = |text: &str| Value::from(text.to_owned());
        if let Some(event) = self.event {
            add("run.event = ?", vec![text(event.word())]);
        }
        if let Some(lease) = &self.lease {
            let condition = "(lease.name = ? OR run.subject_kind = 'lease' AND run.subject = ?)";
            add(condition, vec![text(lease), text(lease)]);
        }
        if let Some(driver) = &self.driver {
            add("run.subject_kind = 'driver' AND run.subject = ?", vec![text(driver)]);
        }
        if let Some(status) = self.status {
            add("run.status = ?", vec![text(status.word())]);
        }
        if let Some(since) = self.since {
            add("run.started >= ?", vec![nanoseconds(since).into()]);
        }
        if let Some((started, id)) = self.before {
            let before = vec![nanoseconds(started).into(), text(&id.to_string())];
            add("(run.started, run.id) < (?, ?)", before);
        }
        sql += " ORDER BY run.started DESC, run.id DESC";
        if let Some(limit) = self.limit {
            sql += &format!(" LIMIT {limit}");
        }
        (sql, values)
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let ended = match row.get::<_, Option<String>>(9)? {
        None => None,
        Some(_) => Some(Ended {
            status: word(row, 9, RunStatus::of_word)?,
            exit_code: row.get(10)?,
            signal: row.get(11)?,
            detail: row.get(12)?,
            duration: row
                .get::<_, Option<i64>>(13)?
                .map(|nanoseconds| Duration::from_nanos(nanoseconds.unsigned_abs())),
        }),
    };
    Ok(Run { begun: rows::begun(row)?, lease_name: row.get(8)?, ended })
}
