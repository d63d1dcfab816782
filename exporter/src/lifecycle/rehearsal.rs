//! A hook without a life: run for its author, on the real bench, with nothing on record.

use hooks::Stop;
use uuid::Uuid;

use super::apply::run_stage;
use super::definition::Definition;
use super::execution::Executor;
use super::execution::Surroundings;
use super::{ExporterHooks, LeaseHooks, RepairHook, Scene, Turn};
use crate::config::Config;
use crate::config::export::Stage;
use crate::config::hooks::LifecycleEvent;
use crate::lease::Lease;
use crate::lease::machine::{EndReason, Phase, Prepared, Verdict};
use crate::lease::status::Status;
use crate::session::log::Log;
use crate::store::{HookEvent, Store};

/// Whether a configuration has a hook for an event.
pub fn is_there(config: &Config, event: HookEvent) -> bool {
    let hooks = &config.hooks;
    match event {
        HookEvent::Lease(Phase::Before) => hooks.before_lease.is_some(),
        HookEvent::Lease(Phase::After) => hooks.after_lease.is_some(),
        HookEvent::Exporter(event) => {
            hooks.lifecycle.iter().any(|hook| hook.events.contains(&event))
        }
        HookEvent::Driver(stage) => {
            Definition::all(config).iter().any(|driver| driver.script(stage).is_some())
        }
        HookEvent::Repair => hooks.repair.is_some(),
    }
}

/// What clients would see as the status meanwhile.
pub fn status_in(event: HookEvent) -> Status {
    match event {
        HookEvent::Lease(Phase::Before)
        | HookEvent::Repair
        | HookEvent::Driver(
            Stage::PreInstall
            | Stage::PostInstall
            | Stage::PreUpdate
            | Stage::PostUpdate
            | Stage::PreDelete
            | Stage::PostDelete,
        ) => Status::BeforeLeaseHook,
        HookEvent::Lease(Phase::After)
        | HookEvent::Exporter(
            LifecycleEvent::Stop | LifecycleEvent::Preemption | LifecycleEvent::Down,
        ) => Status::AfterLeaseHook,
    }
}

/// The lease that there would be; none for events that have none.
pub fn lease_in(event: HookEvent, client: &str) -> Option<Lease> {
    let lease = || Lease {
        id: Uuid::new_v4(),
        name: "rehearsal".into(),
        client: client.to_owned(),
        context: [].into(),
    };
    match event {
        HookEvent::Lease(Phase::Before | Phase::After)
        | HookEvent::Exporter(LifecycleEvent::Preemption) => Some(lease()),
        HookEvent::Exporter(LifecycleEvent::Stop | LifecycleEvent::Down)
        | HookEvent::Driver(_)
        | HookEvent::Repair => None,
    }
}

/// Runs the hooks of an event. Returns whether all did what they should; why not is told.
pub async fn run(config: &Config, event: HookEvent, scene: &Scene, log: &Log, stop: &Stop) -> bool {
    let nowhere = Store::none;
    match event {
        HookEvent::Lease(phase) => {
            let turn = match phase {
                Phase::Before => Turn::Before,
                Phase::After => {
                    Turn::After { reason: EndReason::Released, prepared: Prepared::Passed }
                }
            };
            let hooks = LeaseHooks::new(config, nowhere());
            hooks.run(turn, None, Surroundings { scene, log, stop }).await.verdict
                == Verdict::Passed
        }
        HookEvent::Exporter(event) => {
            ExporterHooks::new(config, nowhere(), None).run(event, scene, log, stop).await
        }
        HookEvent::Repair => {
            let hook = RepairHook::new(config, nowhere());
            told(hook.run("a rehearsal", scene, log, stop).await)
        }
        HookEvent::Driver(stage) => {
            let executor = Executor::new(config, nowhere());
            let mut all_passed = true;
            for driver in Definition::all(config) {
                all_passed &= told(run_stage(&executor, &driver, stage, scene, log, stop).await);
            }
            all_passed
        }
    }
}

fn told(result: Result<(), String>) -> bool {
    if let Err(reason) = &result {
        tracing::error!("{reason}");
    }
    result.is_ok()
}
