//! The hooks of all three lives, as the one who leads them needs them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hooks::{Ending, Stop};
use tokio::sync::watch;

use super::departure;
use super::execution::Surroundings;
use super::{Drivers, ExporterHooks, LeaseHooks, RepairHook, Report, Turn};
use crate::activity::Activity;
use crate::config::Config;
use crate::config::hooks::LifecycleEvent;
use crate::lease::machine::{Changes, Farewell, Phase, Plan, Verdict};
use crate::session::Session;
use crate::session::bench::Bench;
use crate::store::{End, RunBegun, Store};

/// The hooks of the configuration in force, and the configuration that may take its place.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    bench: Arc<Bench>,
    store: Store,
    /// Where the exporter's own hooks have their log files.
    logs: Option<PathBuf>,
    exit_on_lease_end: bool,
    drivers: Drivers,
    /// What the configuration is to be.
    wanted: watch::Receiver<Arc<Config>>,
    /// In force.
    hooks: Arc<Hooks>,
}

/// The hooks of one configuration.
#[derive(Debug)]
struct Hooks {
    config: Arc<Config>,
    lease: LeaseHooks,
    exporter: ExporterHooks,
    repair: RepairHook,
}

/// Where hooks are kept in mind, and whose they are.
#[derive(Debug)]
pub struct Setting {
    /// The devices, and who hears of them.
    pub bench: Arc<Bench>,
    /// Where runs are recorded.
    pub store: Store,
    /// Where the exporter's own hooks have their log files, if anywhere.
    pub logs: Option<PathBuf>,
    /// The exporter stops after its first lease, whatever the configuration says.
    pub exit_on_lease_end: bool,
    /// The drivers in use.
    pub drivers: Drivers,
    /// The configuration, as it changes.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Lifecycle {
    /// The hooks of the present configuration, and of those that will follow.
    pub fn new(setting: Setting) -> Self {
        let Setting { bench, store, logs, exit_on_lease_end, drivers, config: mut wanted } =
            setting;
        let config = Arc::clone(&wanted.borrow_and_update());
        let hooks = Arc::new(Hooks::new(config, &store, logs.as_ref(), &bench.activity));
        Self { bench, store, logs, exit_on_lease_end, drivers, wanted, hooks }
    }

    /// What the machine has to do because of them.
    pub fn plan(&self) -> Plan {
        let Hooks { config, lease, exporter, .. } = &*self.hooks;
        Plan {
            preemption: exporter.exist(LifecycleEvent::Preemption),
            stop: exporter.exist(LifecycleEvent::Stop),
            down: exporter.exist(LifecycleEvent::Down) || self.drivers.exist(),
            repair: config.hooks.repair.is_some(),
            quarantine_after: config.hooks.quarantine_after,
            ..lease.plan(self.exit_on_lease_end || config.exit_on_lease_end)
        }
    }

    /// Returns once the configuration, or a script that it refers to, is to be another. Cancel safe.
    pub async fn reconfigured(&mut self) -> Changes {
        loop {
            if self.wanted.changed().await.is_err() {
                // It will stay as it is.
                std::future::pending::<()>().await;
            }
            if let Some(changes) = self.changes() {
                return changes;
            }
            if *self.wanted.borrow() != self.hooks.config {
                return Changes::Quiet;
            }
        }
    }

    /// Whether the drivers are not what the configuration says.
    pub fn changes(&self) -> Option<Changes> {
        self.drivers.pending(&self.wanted.borrow())
    }

    /// Whether a lease has hooks, and so needs a socket for them.
    pub fn has_lease_hooks(&self) -> bool {
        self.hooks.lease.exist() || self.hooks.exporter.exist(LifecycleEvent::Preemption)
    }

    /// The longest that it may take until the exporter is gone, once it is told to go.
    pub fn departure(&self) -> Duration {
        let config = &self.hooks.config;
        departure::longest(config).unwrap_or_else(|| departure::rest(config))
    }

