//! A hook's run as JSON.

use serde::Serialize;

use crate::config::export::Stage;
use crate::lease::machine::Phase;
use crate::store::{Found, HookEvent, Output, RunStatus, Subject};

/// A hook's run: the fields of Chef's `hook-executions`, and below them our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Names the run.
    pub(super) id: String,
    /// The driver, the lease or the exporter whose hook it was.
    skill_name: String,
    /// The driver's version.
    skill_version: Option<String>,
    /// The event in Chef's spelling: `pre_install`.
    lifecycle_stage: &'static str,
    /// `success`, `failure` or `timeout`; null while it runs.
    status: Option<&'static str>,
    exit_code: Option<i32>,
    /// All that it has printed; where a part is missing, a line says so.
    stdout: String,
    /// Nothing: see `streams`.
    stderr: &'static str,
    /// When it began, in RFC 3339.
    executed_at: String,

    /// Whose bench it was.
    exporter: String,
    /// The event as configured: `preInstall`.
    event: &'static str,
    /// What `skillName` is: `driver`, `lease` or `exporter`.
    subject: &'static str,
    /// The lease that the bench had.
    lease_name: Option<String>,
    duration_ms: Option<u64>,
    /// The signal that ended it.
    signal: Option<i32>,
    /// `merged`: a script writes to a terminal, which does not tell its two streams apart.
    streams: &'static str,
    /// What the numbers don't say.
    detail: Option<String>,
    /// How many bytes of its output were not kept.
    omitted_bytes: u64,
}

impl Execution {
    /// A run with its output.
    pub fn new(found: &Found, output: Output) -> Self {
        let (begun, ended) = (&found.run.begun, found.run.ended.as_ref());
        let omitted_bytes = output.omitted;
        Self {
            id: begun.id.to_string(),
            skill_name: begun.subject.name().into(),
            skill_version: begun.subject.version().map(Into::into),
            lifecycle_stage: stage(begun.event),
            status: ended.map(|ended| ended.status).map(RunStatus::word),
            exit_code: ended.and_then(|ended| ended.exit_code),
            stdout: output.into_text(),
            stderr: "",
            executed_at: begun.started.to_string(),
            exporter: found.exporter.clone(),
            event: begun.event.word(),
            subject: match begun.subject {
                Subject::Lease { .. } => "lease",
                Subject::Exporter { .. } => "exporter",
                Subject::Driver { .. } => "driver",
            },
            lease_name: found.run.lease_name.clone(),
            duration_ms: ended
                .and_then(|ended| ended.duration)
                .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            signal: ended.and_then(|ended| ended.signal),
            streams: "merged",
            detail: ended.and_then(|ended| ended.detail.clone()),
            omitted_bytes,
        }
    }
}

fn stage(event: HookEvent) -> &'static str {
    match event {
        HookEvent::Lease(Phase::Before) => "before_lease",
        HookEvent::Lease(Phase::After) => "after_lease",
        HookEvent::Driver(Stage::PreInstall) => "pre_install",
        HookEvent::Driver(Stage::PostInstall) => "post_install",
        HookEvent::Driver(Stage::PreUpdate) => "pre_update",
        HookEvent::Driver(Stage::PostUpdate) => "post_update",
        HookEvent::Driver(Stage::PreDelete) => "pre_delete",
        HookEvent::Driver(Stage::PostDelete) => "post_delete",
        HookEvent::Exporter(_) | HookEvent::Repair => event.word(),
    }
}
