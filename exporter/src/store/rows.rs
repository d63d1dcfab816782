//! How what is kept becomes rows, and rows become what was kept.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::event::HookEvent;
use super::output::Output;
use super::record::{AppliedDriver, DoneStage, Quarantined, Recovery, Write};
use super::run::{End, RunBegun, RunEnded, RunStatus, Subject};
use crate::lease::Lease;
use crate::lease::machine::journal::Progress;
use crate::lease::machine::{Cause, EndReason, Prepared};

/// What is said of a run that its exporter did not live to see the end of.
const INTERRUPTED: &str = "interrupted: the exporter ended while it ran";

/// The columns of a run's beginning, for [`begun`].
pub(super) const BEGUN: &str =
    "run.id, run.event, run.subject_kind, run.subject, run.version, run.lease, run.started,
    run.hash";

/// Adds a change to the history.
pub(super) fn record(
    connection: &Connection,
    write: &Write,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match write {
        Write::Lease(of, progress) => lease(connection, of, *progress, now),
        Write::RunBegun(run) => begin(connection, run),
        Write::RunEnded(run) => {
            conclude(connection, run)?;
            keep_output(connection, run)
        }
        Write::DriverApplied(_)
        | Write::DriverRemoved { .. }
        | Write::Quarantined(_)
        | Write::QuarantineLifted
        | Write::FailuresInARow(_)
        | Write::Process(_) => Ok(()),
    }
}

/// Makes the present, which was `old`, what `new` says: all that is not history.
pub(super) fn settle(
    connection: &Connection,
    old: &Recovery,
    new: &Recovery,
) -> rusqlite::Result<()> {
    if old.drivers != new.drivers {
        run(connection, "DELETE FROM driver", [])?;
        new.drivers.iter().try_for_each(|one| driver(connection, one))?;
    }
    if old.ended != new.ended {
        run(connection, "DELETE FROM ended", [])?;
        new.ended.iter().try_for_each(|(event, end)| ended(connection, *event, *end))?;
    }
    if old.stages != new.stages {
        run(connection, "DELETE FROM stage", [])?;
        new.stages.iter().try_for_each(|one| stage(connection, one))?;
    }
    let rest = |state: &Recovery| {
        (state.quarantine.clone(), state.repaired, state.failures, state.process)
    };
    if rest(old) != rest(new) { bench(connection, new) } else { Ok(()) }
}

/// Makes the present what `state` says, whatever it was, and the lease in it the present one.
pub(super) fn restore(
    connection: &Connection,
    state: &Recovery,
    now: Timestamp,
) -> rusqlite::Result<()> {
    only_current(connection, "", now)?;
    // Of all that are over by now, it was the last.
    let now = now.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(now);
    if let Some(of) = &state.returned {
        lease(connection, of, Progress::Over, now)?;
    }
    if let Some((of, progress)) = &state.lease {
        lease(connection, of, *progress, now)?;
    }
    state.unfinished_runs.iter().try_for_each(|run| begin(connection, run))?;
    settle(connection, &read_back(connection)?, state)
}

/// Why the bench is out of service, since when, what has to be put right, and whether it was repaired
/// since; failures in a row; and the mark of its processes.
type BenchRow = (Option<String>, Option<i64>, Option<String>, bool, u32, Option<String>);

