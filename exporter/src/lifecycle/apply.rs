//! The drivers in use, and how they become what the configuration wants.
//!
//! ```text
//! Install   preInstall ──► into the tree ───► postInstall ──► on record
//! Update    preUpdate ───► swapped ─────────► postUpdate ───► on record
//! Delete    preDelete ───► out of the tree ─► postDelete ───► off the record
//! ```
//!
//! One change follows the other. Where a `pre` hook fails, its change is not made; a `post` hook
//! that fails is reported. A change that a crash cuts off is made again, without those of its hooks
//! that have come to their end.

mod failure;
mod in_use;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drivers::Tree;
use drivers::tree::{Rebuilt, TreeError};
use hooks::Stop;

pub use self::failure::{Consequence, Failure};
use self::in_use::InUse;
use super::changes::{Change, plan};
use super::definition::Definition;
use super::environment::{Facts, Scene};
use super::execution::{Executor, Hook, Surroundings, success, tell};
use super::shape::{self, Definitions};
use crate::config::Config;
use crate::config::export::Stage;
use crate::lease::machine::Changes;
use crate::session::Session;
use crate::session::bench::Bench;
use crate::session::log::{Log, Severity, Source};
use crate::store::{AppliedDriver, DoneStage, HookEvent, Store, Subject, Write};

/// The drivers in use. Clones are the same.
#[derive(Debug, Clone)]
pub struct Drivers {
    in_use: Arc<Mutex<InUse>>,
    store: Store,
}

impl Drivers {
    /// The drivers that were in use when the last process ended, and how far it had come with
    /// others.
    pub fn recovered(applied: &[AppliedDriver], done: Vec<DoneStage>, store: Store) -> Self {
        let mut definitions = Definitions::new();
        for driver in applied {
            let path = &driver.path;
            match Definition::applied(driver) {
                Ok(definition) => drop(definitions.insert(path.clone(), definition)),
                Err(error) => {
                    tracing::warn!(
                        "driver {path} is installed anew, as its record is no use: {error}"
                    );
                }
            }
        }
        let in_use = InUse { definitions, done, ..InUse::default() };
        Self { in_use: Arc::new(Mutex::new(in_use)), store }
    }

    /// Builds the tree of an exporter that starts, in the shape that `config` gives it, without
    /// touching a device: the drivers in use, and with them those that are still to be installed.
    /// Drivers that can't be built any more are no longer in use.
    ///
    /// # Errors
    ///
    /// Every mistake in what is left.
    pub fn tree(&self, config: &Config) -> Result<Tree, Vec<TreeError>> {
        let nothing = Tree::build(None, &[])?;
        loop {
            let mut expected = Definitions::new();
            for definition in Definition::all(config) {
                expected.insert(definition.path.clone(), definition);
            }
            self.lock().expect(expected);
            let errors = match self.build(&nothing, config, &self.in_tree(), &HashSet::new()) {
                Ok(rebuilt) => return Ok(rebuilt.tree),
                Err(errors) => errors,
            };
            let mut in_use = self.lock();
            let forget =
                |error: &&TreeError| in_use.definitions.remove(&error.path.join(".")).is_some();
            let forgotten: Vec<_> = errors.iter().filter(forget).collect();
            if forgotten.is_empty() {
                return Err(errors);
            }
            for error in forgotten {
                tracing::warn!("driver {error}; it is installed anew");
            }
        }
    }

    /// Whether there is any.
    pub fn exist(&self) -> bool {
        !self.lock().definitions.is_empty()
    }

    /// What there is to do to make the drivers what `config` wants; none if there is nothing.
    pub fn pending(&self, config: &Config) -> Option<Changes> {
        let changes = self.changes(config);
        let has_hooks = |change: &Change| {
            stages(change).iter().any(|stage| change.definition().script(*stage).is_some())
        };
        let in_use = self.lock();
        if changes.iter().any(has_hooks) {
            return Some(Changes::WithHooks);
        }
        let is_shaped = in_use.description == config.description
            && in_use.shape == shape::of(&config.export, &in_use.in_tree());
        (!changes.is_empty() || !is_shaped).then_some(Changes::Quiet)
    }

