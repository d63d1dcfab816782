//! The hooks of all three lives, as the lease's actor needs them.

use std::sync::Arc;
use std::time::Duration;

use hooks::Stop;
use tokio::sync::watch;

use super::{LeaseHooks, Report, Scene};
use crate::config::Config;
use crate::lease::machine::{Changes, Parting, Phase, Plan, Task};
use crate::session::bench::Bench;
use crate::session::log::Log;
use crate::store::{End, Store};

/// The configuration's hooks, and the configuration that may take its place.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// In force.
    config: Arc<Config>,
    /// As it is now to be.
    wanted: watch::Receiver<Arc<Config>>,
    hooks: LeaseHooks,
    exit_on_lease_end: bool,
    log: Log,
    store: Store,
}

impl Lifecycle {
    /// The hooks of the configuration that `wanted` has now, and of those that it will have.
    pub fn new(
        mut wanted: watch::Receiver<Arc<Config>>,
        exit_on_lease_end: bool,
        log: Log,
        store: Store,
    ) -> Self {
        let config = Arc::clone(&wanted.borrow_and_update());
        let hooks = LeaseHooks::new(&config);
        Self { config, wanted, hooks, exit_on_lease_end, log, store }
    }

    /// What the machine has to do because of them.
    pub fn plan(&self) -> Plan {
        let exit = self.exit_on_lease_end || self.config.exit_on_lease_end;
        Plan { quarantine_after: self.config.hooks.quarantine_after, ..self.hooks.plan(exit) }
    }

    /// Returns once there is another configuration. Cancel safe.
    pub async fn reconfigured(&mut self) -> Changes {
        match self.wanted.changed().await {
            Ok(()) => Changes::Quiet,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Lifecycle {
    /// Whether a lease has hooks, and so needs a socket for them.
    pub fn has_lease_hooks(&self) -> bool {
        self.hooks.exist()
    }

    /// How long to wait between two attempts to repair the bench.
    pub fn repair_interval(&self) -> Option<Duration> {
        self.config.hooks.repair.as_ref().map(|repair| repair.interval)
    }

    /// Runs the beforeLease hook.
    pub async fn before(&self, scene: &Scene, stop: &Stop) -> Report {
        self.hooks.run(Phase::Before, scene, &self.log, stop).await
    }

    /// Runs the hooks at the end of a lease.
    pub async fn after(&self, scene: &Scene, _parting: Parting, stop: &Stop) -> Report {
        self.hooks.run(Phase::After, scene, &self.log, stop).await
    }

    /// What a hook has come to that ended under an earlier process.
    pub fn recorded(&self, phase: Phase, end: End) -> Report {
        self.hooks.recorded(phase, end)
    }

    /// Takes the wanted configuration for the one in force.
    pub fn adopt(&mut self) {
        self.config = Arc::clone(&self.wanted.borrow());
        self.hooks = LeaseHooks::new(&self.config);
    }

    /// Whether the drivers are not what the configuration says.
    pub fn changes(&self) -> Option<Changes> {
        None
    }

    /// Does something between leases.
    pub async fn maintain(
        &self,
        _bench: Arc<Bench>,
        _task: Task,
        _stop: &Stop,
    ) -> Result<(), String> {
        Ok(())
    }
}
