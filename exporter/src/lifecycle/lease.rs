//! The hooks around a lease.

use hooks::Ending;

use super::environment::{Facts, Scene, of_parting};
use super::execution::{Executor, Hook, Surroundings, tell};
use super::{motd, verdict};
use crate::activity::Activity;
use crate::config::Config;
use crate::config::hooks::{LeaseHook, When};
use crate::lease::machine::{EndReason, Parting, Phase, Plan, Prepared, Verdict};
use crate::session::log::Source;
use crate::store::{HookEvent, RunBegun, RunEnded, Store, Subject};

/// The hooks around a lease.
#[derive(Debug, Clone)]
pub struct LeaseHooks {
    before: Option<LeaseHook>,
    after: Option<LeaseHook>,
    when: When,
    executor: Executor,
}

/// Which of a lease's hooks runs, and what it is told of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The beforeLease hook's.
    Before,
    /// The afterLease hook's.
    After {
        /// Why the lease has ended.
        reason: EndReason,
        /// What became of the beforeLease hook.
        prepared: Prepared,
    },
}

/// What a hook has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What its end means for the lease.
    pub verdict: Verdict,
    /// What it wants to say to the client, from a beforeLease hook that has not failed.
    pub motd: Option<String>,
    /// What has to be durable before anything is done because of its end.
    pub ended: Option<RunEnded>,
}

impl LeaseHooks {
    /// The lease hooks of a configuration.
    pub fn new(config: &Config, store: Store) -> Self {
        let after = config.hooks.after_lease.clone();
        Self {
            before: config.hooks.before_lease.clone(),
            when: after.as_ref().map(|after| after.when).unwrap_or_default(),
            after: after.map(|after| after.hook),
            executor: Executor::new(config, store),
        }
    }

    /// The same; their runs are seen in what goes on.
    #[must_use]
    pub fn seen_in(self, activity: &Activity) -> Self {
        Self { executor: self.executor.seen_in(activity), ..self }
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
            after_always: self.when == When::Always,
            exit_on_lease_end,
            ..Plan::default()
        }
    }

    /// The beginning of a run, to be made durable before it is asked for; none if there is nothing
    /// to run.
    pub fn begun(&self, turn: Turn, scene: &Scene) -> Option<RunBegun> {
        turn.hook(self.hook(turn.phase())?, scene).begun(scene)
    }

    /// Runs a hook to its end. Its lines, and what is to be said of it, go to `log`. If its
    /// beginning is not durable yet, it is made so.
    pub(super) async fn run(
        &self,
        turn: Turn,
        begun: Option<RunBegun>,
        around: Surroundings<'_>,
    ) -> Report {
        let Surroundings { scene, log, .. } = around;
        let passed = Report { verdict: Verdict::Passed, motd: None, ended: None };
        let phase = turn.phase();
        let Some(hook) = self.hook(phase) else { return passed };
        let id = match begun {
            Some(begun) => begun.id,
            None => {
                let Some(begun) = self.begun(turn, scene) else { return passed };
                self.executor.begin(&begun).await;
                begun.id
            }
        };
        let run = turn.hook(hook, scene);
        let (outcome, ended) = self.executor.carry_out(run, around, None, id).await;

        let verdict = verdict::of(&outcome.ending, hook);
        if let Some((severity, line)) = verdict::line(&verdict) {
            let source = match phase {
                Phase::Before => Source::BeforeLeaseHook,
                Phase::After => Source::AfterLeaseHook,
            };
            tell(severity, source, line, log);
        }
        let motd = match (turn, &verdict) {
            (Turn::Before, Verdict::Passed | Verdict::Warned(_)) => {
                scene.entrance.as_ref().and_then(|entrance| motd::read(&entrance.motd_file))
            }
            (
                Turn::Before,
                Verdict::Cancelled
                | Verdict::EndLease(_)
                | Verdict::Exit(_)
                | Verdict::Quarantine(_),
            )
            | (Turn::After { .. }, _) => None,
        };
        Report { verdict, motd, ended: Some(ended) }
    }

    /// What the end of a hook means that an earlier process has seen.
    pub fn judge(&self, phase: Phase, ending: &Ending) -> Verdict {
        self.hook(phase).map_or(Verdict::Passed, |hook| verdict::of(ending, hook))
    }

    fn hook(&self, phase: Phase) -> Option<&LeaseHook> {
        match phase {
            Phase::Before => self.before.as_ref(),
            Phase::After => self.after.as_ref(),
        }
    }
}

