//! The hooks of an exporter: which script belongs to which event, what it is told, and what its
//! end means.

pub mod changes;
pub mod definition;
mod environment;
mod lives;
mod motd;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use hooks::{Ending, Outcome, Run, Stop};
use uuid::Uuid;

pub use self::environment::Scene;
pub use self::lives::Lifecycle;
use crate::config::Config;
use crate::config::hooks::LeaseHook;
use crate::lease::machine::{Phase, Plan, Verdict};
use crate::logging::HOOK_OUTPUT;
use crate::session::log::{Log, Record, Severity, Source};
use crate::store::End;

/// How long a script's processes have to end by themselves. "A few seconds" in the reference.
const GRACE: Duration = Duration::from_secs(5);

/// The hooks around a lease.
#[derive(Debug, Clone)]
pub struct LeaseHooks {
    before: Option<LeaseHook>,
    after: Option<LeaseHook>,
    /// The interpreter for `.py` files.
    python: String,
}

/// What a hook has left.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// What its end means for the lease.
    pub verdict: Verdict,
    /// What it wants to say to the client, from a beforeLease hook that has not failed.
    pub motd: Option<String>,
}

impl LeaseHooks {
    /// The lease hooks of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            before: config.hooks.before_lease.clone(),
            after: config.hooks.after_lease.clone().map(|after| after.hook),
            python: config.python.clone().unwrap_or_else(|| "python3".to_owned()),
        }
    }

    /// Whether there is any.
    pub fn exist(&self) -> bool {
        self.before.is_some() || self.after.is_some()
    }

    /// What the lease has to do because of them.
    pub fn plan(&self, exit_on_lease_end: bool) -> Plan {
        Plan {
            before: self.before.is_some(),
            after: self.after.is_some(),
            exit_on_lease_end,
            ..Plan::default()
        }
    }

    /// Runs a hook to its end. Its lines, and what is to be said of it, go to `log`. A hook that was
    /// stopped has passed: whoever stops it goes on without it.
    pub async fn run(&self, phase: Phase, scene: &Scene, log: &Log, stop: &Stop) -> Report {
        let (hook, source) = match phase {
            Phase::Before => (&self.before, Source::BeforeLeaseHook),
            Phase::After => (&self.after, Source::AfterLeaseHook),
        };
        let passed = Report { verdict: Verdict::Passed, motd: None };
        let Some(hook) = hook else { return passed };
        let script = hooks::Script::detect(&hook.script.text);
        let exec = hook.script.exec.as_deref();
        let Some(invocation) = script.invocation(exec, &self.python) else { return passed };

        let workdir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let run = Run {
            id: Uuid::new_v4(),
            invocation,
            environment: environment::of_hook(std::env::vars_os(), phase, scene),
            workdir,
            user: None,
            limit: hook.script.timeout,
            grace: GRACE,
        };
        let mut sink = |line: String| {
            tracing::info!(target: HOOK_OUTPUT, "{event}: {line}", event = phase.event());
            log.push(Record::new(Severity::Info, source, line));
        };
        let outcome = run.run(&mut sink, stop).await;
        tell_of_leftovers(&outcome, source, log);
        let verdict = verdict::of(&outcome.ending, hook);
        if let Some((severity, line)) = verdict::line(&verdict) {
            tell(severity, source, line, log);
        }
        let motd = match (phase, &verdict) {
            (Phase::Before, Verdict::Passed | Verdict::Warned(_)) => motd::read(&scene.motd_file),
            (
                Phase::Before,
                Verdict::Cancelled
                | Verdict::EndLease(_)
                | Verdict::Exit(_)
                | Verdict::Quarantine(_),
            )
            | (Phase::After, _) => None,
        };
        Report { verdict, motd }
    }

    /// What a hook has come to that ended under an earlier process.
    pub fn recorded(&self, phase: Phase, end: End) -> Report {
        let hook = match phase {
            Phase::Before => &self.before,
            Phase::After => &self.after,
        };
        let ending = match end {
            End::Exited(code) => Ending::Exited(code),
            End::Signaled(signal) => Ending::Signaled(signal),
            End::TimedOut => Ending::TimedOut,
        };
        let verdict = hook.as_ref().map_or(Verdict::Passed, |hook| verdict::of(&ending, hook));
        Report { verdict, motd: None }
    }
}

fn tell_of_leftovers(outcome: &Outcome, source: Source, log: &Log) {
    let list = |processes: &[hooks::Process]| {
        processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if !outcome.leftovers.is_empty() && outcome.is_success() {
        let line = format!(
            "the script has left processes behind; they were ended: {}",
            list(&outcome.leftovers)
        );
        tell(Severity::Warning, source, line, log);
    }
    if !outcome.survivors.is_empty() {
        let line = format!("processes that can't be ended: {}", list(&outcome.survivors));
        tell(Severity::Error, source, line, log);
    }
}

/// Tells the clients and the operator something about a hook.
fn tell(severity: Severity, source: Source, line: String, log: &Log) {
    match severity {
        Severity::Debug | Severity::Info => tracing::info!(target: HOOK_OUTPUT, "{line}"),
        Severity::Warning => tracing::warn!(target: HOOK_OUTPUT, "{line}"),
        Severity::Error => tracing::error!(target: HOOK_OUTPUT, "{line}"),
    }
    log.push(Record::new(severity, source, line));
}
