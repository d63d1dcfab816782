//! The hooks of the exporter's own life: before it stops, is told to go, or goes for good.

use std::path::PathBuf;

use hooks::Stop;

use super::environment::{Facts, Scene};
use super::execution::{Executor, Hook, Surroundings, failure, tell};
use super::log_file::LogFile;
use crate::activity::Activity;
use crate::config::Config;
use crate::config::hooks::{LifecycleEvent, LifecycleHook};
use crate::session::log::{Log, Severity, Source};
use crate::store::{HookEvent, Store, Subject};

/// The hooks of an exporter's own life.
#[derive(Debug, Clone)]
pub struct ExporterHooks {
    hooks: Vec<LifecycleHook>,
    /// The exporter's name.
    name: String,
    /// Where each event has its log file.
    logs: Option<PathBuf>,
    executor: Executor,
}

impl ExporterHooks {
    /// The hooks of a configuration. Their output goes to `logs`, if there is such a directory, a
    /// file for each event.
    pub fn new(config: &Config, store: Store, logs: Option<PathBuf>) -> Self {
        Self {
            hooks: config.hooks.lifecycle.clone(),
            name: config.metadata.name.clone(),
            logs,
            executor: Executor::new(config, store),
        }
    }

    /// The same; their runs are seen in what goes on.
    #[must_use]
    pub fn seen_in(self, activity: &Activity) -> Self {
        Self { executor: self.executor.seen_in(activity), ..self }
    }

    /// Whether there is any for this event.
    pub fn exist(&self, event: LifecycleEvent) -> bool {
        self.of(event).next().is_some()
    }

    /// Runs the hooks of an event, one after the other in the order of the configuration. A failure
    /// is told, and the event goes on: those after it run all the same. Returns whether all did what
    /// they should.
    pub async fn run(&self, event: LifecycleEvent, scene: &Scene, log: &Log, stop: &Stop) -> bool {
        let around = Surroundings { scene, log, stop };
        let mut file = self.begin_log(event);
        let mut all_passed = true;
        for (index, LifecycleHook { script, .. }) in self.of(event).enumerate() {
            if stop.asked.is_cancelled() || stop.killed.is_cancelled() {
                return false;
            }
            let subject = Subject::Exporter { name: self.name.clone() };
            let life = HookEvent::Exporter(event);
            let hook = Hook { event: life, subject, script, facts: Facts::new() };
            let outcome = self.executor.run(hook, around, file.as_mut()).await;
            let failure = outcome.and_then(|outcome| failure(&outcome.ending, script.timeout));
            if let Some(failure) = failure {
                all_passed = false;
                let (event, number) = (event.word(), index + 1);
                let line = format!("{event} hook {number} {failure}; the exporter goes on");
                if let Some(file) = &mut file {
                    file.write_line(&line);
                }
                tell(Severity::Warning, Source::System, line, log);
            }
        }
        all_passed
    }

    fn of(&self, event: LifecycleEvent) -> impl Iterator<Item = &LifecycleHook> {
        self.hooks.iter().filter(move |hook| hook.events.contains(&event))
    }

    fn begin_log(&self, event: LifecycleEvent) -> Option<LogFile> {
        let path = self.logs.as_ref()?.join(format!("{}.log", event.word()));
        // What the last time has left stays, where there is nothing to say this time.
        self.exist(event).then_some(())?;
        match LogFile::begin(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!("no log file {} for hooks: {error}", path.display());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::lifecycle::testing::{config, heard};

    const HOOKS: &str = "hooks:
  lifecycle:
  - run: echo one $SKYPILOT_HOOK_EVENT
  - {run: 'echo two; exit 3', events: [stop]}
  - {run: 'echo never', events: [down]}
  - {run: '[[ $HOOK_EVENT = stop ]] && echo three; exec sleep 1000', timeout: 1, events: [stop]}
  - {run: echo four, events: [preemption, stop]}
";

    async fn run(event: LifecycleEvent, logs: Option<PathBuf>) -> (bool, Vec<String>) {
        let log = Log::default();
        let hooks = ExporterHooks::new(&config(HOOKS), Store::none(), logs);
        let passed = hooks.run(event, &Scene::default(), &log, &Stop::default()).await;
        (passed, heard(&log))
    }

    #[tokio::test]
    async fn all_hooks_of_an_event_run_in_order_whatever_becomes_of_each() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("hooks");
        let (passed, lines) = run(LifecycleEvent::Stop, Some(logs.clone())).await;
        assert!(!passed);
        let expected = [
            "one stop",
            "two",
            "stop hook 2 failed with exit code 3; the exporter goes on",
            "three",
            "stop hook 3 took longer than 1 s and was ended; the exporter goes on",
            "four",
        ];
        assert_eq!(lines, expected);
        let file = logs.join("stop.log");
        assert_eq!(fs::read_to_string(&file).unwrap().lines().collect::<Vec<_>>(), expected);

        let (passed, lines) = run(LifecycleEvent::Preemption, Some(logs.clone())).await;
        assert!(passed);
        assert_eq!(lines, ["one preemption", "four"]);
        assert_eq!(fs::read_to_string(file).unwrap().lines().count(), expected.len());
        assert!(!logs.join("down.log").exists());
    }

    #[tokio::test]
    async fn nothing_more_runs_once_it_has_to_be_quick() {
        let log = Log::default();
        let hooks = ExporterHooks::new(&config(HOOKS), Store::none(), None);
        let stop = Stop::default();
        stop.killed.cancel();
        assert!(!hooks.run(LifecycleEvent::Stop, &Scene::default(), &log, &stop).await);
        assert_eq!(heard(&log), [""; 0]);
    }
}
