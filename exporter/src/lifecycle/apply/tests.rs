//! Drivers installed, changed and deleted, with real scripts and a real store.

use std::collections::BTreeMap;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::lease::Lease;
use crate::lease::status::Publisher;
use crate::lifecycle::testing::{config, heard};
use crate::session::bench::Parts;
use crate::store::{Filter, History, Recovery, StoreError};

/// A lease, with which the log begins anew.
fn lease() -> Lease {
    Lease { id: Uuid::nil(), name: "one".into(), client: String::new(), context: [].into() }
}

/// A bench, its drivers, and the store that remembers them.
struct Lab {
    drivers: Drivers,
    bench: Arc<Bench>,
    _publisher: Publisher,
}

impl Lab {
    /// As a process finds it that starts with this state directory.
    fn start(state: &Path, export: &str) -> (Self, Config) {
        let (store, recovery) = opened(state);
        let drivers = Drivers::recovered(&recovery.drivers, recovery.stages, store);
        let config = exported(export);
        let (publisher, status) = Publisher::new();
        let parts = Parts {
            name: None,
            motd: String::new(),
            tree: drivers.tree(&config).unwrap(),
            status,
            log: Log::default(),
            lease: None,
        };
        let bench = Bench::new(parts, CancellationToken::new());
        (Self { drivers, bench, _publisher: publisher }, config)
    }

    /// Applies a configuration, and returns what the hooks and the exporter have said.
    async fn apply(&self, config: &Config) -> (Result<(), String>, Vec<String>) {
        self.bench.log.begin_lease(&lease());
        let result = self.drivers.apply(config, &self.bench, &Stop::default()).await;
        (result, heard(&self.bench.log))
    }

    /// Every device of the tree with its id.
    fn tree(&self) -> BTreeMap<String, Uuid> {
        let tree = self.bench.tree();
        let named = tree.walk().into_iter().filter(|place| place.name.is_some());
        named.map(|place| (place.node.path.clone(), place.node.id)).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.tree().into_keys().collect()
    }
}

