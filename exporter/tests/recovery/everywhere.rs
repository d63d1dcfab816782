//! Killed at every point where something was, or was to be, written down.

use std::collections::{BTreeMap, BTreeSet};

use exporter::store::{HookEvent, Run, fault};
use exporter::wire::ExporterStatus;
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::bench::{Bench, is_success, was_killed};

/// Where the end of a run is about to be written, with what follows from it: the hook has completed,
/// and nobody knows. It is the one place from which a hook that has completed is run again.
fn forgets_a_completed_run(point: &str) -> bool {
    let Some(name) = point.strip_suffix(":before") else { return false };
    name.starts_with("run-ended-") || ["lease-prepared", "lease-over"].contains(&name)
}

/// The points of these names, on either side of the commit.
fn both_sides<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let sides = |name: &str| [format!("{name}:before"), format!("{name}:after")];
    names.into_iter().flat_map(sides).collect()
}

const LEASE: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
exitOnLeaseEnd: true
hooks:
  beforeLease: {script: 'j power on; echo before >> $DIR/done', onFailure: endLease}
  afterLease: {script: 'j power off; echo after >> $DIR/done', onFailure: endLease}
";

const LEASE_POINTS: [&str; 9] = [
    "process",
    "lease-preparing",
    "run-begun-beforeLease",
    "run-ended-beforeLease",
    "lease-prepared",
    "lease-cleaning-up",
    "run-begun-afterLease",
    "run-ended-afterLease",
    "lease-over",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_gets_each_hook_to_its_end_once() {
    for point in both_sides(LEASE_POINTS) {
        let bench = Bench::new(LEASE);
        let killed = bench.start(Some(&point)).run_out().await;
        assert!(was_killed(killed), "{point} was never reached: {killed}");
        let finished = bench.start(None).run_out().await;
        assert_eq!(finished.code(), Some(0), "{point}");
        check_leases(&bench, &point);
    }
}

/// Of every lease that was begun, each hook completed, and none that had completed ran again.
fn check_leases(bench: &Bench, point: &str) {
    let runs = bench.runs();
    let mut leases: BTreeMap<Option<Uuid>, Vec<&Run>> = BTreeMap::new();
    for run in &runs {
        leases.entry(run.begun.lease).or_default().push(run);
    }
    assert!(!leases.is_empty() && !leases.contains_key(&None), "{point}");
    for runs in leases.values() {
        for event in ["beforeLease", "afterLease"] {
            let completed =
                runs.iter().filter(|run| run.begun.event.word() == event && is_success(run));
            assert_eq!(completed.count(), 1, "{event} after {point}: {runs:?}");
        }
    }
    // What the hooks themselves have noted agrees with the record.
    let noted = bench.lines("done").len();
    let forgotten = usize::from(forgets_a_completed_run(point));
    assert_eq!(noted, 2 * leases.len() + forgotten, "{point}");
}

const FAILURE: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  quarantineAfter: 1
  beforeLease: {script: 'test -e $DIR/repaired', onFailure: endLease}
  repair: {script: 'echo repair >> $DIR/done; touch $DIR/repaired', interval: 1}
";

const FAILURE_POINTS: [&str; 5] = [
    "failures-in-a-row",
    "quarantined",
    "run-begun-repair",
    "run-ended-repair",
    "quarantine-lifted",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_out_of_service_stays_so_until_it_is_repaired() {
    for point in both_sides(FAILURE_POINTS) {
        let bench = Bench::new(FAILURE);
        let killed = bench.start(Some(&point)).ended().await;
        assert!(was_killed(killed), "{point} was never reached: {killed}");
        let mut exporter = bench.start(None);
        exporter.wait_for(ExporterStatus::LeaseReady).await;
        let (_, completed) = bench.count("repair");
        assert_eq!(completed, 1, "{point}");
        let forgotten = usize::from(forgets_a_completed_run(&point));
        assert_eq!(bench.lines("done").len(), 1 + forgotten, "{point}");
    }
}

const INSTALLED: &str = "
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    version: '1'
    hooks:
      preInstall: {scripts: [{targetPlatform: linux, run: 'echo preInstall >> $DIR/done'}]}
      postInstall: {scripts: [{targetPlatform: linux, run: 'echo postInstall >> $DIR/done'}]}
      preUpdate: {scripts: [{targetPlatform: linux, run: 'echo preUpdate >> $DIR/done'}]}
      postUpdate: {scripts: [{targetPlatform: linux, run: 'echo postUpdate >> $DIR/done'}]}
      preDelete: {scripts: [{targetPlatform: linux, run: 'echo preDelete >> $DIR/done'}]}
      postDelete: {scripts: [{targetPlatform: linux, run: 'echo postDelete >> $DIR/done'}]}
";

/// A change of a driver: the configuration before, the one after, and what is done in between.
fn driver_changes() -> [(&'static str, Option<String>, String, [&'static str; 3]); 3] {
    let updated = INSTALLED.replace("version: '1'", "version: '2'");
    let deleted = "\nexport: {}\n".to_owned();
    [
        (
            "driver-applied",
            None,
            INSTALLED.to_owned(),
            ["preInstall", "postInstall", "driver-applied"],
        ),
        (
            "driver-applied",
            Some(INSTALLED.to_owned()),
            updated,
            ["preUpdate", "postUpdate", "driver-applied"],
        ),
        (
            "driver-removed",
            Some(INSTALLED.to_owned()),
            deleted,
            ["preDelete", "postDelete", "driver-removed"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_driver_gets_each_stage_to_its_end_once() {
    for (_, before, after, [pre, post, written]) in driver_changes() {
        let names =
            [pre, post].map(|stage| [format!("run-begun-{stage}"), format!("run-ended-{stage}")]);
        let names = names.as_flattened().iter().map(String::as_str).chain([written]);
        for point in both_sides(names) {
            let bench = Bench::new(before.as_deref().unwrap_or(&after));
            if before.is_some() {
                let mut exporter = bench.start(None);
                exporter.wait_for(ExporterStatus::LeaseReady).await;
                exporter.signal(Signal::SIGTERM);
                assert_eq!(exporter.ended().await.code(), Some(0));
                bench.configure(&after);
            }
            let killed = bench.start(Some(&point)).ended().await;
            assert!(was_killed(killed), "{point} was never reached: {killed}");
            let mut exporter = bench.start(None);
            exporter.wait_for(ExporterStatus::LeaseReady).await;
            for stage in [pre, post] {
                assert_eq!(bench.count(stage).1, 1, "{stage} after {point}");
                let forgotten = usize::from(point == format!("run-ended-{stage}:before"));
                let noted = bench.lines("done").iter().filter(|line| *line == stage).count();
                assert_eq!(noted, 1 + forgotten, "{stage} after {point}");
            }
        }
    }
}

const EXPORTER: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  afterLease: {script: 'echo after >> $DIR/done'}
  lifecycle:
    - run: echo $SKYPILOT_HOOK_EVENT >> $DIR/done
";

/// How an exporter is made to run the hooks of an event.
async fn bid_farewell(event: &str, bench: &Bench, point: &str) {
    let mut exporter = bench.start(Some(point));
    let _client = exporter.in_use().await;
    match event {
        "preemption" => exporter.signal(Signal::SIGTERM),
        "down" => {
            bench.hilt(&["down", "bench"]);
        }
        _ => panic!("{event} is not an event of this test"),
    }
    let killed = exporter.ended().await;
    assert!(was_killed(killed), "{point} was never reached: {killed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_killed_in_its_farewell_still_owes_the_lease_its_hook_and_no_more() {
    for event in ["preemption", "down"] {
        let names = [format!("run-begun-{event}"), format!("run-ended-{event}")];
        for point in both_sides(names.iter().map(String::as_str)) {
            let bench = Bench::new(EXPORTER);
            bid_farewell(event, &bench, &point).await;
            let mut exporter = bench.start(None);
            // It is no longer going: the farewell is over, whatever became of its hooks.
            exporter.wait_for(ExporterStatus::LeaseReady).await;
            assert_eq!(bench.count("afterLease").1, 1, "{point}");
            assert!(bench.count(event).1 <= 1, "{point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_killed_while_it_stops_idle_starts_again() {
    let configuration = EXPORTER.replace("hooks:", "exitOnLeaseEnd: true\nhooks:");
    for point in both_sides(["run-begun-stop", "run-ended-stop"]) {
        let bench = Bench::new(&configuration);
        assert!(was_killed(bench.start(Some(&point)).run_out().await), "{point}");
        assert_eq!(bench.start(None).run_out().await.code(), Some(0), "{point}");
        // One for each lease, and each lease has had its hook.
        assert_eq!(bench.count("afterLease"), (2, 2), "{point}");
    }
}

#[test]
fn no_fault_point_is_left_out() {
    let farewells = ["stop", "preemption", "down"];
    let farewells =
        farewells.map(|event| [format!("run-begun-{event}"), format!("run-ended-{event}")]);
    let mut tried: BTreeSet<String> = farewells.as_flattened().iter().cloned().collect();
    tried.extend(LEASE_POINTS.iter().chain(&FAILURE_POINTS).map(|name| (*name).to_owned()));
    for (_, _, _, [pre, post, written]) in driver_changes() {
        for stage in [pre, post] {
            tried.extend([format!("run-begun-{stage}"), format!("run-ended-{stage}")]);
        }
        tried.insert(written.to_owned());
    }
    let all: BTreeSet<_> = fault::names().into_iter().collect();
    assert_eq!(tried, all);
    assert!(
        HookEvent::ALL.iter().all(|event| all.contains(&format!("run-ended-{}", event.word())))
    );
}