    /// How long to wait between two attempts to repair the bench.
    pub fn repair_interval(&self) -> Option<Duration> {
        self.hooks.config.hooks.repair.as_ref().map(|repair| repair.interval)
    }

    /// The beginning of a lease's hook that is about to run, to be made durable first; none if there
    /// is nothing to run.
    pub fn begun(&self, turn: Turn, session: &Session) -> Option<RunBegun> {
        self.hooks.lease.begun(turn, session.scene())
    }

    /// Runs the exporter's own hooks for having to go while it is leased.
    pub async fn preempt(&self, session: &Session, stop: &Stop) {
        let (scene, log) = (session.scene(), &self.bench.log);
        self.hooks.exporter.run(LifecycleEvent::Preemption, scene, log, stop).await;
    }

    /// Runs a lease's hook. If its beginning is not durable yet, it is made so.
    pub async fn run(
        &self,
        turn: Turn,
        session: &Session,
        begun: Option<RunBegun>,
        stop: &Stop,
    ) -> Report {
        let around = Surroundings { scene: session.scene(), log: &self.bench.log, stop };
        self.hooks.lease.run(turn, begun, around).await
    }

    /// What the end of a lease's hook means that an earlier process has seen.
    pub fn judge(&self, phase: Phase, end: End) -> Verdict {
        let ending = match end {
            End::Exited(code) => Ending::Exited(code),
            End::Signaled(signal) => Ending::Signaled(signal),
            End::TimedOut => Ending::TimedOut,
        };
        self.hooks.lease.judge(phase, &ending)
    }

    /// Makes the wanted configuration the one in force. Nobody has the bench meanwhile.
    pub fn adopt(&mut self) {
        let config = Arc::clone(&self.wanted.borrow());
        self.bench.greet_with(config.motd.clone().unwrap_or_default());
        self.hooks =
            Arc::new(Hooks::new(config, &self.store, self.logs.as_ref(), &self.bench.activity));
    }

    /// Makes the drivers what the configuration in force says.
    ///
    /// # Errors
    ///
    /// Why the bench can't be used.
    pub async fn apply(&self, stop: &Stop) -> Result<(), String> {
        self.drivers.apply(&self.hooks.config, &self.bench, stop).await
    }

    /// Tries to repair a bench that is out of service for this `reason`. It is repaired if its
    /// devices can be opened afterwards.
    ///
    /// # Errors
    ///
    /// Why it still is.
    pub async fn repair(&self, reason: &str, stop: &Stop) -> Result<(), String> {
        let session = Session::open_between_leases(&self.bench, |_| true).await;
        let repaired = self.hooks.repair.run(reason, session.scene(), &self.bench.log, stop).await;
        let tree = self.bench.tree();
        tree.close().await;
        repaired?;
        tree.open().await.map_err(|error| error.to_string())?;
        tree.close().await;
        Ok(())
    }

    /// Runs the hooks for the exporter's end; for good, its drivers are deleted after that.
    pub async fn bid_farewell(&self, farewell: Farewell, stop: &Stop) {
        let session = Session::open_between_leases(&self.bench, |_| true).await;
        self.hooks.exporter.run(farewell.event(), session.scene(), &self.bench.log, stop).await;
        self.bench.tree().close().await;
        drop(session);
        match farewell {
            Farewell::Stop => {}
            Farewell::Down => {
                self.drivers.delete_all(&self.hooks.config, &self.bench, stop).await;
            }
        }
    }
}

impl Hooks {
    fn new(
        config: Arc<Config>,
        store: &Store,
        logs: Option<&PathBuf>,
        activity: &Activity,
    ) -> Self {
        Self {
            lease: LeaseHooks::new(&config, store.clone()).seen_in(activity),
            exporter: ExporterHooks::new(&config, store.clone(), logs.cloned()).seen_in(activity),
            repair: RepairHook::new(&config, store.clone()).seen_in(activity),
            config,
        }
    }
}