/// Everything that the last process has left.
pub(super) fn read_back(connection: &Connection) -> rusqlite::Result<Recovery> {
    let lease = "SELECT id, name, client, context, progress, prepared, reason FROM lease
                 WHERE progress <> 'over' ORDER BY changed DESC LIMIT 1";
    let returned = "SELECT id, name, client, context FROM lease
                    WHERE progress = 'over' ORDER BY changed DESC, rowid DESC LIMIT 1";
    let runs = format!("SELECT {BEGUN} FROM run WHERE status IS NULL ORDER BY number");
    let drivers = "SELECT path, type_name, version, hash, definition FROM driver ORDER BY path";
    let bench = "SELECT quarantine_reason, quarantine_since, quarantine_cause, repaired, failures,
                     process FROM bench";
    let (reason, since, cause, repaired, failures, process): BenchRow =
        connection.query_row(bench, [], |row| row.try_into())?;
    Ok(Recovery {
        lease: connection.query_row(lease, [], current_lease).optional()?,
        returned: connection.query_row(returned, [], lease_of).optional()?,
        ended: connection
            .prepare("SELECT event, exit_code, signal FROM ended ORDER BY number")?
            .query_map([], end_of)?
            .collect::<Result<_, _>>()?,
        process: process.map(|text| uuid(4, &text)).transpose()?,
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
        quarantine: match (reason, since) {
            (Some(reason), Some(since)) => {
                let of_word = |word: String| Cause::of_word(&word).ok_or_else(|| unknown(2, &word));
                // The first version of the schema did not tell.
                let cause = cause.map(of_word).transpose()?.unwrap_or(Cause::Leases);
                Some(Quarantined { reason, cause, since: timestamp(since) })
            }
            (None, _) | (_, None) => None,
        },
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

/// A run ends, unless it was never begun. Its output is not kept yet.
pub(super) fn conclude(connection: &Connection, ended: &RunEnded) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE run SET status = ?2, exit_code = ?3, signal = ?4, detail = ?5, duration = ?6
         WHERE id = ?1",
        params![
            ended.id.to_string(),
            ended.status.word(),
            ended.exit_code,
            ended.signal,
            ended.detail,
            i64::try_from(ended.duration.as_nanos()).unwrap_or(i64::MAX),
        ],
    )
}

/// Keeps the output of a run, unless it was never begun.
pub(super) fn keep_output(connection: &Connection, ended: &RunEnded) -> rusqlite::Result<()> {
    let id = ended.id.to_string();
    let Output { head, tail, omitted } = &ended.output;
    run(
        connection,
        "INSERT OR REPLACE INTO output (run, head, tail, omitted)
         SELECT number, ?2, ?3, ?4 FROM run WHERE id = ?1",
        params![id, head, tail, i64::try_from(*omitted).unwrap_or(i64::MAX)],
    )?;
    let kept = i64::try_from(ended.output.kept()).unwrap_or(i64::MAX);
    run(connection, "UPDATE run SET kept = ?2 WHERE id = ?1", params![id, kept])
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

fn bench(connection: &Connection, state: &Recovery) -> rusqlite::Result<()> {
    let quarantine = state.quarantine.as_ref();
    run(
        connection,
        "UPDATE bench SET quarantine_reason = ?1, quarantine_since = ?2, quarantine_cause = ?3,
             repaired = ?4, failures = ?5, process = ?6",
        params![
            quarantine.map(|quarantine| &quarantine.reason),
            quarantine.map(|quarantine| nanoseconds(quarantine.since)),
            quarantine.map(|quarantine| quarantine.cause.word()),
            state.repaired,
            state.failures,
            state.process.map(|mark| mark.to_string()),
        ],
    )
}

fn driver(connection: &Connection, driver: &AppliedDriver) -> rusqlite::Result<()> {
    let AppliedDriver { path, type_name, version, hash, definition } = driver;
    run(
        connection,
        "INSERT INTO driver (path, type_name, version, hash, definition)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![path, type_name, version, hash, definition],
    )
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

/// A hook of the present lease has ended by itself.
fn ended(connection: &Connection, event: HookEvent, end: End) -> rusqlite::Result<()> {
    let (exit_code, signal) = match end {
        End::Exited(code) => (Some(code), None),
        End::Signaled(signal) => (None, Some(signal)),
        End::TimedOut => (None, None),
    };
    run(
        connection,
        "INSERT INTO ended (event, exit_code, signal) VALUES (?1, ?2, ?3)",
        params![event.word(), exit_code, signal],
    )
}

fn end_of(row: &Row<'_>) -> rusqlite::Result<(HookEvent, End)> {
    let end = match (row.get(1)?, row.get(2)?) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signaled(signal),
        (None, None) => End::TimedOut,
    };
    Ok((word(row, 0, HookEvent::of_word)?, end))
}

/// Runs a statement, prepared at its first use.
fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn current_lease(row: &Row<'_>) -> rusqlite::Result<(Lease, Progress)> {
    let progress = match &*row.get::<_, String>(4)? {
        "preparing" => Progress::Preparing,
        "prepared" => Progress::Prepared(word(row, 5, Prepared::of_word)?),
        "cleaning-up" => Progress::CleaningUp(
            word(row, 5, Prepared::of_word)?,
            word(row, 6, EndReason::of_word)?,
        ),
        other => return Err(unknown(4, other)),
    };
    Ok((lease_of(row)?, progress))
}

fn lease_of(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let context: String = row.get(3)?;
    let context: BTreeMap<_, _> =
        serde_json::from_str(&context).map_err(|error| conversion(3, error))?;
    Ok(Lease { id: id(row, 0)?, name: row.get(1)?, client: row.get(2)?, context })
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
