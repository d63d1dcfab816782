//! One run of a hook, whichever life it belongs to: told to the clients, and kept.
//!
//! ```text
//! Hook ──► begun, durable ──► hooks::Run ──► ended, durable ──► Outcome
//!                                 │
//!                                 └─► lines: the log, the operator, the record, a file
//! ```
//!
//! A run is on record before it begins, and its end before anything is done because of it. So a
//! hook that a crash has cut off is known, and one that has completed is never run again.

use std::path::PathBuf;
use std::time::Duration;

use hooks::{Ending, Environment, Outcome, Run, StartError, Stop, User};
use jiff::Timestamp;
use uuid::Uuid;

use super::environment::{self, Facts, Scene};
use super::log_file::LogFile;
use crate::activity::Activity;
use crate::config::Config;
use crate::config::hooks::{Form, Script};
use crate::lease::machine::Phase;
use crate::logging::HOOK_OUTPUT;
use crate::session::log::{Log, Record, Severity, Source};
use crate::store::{Capture, HookEvent, RunBegun, RunEnded, RunStatus, Store, Subject, Write};

/// How long a script's processes have to end by themselves. "A few seconds" in the reference.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Runs hooks and keeps the record of each.
#[derive(Debug, Clone)]
pub(super) struct Executor {
    /// The interpreter for `.py` files.
    python: String,
    store: Store,
    activity: Activity,
}

/// A hook that is to run.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    /// What for.
    pub(super) event: HookEvent,
    /// In whose life.
    pub(super) subject: Subject,
    /// What to run.
    pub(super) script: &'a Script,
    /// What it is told besides the event and the scene.
    pub(super) facts: Facts,
}

/// One run of a hook.
struct Execution<'a> {
    hook: Hook<'a>,
    what: hooks::Script,
    python: &'a str,
    id: Uuid,
}

/// Where a hook runs, who hears it, and who can end it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) scene: &'a Scene,
    pub(super) log: &'a Log,
    pub(super) stop: &'a Stop,
}

impl Executor {
    pub(super) fn new(config: &Config, store: Store) -> Self {
        let python = config.python.clone().unwrap_or_else(|| "python3".to_owned());
        Self { python, store, activity: Activity::default() }
    }

    /// The same; its runs are seen in what goes on.
    pub(super) fn seen_in(self, activity: &Activity) -> Self {
        Self { activity: activity.clone(), ..self }
    }

    /// Runs a hook to its end. The clients hear its lines, and what is to be said of what it leaves
    /// behind; the lines go to `file` as well. None if there is nothing to run.
    pub(super) async fn run(
        &self,
        hook: Hook<'_>,
        around: Surroundings<'_>,
        file: Option<&mut LogFile>,
    ) -> Option<Outcome> {
        let begun = hook.begun(around.scene)?;
        self.store.commit(vec![Write::RunBegun(begun.clone())]).await;
        let (outcome, ended) = self.carry_out(hook, around, file, begun.id).await;
        self.store.commit(vec![Write::RunEnded(ended)]).await;
        Some(outcome)
    }

    /// As [`run`](Self::run), where whoever asks for it keeps the record: that the run has begun is
    /// durable already, and that it has ended is so before anything is done because of it.
    pub(super) async fn carry_out(
        &self,
        hook: Hook<'_>,
        around: Surroundings<'_>,
        file: Option<&mut LogFile>,
        id: Uuid,
    ) -> (Outcome, RunEnded) {
        let what = what(hook.script);
        let (event, limit) = (hook.event.word(), hook.script.timeout.as_secs());
        let _doing = self.activity.begin(move || match hooks::leader(id) {
            Some(pid) => format!("hook: {event}, run {id}, process {pid}, time limit {limit} s"),
            None => format!("hook: {event}, run {id}, time limit {limit} s"),
        });
        Execution { hook, what, python: &self.python, id }.run(around, file).await
    }

    /// Makes the beginning of a run durable.
    pub(super) async fn begin(&self, begun: &RunBegun) {
        self.store.commit(vec![Write::RunBegun(begun.clone())]).await;
    }
}

impl Hook<'_> {
    /// The beginning of a run that is about to be; none if there is nothing to run.
    pub(super) fn begun(&self, scene: &Scene) -> Option<RunBegun> {
        if what(self.script) == hooks::Script::Blank {
            return None;
        }
        Some(RunBegun {
            id: Uuid::new_v4(),
            event: self.event,
            subject: self.subject.clone(),
            lease: scene.lease.as_ref().map(|lease| lease.id),
            started: Timestamp::now(),
        })
    }
}