impl Turn {
    /// That of the hook at the end of a lease.
    pub fn after(parting: Parting) -> Self {
        let Parting { reason, prepared, .. } = parting;
        Self::After { reason, prepared }
    }

    /// Before or after.
    pub fn phase(self) -> Phase {
        match self {
            Self::Before => Phase::Before,
            Self::After { .. } => Phase::After,
        }
    }

    fn hook<'a>(self, hook: &'a LeaseHook, scene: &Scene) -> Hook<'a> {
        let name = scene.lease.as_ref().map(|lease| lease.name.clone()).unwrap_or_default();
        Hook {
            event: HookEvent::Lease(self.phase()),
            subject: Subject::Lease { name },
            script: &hook.script,
            facts: self.facts(scene),
        }
    }

    fn facts(self, scene: &Scene) -> Facts {
        match self {
            Self::Before => {
                let file = scene.entrance.as_ref().map(|way| way.motd_file.display().to_string());
                file.map(|file| ("JMP_MOTD_FILE".to_owned(), file)).into_iter().collect()
            }
            Self::After { reason, prepared } => of_parting(reason, prepared),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::lease::Lease;
    use crate::lifecycle::testing::{config, heard};
    use crate::session::log::Log;
    use hooks::Stop;

    fn scene() -> Scene {
        let (name, client) = ("lease-1".into(), "alice".into());
        let lease = Lease { id: Uuid::new_v4(), name, client, context: [].into() };
        Scene { lease: Some(lease), entrance: None }
    }

    async fn run(hooks: &str, turn: Turn) -> (Report, Vec<String>) {
        let log = Log::default();
        let hooks = LeaseHooks::new(&config(hooks), Store::none());
        let report = hooks
            .run(turn, None, Surroundings { scene: &scene(), log: &log, stop: &Stop::default() })
            .await;
        (report, heard(&log))
    }

    #[tokio::test]
    async fn an_after_lease_hook_knows_how_the_lease_went() {
        let script =
            "echo $HOOK_EVENT $LEASE_NAME $CLIENT_NAME $LEASE_END_REASON $BEFORE_LEASE_RESULT";
        let hooks = format!("hooks: {{afterLease: {{script: {script}}}}}");
        let turn = Turn::After { reason: EndReason::Released, prepared: Prepared::Passed };
        let (report, lines) = run(&hooks, turn).await;
        assert_eq!((report.verdict, report.motd), (Verdict::Passed, None));
        assert_eq!(lines, ["afterLease lease-1 alice released success"]);
    }

    #[tokio::test]
    async fn two_hooks_may_be_the_same_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "echo $HOOK_EVENT").unwrap();
        let path = file.path().display();
        let hooks =
            format!("hooks: {{beforeLease: {{script: {path}}}, afterLease: {{script: {path}}}}}");
        assert_eq!(run(&hooks, Turn::Before).await.1, ["beforeLease"]);
        let turn = Turn::After { reason: EndReason::Released, prepared: Prepared::Passed };
        assert_eq!(run(&hooks, turn).await.1, ["afterLease"]);
    }

    #[tokio::test]
    async fn a_failure_is_told_in_the_words_of_the_reference() {
        let hooks = "hooks: {beforeLease: {script: exit 3, onFailure: endLease}}";
        let (report, lines) = run(hooks, Turn::Before).await;
        let failure = "Hook failed with exit code 3";
        assert_eq!(report.verdict, Verdict::EndLease(failure.into()));
        assert_eq!(lines, [format!("{failure} (on_failure=endLease, raising exception)")]);
    }

    #[tokio::test]
    async fn what_does_not_exist_or_is_blank_passes() {
        for hooks in ["", "hooks: {beforeLease: {script: ' '}}"] {
            let (report, lines) = run(hooks, Turn::Before).await;
            assert_eq!((report.verdict, lines), (Verdict::Passed, Vec::new()));
        }
    }

    #[tokio::test]
    async fn a_user_that_is_not_there_is_a_failure_of_the_hook() {
        let hooks = "hooks: {beforeLease: {script: x, user: no-such-user, onFailure: exit}}";
        let (report, _) = run(hooks, Turn::Before).await;
        let expected = "Error executing hook: user 'no-such-user' does not exist; create it or \
                        correct `user`";
        assert_eq!(report.verdict, Verdict::Exit(expected.into()));
    }
}
