//! How what is kept becomes rows, and rows become what was kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::event::HookEvent;
use super::output::Output;
use super::record::{AppliedDriver, DoneStage, Recovery, Write};
use super::run::{End, RunBegun, RunEnded, RunStatus, Subject};
use crate::lease::Lease;
use crate::lease::machine::journal::Progress;
use crate::lease::machine::{EndReason, Prepared};

/// What is said of a run that its exporter did not live to see the end of.
const INTERRUPTED: &str = "interrupted: the exporter ended while it ran";

/// The columns of a run's beginning, for [`begun`].
pub(super) const BEGUN: &str =
    "run.id, run.event, run.subject_kind, run.subject, run.version, run.lease, run.started,
    run.hash";

/// Makes one change.
pub(super) fn write(
    connection: &Connection,
    write: &Write,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match write {
        Write::Lease(of, progress) => lease(connection, of, *progress, now),
        Write::RunBegun(run) => begin(connection, run),
        Write::RunEnded(run) => end(connection, run),
        Write::DriverApplied(driver) => apply(connection, driver),
        Write::DriverRemoved { path } => {
            run(connection, "DELETE FROM stage WHERE path = ?1", [path])?;
            run(connection, "DELETE FROM driver WHERE path = ?1", [path])
        }
        Write::Quarantined { reason, since } => quarantine(connection, Some((reason, *since))),
        Write::QuarantineLifted => quarantine(connection, None),
        Write::FailuresInARow(count) => failures(connection, *count),
        Write::Process(mark) => process(connection, Some(*mark)),
    }
}

/// Makes all but the history say what `state` does.
pub(super) fn restore(
    connection: &Connection,
    state: &Recovery,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match &state.lease {
        Some((of, progress)) => lease(connection, of, *progress, now)?,
        None => only_current(connection, "", now)?,
    }
    state.unfinished_runs.iter().try_for_each(|run| begin(connection, run))?;
    run(connection, "DELETE FROM driver", [])?;
    state.drivers.iter().try_for_each(|driver| apply(connection, driver))?;
    quarantine(connection, state.quarantine.as_ref().map(|(reason, since)| (&**reason, *since)))?;
    run(connection, "DELETE FROM stage", [])?;
    state.stages.iter().try_for_each(|done| stage(connection, done))?;
    process(connection, state.process)?;
    failures(connection, state.failures)
}

/// Why the bench is out of service, since when; failures in a row; the mark of its processes; and
/// whether it was repaired since.
type BenchRow = (Option<String>, Option<i64>, u32, Option<String>, bool);

/// Everything that the last process has left.
pub(super) fn read_back(connection: &Connection) -> rusqlite::Result<Recovery> {
    let lease = "SELECT id, name, client, context, progress, prepared, reason FROM lease
                 WHERE progress <> 'over' ORDER BY changed DESC LIMIT 1";
    let runs = format!("SELECT {BEGUN} FROM run WHERE status IS NULL ORDER BY number");
    let drivers = "SELECT path, type_name, version, hash, definition FROM driver ORDER BY path";
    let bench = "SELECT quarantine_reason, quarantine_since, failures, process,
                     EXISTS (SELECT 1 FROM run WHERE run.event = 'repair'
                             AND run.status = 'success' AND run.started >= quarantine_since)
                 FROM bench";
    let (reason, since, failures, process, repaired): BenchRow =
        connection.query_row(bench, [], |row| row.try_into())?;
    let lease = connection.query_row(lease, [], lease_of).optional()?;
    Ok(Recovery {
        ended: match &lease {
            Some((lease, _)) => ended_of(connection, lease.id)?,
            None => Vec::new(),
        },
        lease,
        process: process.map(|text| uuid(3, &text)).transpose()?,
        stages: connection
            .prepare("SELECT path, hash, event FROM stage ORDER BY path, event")?
            .query_map([], done_stage)?
            .collect::<Result<_, _>>()?,
        unfinished_runs: connection
            .prepare(&runs)?
            .query_map([], begun)?
            .collect::<Result<_, _>>()?,
        drivers: connection
            .prepare(drivers)?
            .query_map([], applied_driver)?
            .collect::<Result<_, _>>()?,
        quarantine: reason.zip(since.map(timestamp)),
        repaired,
        failures,
    })
}

/// A run begins. That it does may be known already.
pub(super) fn begin(connection: &Connection, begun: &RunBegun) -> rusqlite::Result<()> {
    let kind = match begun.subject {
        Subject::Lease { .. } => "lease",
        Subject::Exporter { .. } => "exporter",
        Subject::Driver { .. } => "driver",
    };
    run(
        connection,
        "INSERT INTO run (id, event, subject_kind, subject, version, lease, started, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
        params![
            begun.id.to_string(),
            begun.event.word(),
            kind,
            begun.subject.name(),
            begun.subject.version(),
            begun.lease.map(|lease| lease.to_string()),
            nanoseconds(begun.started),
            match &begun.subject {
                Subject::Lease { .. } | Subject::Exporter { .. } => None,
                Subject::Driver { hash, .. } => Some(hash),
            },
        ],
    )
}