impl Execution<'_> {
    async fn run(
        &self,
        around: Surroundings<'_>,
        mut file: Option<&mut LogFile>,
    ) -> (Outcome, RunEnded) {
        let Surroundings { scene, log, stop } = around;
        let (event, source) = (self.hook.event.word(), source_of(self.hook.event));
        let mut capture = Capture::default();
        let outcome = match self.prepare(scene) {
            Ok(run) => {
                let mut sink = |line: String| {
                    tracing::info!(target: HOOK_OUTPUT, "{event}: {line}");
                    capture.push_line(&line);
                    if let Some(file) = &mut file {
                        file.write_line(&line);
                    }
                    log.push(Record::new(Severity::Info, source, line));
                };
                run.run(&mut sink, stop).await
            }
            Err(error) => Outcome::not_started(error),
        };
        tell_of_leftovers(&outcome, source, log);
        let ended = ended(self.id, &outcome, self.hook.script.timeout);
        let output = capture.finish();
        (outcome, RunEnded { output, ..ended })
    }

    fn prepare(&self, scene: &Scene) -> Result<Run, StartError> {
        let script = self.hook.script;
        let user = script.user.as_deref().map(User::find).transpose()?;
        if let (Some(user), Some(entrance)) = (&user, &scene.entrance) {
            entrance.let_in(user.uid).map_err(|error| StartError::User {
                name: user.name.clone(),
                problem: format!("can't be let in to the hooks' socket: {error}"),
            })?;
        }
        let mut facts = environment::of_event(self.hook.event);
        facts.extend(self.hook.facts.clone());
        let own = std::env::vars_os();
        let environment = environment::of_hook(own, script, user.as_ref(), scene, facts);
        let workdir = script.workdir.clone();
        let workdir =
            workdir.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"));
        let exec = script.exec.as_deref().or_else(|| shell(script.form, &environment));
        let invocation = self.what.invocation(exec, self.python);
        let invocation = invocation.ok_or_else(|| StartError::System("nothing to run".into()))?;
        let (id, limit) = (self.id, script.timeout);
        Ok(Run { id, invocation, environment, workdir, user, limit, grace: GRACE })
    }
}

/// What a script is for the interpreter.
fn what(script: &Script) -> hooks::Script {
    let text = || hooks::Script::Inline(script.text.clone());
    match (script.form, hooks::Script::detect(&script.text)) {
        (_, hooks::Script::Blank) => hooks::Script::Blank,
        // It may have another working directory than the exporter.
        (Form::TextOrFile, hooks::Script::File(_)) => {
            script.file().map_or_else(text, hooks::Script::File)
        }
        (Form::TextOrFile, hooks::Script::Inline(_)) | (Form::Text, _) => text(),
    }
}

/// The shell for scripts of this form, where it isn't the one that all hosts have: those of SkyPilot
/// and Chef are written for bash.
fn shell(form: Form, environment: &Environment) -> Option<&'static str> {
    match form {
        Form::TextOrFile => None,
        Form::Text => {
            let path = environment.get("PATH")?;
            let is_there =
                std::env::split_paths(path).any(|directory| directory.join("bash").is_file());
            is_there.then_some("bash")
        }
    }
}

/// Whose words a hook's output is to the clients.
fn source_of(event: HookEvent) -> Source {
    match event {
        HookEvent::Lease(Phase::Before) => Source::BeforeLeaseHook,
        HookEvent::Lease(Phase::After) => Source::AfterLeaseHook,
        HookEvent::Driver(_) => Source::Driver,
        HookEvent::Exporter(_) | HookEvent::Repair => Source::System,
    }
}

/// What is kept of an outcome, apart from the output.
fn ended(id: Uuid, outcome: &Outcome, limit: Duration) -> RunEnded {
    let ended = RunEnded {
        id,
        status: RunStatus::Failure,
        exit_code: None,
        signal: None,
        detail: None,
        duration: outcome.duration,
        output: crate::store::Output::default(),
    };
    match &outcome.ending {
        Ending::Exited(0) => RunEnded { status: RunStatus::Success, exit_code: Some(0), ..ended },
        Ending::Exited(code) => RunEnded { exit_code: Some(*code), ..ended },
        Ending::Signaled(signal) => RunEnded { signal: Some(*signal), ..ended },
        Ending::TimedOut => {
            let detail = format!("took longer than {} s", limit.as_secs());
            RunEnded { status: RunStatus::Timeout, detail: Some(detail), ..ended }
        }
        Ending::Cancelled => {
            RunEnded { detail: Some("cancelled: nobody waits for it any more".into()), ..ended }
        }
        Ending::NotStarted(error) => {
            RunEnded { detail: Some(format!("could not be started: {error}")), ..ended }
        }
    }
}

