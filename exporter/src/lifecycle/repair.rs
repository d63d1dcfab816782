//! The hook that tries to bring a quarantined bench back.

use hooks::Stop;

use super::environment::{Facts, Scene};
use super::execution::{Executor, Hook, Surroundings, success};
use crate::activity::Activity;
use crate::config::{self, Config};
use crate::session::log::Log;
use crate::store::{HookEvent, Store, Subject};

/// The repair hook.
#[derive(Debug, Clone)]
pub struct RepairHook {
    hook: Option<config::hooks::RepairHook>,
    /// The exporter's name.
    name: String,
    executor: Executor,
}

impl RepairHook {
    /// The repair hook of a configuration.
    pub fn new(config: &Config, store: Store) -> Self {
        Self {
            hook: config.hooks.repair.clone(),
            name: config.metadata.name.clone(),
            executor: Executor::new(config, store),
        }
    }

    /// The same; its runs are seen in what goes on.
    #[must_use]
    pub fn seen_in(self, activity: &Activity) -> Self {
        Self { executor: self.executor.seen_in(activity), ..self }
    }

    /// Tries to repair a bench that is out of service for this `reason`.
    ///
    /// # Errors
    ///
    /// Why it is still out of service.
    pub async fn run(
        &self,
        reason: &str,
        scene: &Scene,
        log: &Log,
        stop: &Stop,
    ) -> Result<(), String> {
        let around = Surroundings { scene, log, stop };
        let Some(repair) = &self.hook else { return Err("there is no repair hook".into()) };
        let (event, script) = (HookEvent::Repair, &repair.script);
        let subject = Subject::Exporter { name: self.name.clone() };
        let facts = Facts::from([("QUARANTINE_REASON".into(), reason.into())]);
        let hook = Hook { event, subject, script, facts };
        let Some(outcome) = self.executor.run(hook, around, None).await else { return Ok(()) };
        success(&outcome, script.timeout).map_err(|failure| format!("the repair hook {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::{config, heard};

    #[tokio::test]
    async fn only_success_repairs() {
        let log = Log::default();
        let run = async |script: &str| {
            let config = config(&format!("hooks: {{repair: {{script: '{script}'}}}}"));
            let hook = RepairHook::new(&config, Store::none());
            hook.run("no serial", &Scene::default(), &log, &Stop::default()).await
        };
        assert_eq!(run("echo $HOOK_EVENT: $QUARANTINE_REASON").await, Ok(()));
        assert_eq!(heard(&log), ["repair: no serial"]);
        assert_eq!(run("exit 1").await, Err("the repair hook failed with exit code 1".into()));
        assert_eq!(run("kill -9 $$").await, Err("the repair hook was ended by signal 9".into()));
    }
}