/// A run ends, unless it was never begun.
pub(super) fn end(connection: &Connection, ended: &RunEnded) -> rusqlite::Result<()> {
    let find = format!("SELECT {BEGUN} FROM run WHERE id = ?1");
    let begun =
        connection.prepare_cached(&find)?.query_row([ended.id.to_string()], begun).optional()?;
    if let Some(done) = begun.and_then(|begun| DoneStage::of(&begun, ended)) {
        stage(connection, &done)?;
    }
    let Some(number) = conclude(connection, ended)? else { return Ok(()) };
    let Output { head, tail, omitted } = &ended.output;
    run(
        connection,
        "INSERT OR REPLACE INTO output (run, head, tail, omitted) VALUES (?1, ?2, ?3, ?4)",
        params![number, head, tail, i64::try_from(*omitted).unwrap_or(i64::MAX)],
    )?;
    let kept = i64::try_from(ended.output.kept()).unwrap_or(i64::MAX);
    run(connection, "UPDATE run SET kept = ?2 WHERE number = ?1", params![number, kept])
}

/// A run ends, of which the output is not kept, or not yet. Returns its number if it was begun.
pub(super) fn conclude(connection: &Connection, ended: &RunEnded) -> rusqlite::Result<Option<i64>> {
    let values = params![
        ended.id.to_string(),
        ended.status.word(),
        ended.exit_code,
        ended.signal,
        ended.detail,
        i64::try_from(ended.duration.as_nanos()).unwrap_or(i64::MAX),
    ];
    connection
        .prepare_cached(
            "UPDATE run SET status = ?2, exit_code = ?3, signal = ?4, detail = ?5, duration = ?6
             WHERE id = ?1 RETURNING number",
        )?
        .query_row(values, |row| row.get(0))
        .optional()
}

/// A run ends because its exporter did. Nobody knows how long it took.
pub(super) fn interrupt(connection: &Connection, begun: &RunBegun) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE run SET status = ?2, detail = ?3 WHERE id = ?1",
        params![begun.id.to_string(), RunStatus::Failure.word(), INTERRUPTED],
    )
}

/// The beginning of a run, from the columns [`BEGUN`].
pub(super) fn begun(row: &Row<'_>) -> rusqlite::Result<RunBegun> {
    let name = row.get(3)?;
    let subject = match &*row.get::<_, String>(2)? {
        "lease" => Subject::Lease { name },
        "exporter" => Subject::Exporter { name },
        "driver" => Subject::Driver { path: name, version: row.get(4)?, hash: row.get(7)? },
        other => return Err(unknown(2, other)),
    };
    Ok(RunBegun {
        id: id(row, 0)?,
        event: word(row, 1, HookEvent::of_word)?,
        subject,
        lease: row.get::<_, Option<String>>(5)?.map(|text| uuid(5, &text)).transpose()?,
        started: timestamp(row.get(6)?),
    })
}

/// A word in a column, which a later version may have written.
pub(super) fn word<T>(
    row: &Row<'_>,
    column: usize,
    of_word: fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    of_word(&text).ok_or_else(|| unknown(column, &text))
}

/// A time as it is kept. The year 2262 is the last.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A time as it was kept.
fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}

fn lease(
    connection: &Connection,
    lease: &Lease,
    progress: Progress,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let id = lease.id.to_string();
    only_current(connection, &id, now)?;
    let (progress, prepared, reason) = match progress {
        Progress::Preparing => ("preparing", None, None),
        Progress::Prepared(prepared) => ("prepared", Some(prepared), None),
        Progress::CleaningUp(prepared, reason) => ("cleaning-up", Some(prepared), Some(reason)),
        Progress::Over => ("over", None, None),
    };
    let (prepared, reason) = (prepared.map(Prepared::word), reason.map(EndReason::word));
    let at = nanoseconds(now);
    // What is known of its preparations and its end stays known when it is over.
    run(
        connection,
        "INSERT INTO lease (id, name, client, context, progress, prepared, reason, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET
             name = ?2, client = ?3, context = ?4, progress = ?5, changed = ?8,
             prepared = coalesce(?6, prepared), reason = coalesce(?7, reason)",
        params![
            id,
            lease.name,
            lease.client,
            serde_json::json!(lease.context).to_string(),
            progress,
            prepared,
            reason,
            at,
        ],
    )?;
    run(
        connection,
        "INSERT INTO transition (at, lease, progress, prepared, reason)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![at, id, progress, prepared, reason],
    )
}