/// What went wrong with a hook, in words; none if nothing did. A hook that nobody waits for any more
/// has not failed.
pub(super) fn failure(ending: &Ending, limit: Duration) -> Option<String> {
    match ending {
        Ending::Exited(0) | Ending::Cancelled => None,
        Ending::Exited(code) => Some(format!("failed with exit code {code}")),
        Ending::Signaled(signal) => Some(format!("was ended by signal {signal}")),
        Ending::TimedOut => Some(format!("took longer than {} s and was ended", limit.as_secs())),
        Ending::NotStarted(error) => Some(format!("could not be started: {error}")),
    }
}

/// Whether a hook did what it should, for whoever can't go on without.
///
/// # Errors
///
/// What went wrong, in words; to be cancelled counts here.
pub(super) fn success(outcome: &Outcome, limit: Duration) -> Result<(), String> {
    match failure(&outcome.ending, limit) {
        Some(failure) => Err(failure),
        None if outcome.is_success() => Ok(()),
        None => Err("was cancelled".into()),
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
pub(super) fn tell(severity: Severity, source: Source, line: String, log: &Log) {
    match severity {
        Severity::Debug | Severity::Info => tracing::info!(target: HOOK_OUTPUT, "{line}"),
        Severity::Warning => tracing::warn!(target: HOOK_OUTPUT, "{line}"),
        Severity::Error => tracing::error!(target: HOOK_OUTPUT, "{line}"),
    }
    log.push(Record::new(severity, source, line));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{Filter, History};

    /// Runs a script with a store, and returns what the store has of the run.
    async fn recorded(script: &Script) -> (crate::store::Run, crate::store::Output) {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let (store, _) = Store::open(&state).unwrap();
        let executor = Executor::new(&Config::default(), store);
        let subject = Subject::Exporter { name: "bench".into() };
        let hook = Hook { event: HookEvent::Repair, subject, script, facts: Facts::new() };
        let (scene, log, stop) = (Scene::default(), Log::default(), Stop::default());
        let around = Surroundings { scene: &scene, log: &log, stop: &stop };
        executor.run(hook, around, None).await.unwrap();
        drop(executor);
        let history = History::open(&state).unwrap();
        let [run] = &history.runs(&Filter::default()).unwrap()[..] else { panic!() };
        (run.clone(), history.output(run.begun.id).unwrap())
    }

    fn script(text: &str) -> Script {
        let timeout = Duration::from_secs(30);
        Script { text: text.into(), form: Form::Text, timeout, ..Script::default() }
    }

    #[tokio::test]
    async fn every_run_is_on_record() {
        let (run, output) = recorded(&script("echo out; echo err >&2; exit 3")).await;
        assert_eq!(run.begun.event, HookEvent::Repair);
        let ended = run.ended.unwrap();
        assert_eq!((ended.status, ended.exit_code), (RunStatus::Failure, Some(3)));
        assert_eq!(output.head, "out\nerr\n");
    }

    #[tokio::test]
    async fn endings_are_told_apart() {
        let limited = Script { timeout: Duration::ZERO, ..script("sleep 1000") };
        let lost = Script { user: Some("no-such-user".into()), ..script("x") };
        let lost_detail = "could not be started: user 'no-such-user' does not exist; create it or \
                           correct `user`";
        for (script, status, signal, detail) in [
            (script("true"), RunStatus::Success, None, None),
            (script("kill -9 $$"), RunStatus::Failure, Some(9), None),
            (limited, RunStatus::Timeout, None, Some("took longer than 0 s")),
            (lost, RunStatus::Failure, None, Some(lost_detail)),
        ] {
            let ended = recorded(&script).await.0.ended.unwrap();
            assert_eq!((ended.status, ended.signal), (status, signal), "{script:?}");
            assert_eq!(ended.detail.as_deref(), detail);
        }
    }

    #[tokio::test]
    async fn of_a_flood_the_beginning_and_the_end_are_kept() {
        let (run, output) = recorded(&script("seq 1 600000")).await;
        assert_eq!(run.ended.unwrap().status, RunStatus::Success);
        assert!(output.head.starts_with("1\n2\n") && output.tail.ends_with("599999\n600000\n"));
        assert!(output.kept() <= crate::store::CAP && output.omitted > 0);
    }

    #[tokio::test]
    async fn scripts_of_other_systems_run_in_the_shell_they_are_written_for() {
        let (_, output) = recorded(&script("[[ 1 ]] && echo ${BASH_VERSION:+bash}")).await;
        assert_eq!(output.head, "bash\n");
    }

    #[tokio::test]
    async fn a_relative_file_is_found_from_another_working_directory() {
        let file = tempfile::NamedTempFile::new_in(".").unwrap();
        fs::write(&file, "pwd").unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        let form = Form::TextOrFile;
        let script = Script { form, workdir: Some("/".into()), ..script(name) };
        assert_eq!(recorded(&script).await.1.head, "/\n");
    }
}