    fn changes(&self, config: &Config) -> Vec<Change> {
        plan(&self.definitions(), &Definition::all(config))
    }

    /// Makes the drivers what `config` wants, as far as their hooks let it. Nobody else may have the
    /// bench meanwhile. Every failure is told to the clients and the operator.
    ///
    /// # Errors
    ///
    /// Why the bench can't be used: drivers that are wanted are not in use.
    pub async fn apply(
        &self,
        config: &Config,
        bench: &Arc<Bench>,
        stop: &Stop,
    ) -> Result<(), String> {
        let failures = self.carry_out(config, bench, stop).await;
        // Where no driver has changed, the shape of the tree may have.
        self.reshape(config, bench)?;
        let missing = failures.iter().filter(|f| f.consequence == Consequence::NotInstalled);
        let missing: Vec<_> = missing.map(ToString::to_string).collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }

    /// Deletes all drivers, because the exporter goes for good. Returns what did not go as it
    /// should, which was told as well.
    pub async fn delete_all(
        &self,
        config: &Config,
        bench: &Arc<Bench>,
        stop: &Stop,
    ) -> Vec<Failure> {
        let config = Config { export: Vec::new(), ..config.clone() };
        self.carry_out(&config, bench, stop).await
    }

    async fn carry_out(&self, config: &Config, bench: &Arc<Bench>, stop: &Stop) -> Vec<Failure> {
        let executor = Executor::new(config, self.store.clone()).seen_in(&bench.activity);
        let work = Work { drivers: self, executor: &executor, config, bench, stop };
        let mut failures = Vec::new();
        for change in self.changes(config) {
            if stop.asked.is_cancelled() || stop.killed.is_cancelled() {
                break;
            }
            work.carry_out(&change, &mut failures).await;
        }
        failures
    }

    /// Gives the tree the shape of `config`.
    fn reshape(&self, config: &Config, bench: &Bench) -> Result<(), String> {
        let in_tree = self.in_tree();
        let unchanged = in_tree.keys().cloned().collect();
        let built = self.build(&bench.tree(), config, &in_tree, &unchanged);
        bench.replace_tree(built.map_err(|errors| joined(&errors))?.tree);
        Ok(())
    }

    /// The tree that follows `old`, with these definitions in use.
    fn build(
        &self,
        old: &Tree,
        config: &Config,
        definitions: &Definitions,
        unchanged: &HashSet<String>,
    ) -> Result<Rebuilt, Vec<TreeError>> {
        let shape = shape::of(&config.export, definitions);
        let mut nodes = shape.clone();
        let description = &config.description;
        loop {
            match old.rebuild(description.clone(), &nodes, unchanged) {
                Err(errors) if shape::without_dangling(&mut nodes, &errors) => {}
                Err(errors) => return Err(errors),
                Ok(rebuilt) => {
                    let mut in_use = self.lock();
                    (in_use.shape, in_use.description) = (shape, description.clone());
                    return Ok(rebuilt);
                }
            }
        }
    }

    fn definitions(&self) -> Definitions {
        self.lock().definitions.clone()
    }