/// The store of a process that starts after another has gone.
fn opened(state: &Path) -> (Store, Recovery) {
    loop {
        match Store::open(state) {
            // What another test of this process has forked has the lock, too, up to its exec.
            Err(StoreError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn exported(export: &str) -> Config {
    config(&format!("export:\n{export}"))
}

/// A driver whose hooks say what they are.
fn driver(name: &str, version: u8, hooks: &[(&str, &str)]) -> String {
    let stage = |(stage, script): &(&str, &str)| {
        format!("      {stage}: {{scripts: [{{targetPlatform: linux, run: '{script}'}}]}}\n")
    };
    let hooks: String = hooks.iter().map(stage).collect();
    let hooks = if hooks.is_empty() { String::new() } else { format!("    hooks:\n{hooks}") };
    format!(
        "  {name}:\n    type: jumpstarter_driver_power.driver.MockPower\n    version: '{version}'\n{hooks}"
    )
}

const SAY: &str = "echo $HOOK_EVENT $DRIVER_NAME $DRIVER_VERSION";

fn talkative(name: &str, version: u8) -> String {
    let stages =
        ["preInstall", "postInstall", "preUpdate", "postUpdate", "preDelete", "postDelete"];
    driver(name, version, &stages.map(|stage| (stage, SAY)))
}

#[tokio::test]
async fn a_first_start_installs_everything_and_a_second_one_nothing() {
    let state = tempfile::tempdir().unwrap();
    let export = talkative("a", 1) + &driver("b", 1, &[]);
    let (lab, config) = Lab::start(state.path(), &export);
    let expected = lab.tree();
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(lab.drivers.pending(&config), Some(Changes::WithHooks));
    let (result, lines) = lab.apply(&config).await;
    assert_eq!(result, Ok(()));
    assert_eq!(lines, ["preInstall a 1", "postInstall a 1"]);
    assert_eq!(lab.tree(), expected, "a client may have asked before");
    assert_eq!(lab.drivers.pending(&config), None);
    drop(lab);

    let (lab, config) = Lab::start(state.path(), &export);
    assert_eq!(lab.paths(), ["a", "b"]);
    assert_eq!(lab.drivers.pending(&config), None);
    drop(lab);
    let (lab, config) = Lab::start(state.path(), &talkative("b", 1));
    assert_eq!(lab.paths(), ["a", "b"], "until the change is made, all is as it was");
    let (_, lines) = lab.apply(&config).await;
    assert_eq!(lines, ["preDelete a 1", "postDelete a 1", "preUpdate b 1", "postUpdate b 1"]);
}

#[tokio::test]
async fn only_what_has_changed_is_touched() {
    let state = tempfile::tempdir().unwrap();
    let (lab, config) = Lab::start(state.path(), &(talkative("a", 1) + &talkative("b", 1)));
    lab.apply(&config).await.0.unwrap();
    let before = lab.tree();
    let config = exported(&(talkative("a", 1) + &talkative("b", 2) + &driver("c", 1, &[])));
    let (result, lines) = lab.apply(&config).await;
    assert_eq!(result, Ok(()));
    assert_eq!(lines, ["preUpdate b 2", "postUpdate b 2"]);
    let after = lab.tree();
    assert_eq!(before["a"], after["a"]);
    assert_ne!(before["b"], after["b"]);

    let config = exported(&(talkative("a", 1) + &driver("b", 2, &[]) + &driver("c", 1, &[])));
    assert_eq!(lab.drivers.pending(&config), Some(Changes::Quiet));
    assert_eq!(lab.apply(&config).await.1, [""; 0]);
}

#[tokio::test]
async fn a_failing_pre_hook_aborts_its_change_and_no_other() {
    let state = tempfile::tempdir().unwrap();
    let broken = |name, version, stage| driver(name, version, &[(stage, "exit 4")]);
    let export = broken("a", 1, "preInstall") + &driver("b", 1, &[]);
    let (lab, config) = Lab::start(state.path(), &export);
    let (result, lines) = lab.apply(&config).await;
    let failure = "driver a: preInstall hook failed with exit code 4; the driver is not installed";
    assert_eq!((result, lines), (Err(failure.to_owned()), vec![failure.to_owned()]));
    assert_eq!(lab.paths(), ["b"]);

    let before = lab.tree()["b"];
    let config = exported(&(driver("a", 1, &[]) + &broken("b", 2, "preUpdate")));
    let (result, lines) = lab.apply(&config).await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        lines,
        ["driver b: preUpdate hook failed with exit code 4; the driver stays as it was"]
    );
    assert_eq!((lab.paths(), lab.tree()["b"]), (vec!["a".to_owned(), "b".to_owned()], before));
    assert!(lab.drivers.pending(&config).is_some(), "it is tried again");

    let config = exported(&(broken("a", 2, "preDelete") + &driver("b", 1, &[])));
    lab.apply(&config).await.0.unwrap();
    let (result, lines) = lab.apply(&exported(&driver("b", 1, &[]))).await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        lines,
        ["driver a: preDelete hook failed with exit code 4; the driver stays as it was"]
    );
    assert_eq!(lab.paths(), ["a", "b"]);
}

#[tokio::test]
async fn a_failing_post_hook_is_reported_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let script = "[ -S \"$JUMPSTARTER_HOST\" ] && exit 5";
    let (lab, config) = Lab::start(state.path(), &driver("a", 1, &[("postInstall", script)]));
    let (result, lines) = lab.apply(&config).await;
    assert_eq!(result, Ok(()));
    let failure = "driver a: postInstall hook failed with exit code 5; what was done stays done";
    assert_eq!((lines, lab.paths()), (vec![failure.to_owned()], vec!["a".to_owned()]));
    assert_eq!(lab.drivers.pending(&config), None);
}

#[test]
fn what_a_driver_brings_is_in_use_with_it() {
    let definition =
        |path: &str| (path.to_owned(), Definition::all(&exported(&driver("a", 1, &[]))).remove(0));
    let in_use = InUse {
        definitions: ["a", "b.c"].map(definition).into(),
        expected: ["b"].map(definition).into(),
        ..InUse::default()
    };
    let is_installed = ["a", "a.x", "b", "b.x", "b.c", "b.c.x", "group", "ab"]
        .map(|path| in_use.is_installed(path));
    assert_eq!(is_installed, [true, true, false, false, true, true, true, true]);
}

#[tokio::test]
async fn going_for_good_deletes_everything() {
    let state = tempfile::tempdir().unwrap();
    let (lab, config) = Lab::start(state.path(), &(talkative("a", 1) + &talkative("b", 1)));
    lab.apply(&config).await.0.unwrap();
    lab.bench.log.begin_lease(&lease());
    let failures = lab.drivers.delete_all(&config, &lab.bench, &Stop::default()).await;
    assert_eq!(failures, []);
    assert_eq!(
        heard(&lab.bench.log),
        ["preDelete b 1", "postDelete b 1", "preDelete a 1", "postDelete a 1"]
    );
    drop(lab);
    assert_eq!(opened(state.path()).1.drivers, []);
    let history = History::open(state.path()).unwrap();
    assert_eq!(history.runs(&Filter::default()).unwrap().len(), 8);
}

#[tokio::test]
async fn a_change_that_a_crash_cut_off_goes_on_where_it_was() {
    let definition = |export: &str| Definition::all(&exported(export)).remove(0);
    let (a, b) = (definition(&talkative("a", 1)), definition(&talkative("b", 1)));
    let done = |definition: &Definition, stage| DoneStage {
        path: definition.path.clone(),
        hash: definition.hash(),
        stage,
    };
    let stages = vec![
        done(&a, Stage::PreInstall),
        done(&b, Stage::PreDelete),
        done(&definition(&talkative("c", 2)), Stage::PreInstall),
    ];
    let state = tempfile::tempdir().unwrap();
    let (mut lab, config) = Lab::start(state.path(), &(talkative("a", 1) + &talkative("c", 1)));
    lab.drivers = Drivers::recovered(&[b.to_applied()], stages, Store::none());
    lab.bench.replace_tree(lab.drivers.tree(&config).unwrap());
    assert_eq!(lab.drivers.pending(&config), Some(Changes::WithHooks));
    assert_eq!(
        lab.apply(&config).await.1,
        // What was done for another definition of c counts for nothing.
        ["postDelete b 1", "postInstall a 1", "preInstall c 1", "postInstall c 1"]
    );
    assert_eq!((lab.paths(), lab.drivers.pending(&config)), (vec!["a".into(), "c".into()], None));
    let config = exported(&(talkative("a", 2) + &talkative("c", 1)));
    assert_eq!(lab.apply(&config).await.1, ["preUpdate a 2", "postUpdate a 2"]);
}

#[tokio::test]
async fn the_shape_of_the_tree_changes_without_its_drivers() {
    let state = tempfile::tempdir().unwrap();
    let (lab, config) = Lab::start(state.path(), &driver("a", 1, &[]));
    lab.apply(&config).await.0.unwrap();
    let id = lab.tree()["a"];
    let config = exported(&(driver("a", 1, &[]) + "  again: {ref: a}\n"));
    assert_eq!(lab.drivers.pending(&config), Some(Changes::Quiet));
    lab.apply(&config).await.0.unwrap();
    assert_eq!(lab.bench.tree().walk().len(), 3);
    assert_eq!(lab.tree()["a"], id);
    assert_eq!(lab.drivers.pending(&config), None);
}