/// There is one lease at a time: every other one is over.
fn only_current(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE lease SET progress = 'over', changed = ?2 WHERE progress <> 'over' AND id <> ?1",
        params![id, nanoseconds(now)],
    )
}

fn apply(connection: &Connection, driver: &AppliedDriver) -> rusqlite::Result<()> {
    let AppliedDriver { path, type_name, version, hash, definition } = driver;
    run(connection, "DELETE FROM stage WHERE path = ?1", [path])?;
    run(
        connection,
        "INSERT OR REPLACE INTO driver (path, type_name, version, hash, definition)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![path, type_name, version, hash, definition],
    )
}

fn quarantine(
    connection: &Connection,
    quarantine: Option<(&str, Timestamp)>,
) -> rusqlite::Result<()> {
    let (reason, since) = quarantine.unzip();
    run(
        connection,
        "UPDATE bench SET quarantine_reason = ?1, quarantine_since = ?2",
        params![reason, since.map(nanoseconds)],
    )
}

fn process(connection: &Connection, mark: Option<Uuid>) -> rusqlite::Result<()> {
    let mark = mark.map(|mark| mark.to_string());
    run(connection, "UPDATE bench SET process = ?1", [mark])
}

/// A stage of a change is done, the change is not.
fn stage(connection: &Connection, done: &DoneStage) -> rusqlite::Result<()> {
    let DoneStage { path, hash, stage } = done;
    let event = HookEvent::Driver(*stage).word();
    run(
        connection,
        "INSERT OR REPLACE INTO stage (path, hash, event) VALUES (?1, ?2, ?3)",
        [path.as_str(), hash, event],
    )
}

fn done_stage(row: &Row<'_>) -> rusqlite::Result<DoneStage> {
    let of_word = |word: &str| match HookEvent::of_word(word)? {
        HookEvent::Driver(stage) => Some(stage),
        HookEvent::Lease(_) | HookEvent::Exporter(_) | HookEvent::Repair => None,
    };
    Ok(DoneStage { path: row.get(0)?, hash: row.get(1)?, stage: word(row, 2, of_word)? })
}

/// How a lease's hooks ended, as far as they did so by themselves.
fn ended_of(connection: &Connection, lease: Uuid) -> rusqlite::Result<Vec<(HookEvent, End)>> {
    let mut ends = connection.prepare(
        "SELECT event, status, exit_code, signal FROM run
         WHERE lease = ?1 AND status IS NOT NULL ORDER BY number",
    )?;
    let ends = ends.query_map([lease.to_string()], |row| {
        let status = word(row, 1, RunStatus::of_word)?;
        let end = End::of(status, row.get(2)?, row.get(3)?);
        Ok((word(row, 0, HookEvent::of_word)?, end))
    })?;
    let mut known = Vec::new();
    for end in ends {
        if let (event, Some(end)) = end? {
            known.push((event, end));
        }
    }
    Ok(known)
}

fn failures(connection: &Connection, count: u32) -> rusqlite::Result<()> {
    run(connection, "UPDATE bench SET failures = ?1", [count])
}

/// Runs a statement, prepared at its first use.
fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn lease_of(row: &Row<'_>) -> rusqlite::Result<(Lease, Progress)> {
    let progress = match &*row.get::<_, String>(4)? {
        "preparing" => Progress::Preparing,
        "prepared" => Progress::Prepared(word(row, 5, Prepared::of_word)?),
        "cleaning-up" => Progress::CleaningUp(
            word(row, 5, Prepared::of_word)?,
            word(row, 6, EndReason::of_word)?,
        ),
        other => return Err(unknown(4, other)),
    };
    let context: String = row.get(3)?;
    let context: BTreeMap<_, _> =
        serde_json::from_str(&context).map_err(|error| conversion(3, error))?;
    let lease = Lease { id: id(row, 0)?, name: row.get(1)?, client: row.get(2)?, context };
    Ok((lease, progress))
}

fn applied_driver(row: &Row<'_>) -> rusqlite::Result<AppliedDriver> {
    Ok(AppliedDriver {
        path: row.get(0)?,
        type_name: row.get(1)?,
        version: row.get(2)?,
        hash: row.get(3)?,
        definition: row.get(4)?,
    })
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    uuid(column, &row.get::<_, String>(column)?)
}

fn uuid(column: usize, text: &str) -> rusqlite::Result<Uuid> {
    text.parse().map_err(|error: uuid::Error| conversion(column, error))
}

fn unknown(column: usize, word: &str) -> rusqlite::Error {
    conversion(column, format!("'{word}' means nothing here"))
}

fn conversion(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