    fn in_tree(&self) -> Definitions {
        self.lock().in_tree()
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that it takes to carry out changes.
struct Work<'a> {
    drivers: &'a Drivers,
    executor: &'a Executor,
    config: &'a Config,
    bench: &'a Arc<Bench>,
    stop: &'a Stop,
}

impl Work<'_> {
    async fn carry_out(&self, change: &Change, failures: &mut Vec<Failure>) {
        let [pre, post] = stages(change);
        let definition = change.definition();
        let path = definition.path.clone();
        let mut after = self.drivers.in_tree();
        let (consequence, on_record) = match change {
            Change::Install(_) => {
                after.insert(path.clone(), definition.clone());
                (Consequence::NotInstalled, Write::DriverApplied(definition.to_applied()))
            }
            Change::Update(_) => {
                after.insert(path.clone(), definition.clone());
                (Consequence::Unchanged, Write::DriverApplied(definition.to_applied()))
            }
            Change::Delete(_) => {
                after.remove(&path);
                (Consequence::Unchanged, Write::DriverRemoved { path: path.clone() })
            }
        };
        let fail = |failures: &mut Vec<Failure>, reason| {
            self.drivers.lock().expected.remove(&path);
            self.fail(failures, Failure { path: path.clone(), reason, consequence });
        };
        if let Err(reason) = self.run(definition, pre).await {
            return fail(failures, reason);
        }
        let is_there = self.drivers.lock().expected.get(&path) == Some(definition);
        let unchanged = after.keys().filter(|other| is_there || **other != path).cloned();
        match self.drivers.build(&self.bench.tree(), self.config, &after, &unchanged.collect()) {
            Ok(Rebuilt { tree, gone }) => {
                self.bench.replace_tree(tree);
                for node in gone {
                    node.driver.close().await;
                }
            }
            Err(errors) => return fail(failures, joined(&errors)),
        }
        self.drivers.lock().settle(change);
        let ran = self.run(definition, post).await;
        self.drivers.store.commit(vec![on_record]).await;
        self.drivers.lock().done.retain(|done| done.path != path);
        if let Err(reason) = ran {
            let consequence = Consequence::Reported;
            self.fail(failures, Failure { path, reason, consequence });
        }
    }

    /// Runs the hook of a stage, if there is one for this platform and it is still to be run.
    ///
    /// # Errors
    ///
    /// What has gone wrong.
    async fn run(&self, definition: &Definition, stage: Stage) -> Result<(), String> {
        let (path, hash) = (definition.path.clone(), definition.hash());
        let is_done = self.drivers.lock().done.contains(&DoneStage { path, hash, stage });
        if is_done || definition.script(stage).is_none() {
            return Ok(());
        }
        // What is still to be installed is not touched before.
        let drivers = self.drivers;
        let is_installed = |path: &str| drivers.lock().is_installed(path);
        let session = Session::open_between_leases(self.bench, is_installed).await;
        let (scene, log) = (session.scene(), &self.bench.log);
        let ran = run_stage(self.executor, definition, stage, scene, log, self.stop).await;
        self.bench.tree().close().await;
        ran
    }

    fn fail(&self, failures: &mut Vec<Failure>, failure: Failure) {
        let severity = match failure.consequence {
            Consequence::NotInstalled => Severity::Error,
            Consequence::Unchanged | Consequence::Reported => Severity::Warning,
        };
        tell(severity, Source::System, failure.to_string(), &self.bench.log);
        failures.push(failure);
    }
}

fn joined(errors: &[TreeError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Runs the hook of a driver's stage, if there is one for this platform.
///
/// # Errors
///
/// What has gone wrong.
pub(super) async fn run_stage(
    executor: &Executor,
    definition: &Definition,
    stage: Stage,
    scene: &Scene,
    log: &Log,
    stop: &Stop,
) -> Result<(), String> {
    let Some(script) = definition.script(stage) else { return Ok(()) };
    let (path, version) = (definition.path.clone(), definition.version.clone());
    let mut facts: Facts = definition.settings();
    facts.insert("DRIVER_NAME".into(), path.clone());
    facts.insert("DRIVER_VERSION".into(), version.clone().unwrap_or_default());
    let subject = Subject::Driver { path, version, hash: definition.hash() };
    let event = HookEvent::Driver(stage);
    let hook = Hook { event, subject, script, facts };
    let around = Surroundings { scene, log, stop };
    let Some(outcome) = executor.run(hook, around, None).await else { return Ok(()) };
    success(&outcome, script.timeout).map_err(|failure| format!("{} hook {failure}", event.word()))
}

/// The stages before and after a change.
fn stages(change: &Change) -> [Stage; 2] {
    match change {
        Change::Install(_) => [Stage::PreInstall, Stage::PostInstall],
        Change::Update(_) => [Stage::PreUpdate, Stage::PostUpdate],
        Change::Delete(_) => [Stage::PreDelete, Stage::PostDelete],
    }
}
