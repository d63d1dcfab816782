//! Exporters that fail, beside others that don't.

use std::fs;

use nix::sys::signal::Signal;

use crate::fleet_under_test::Fleet;

#[tokio::test]
async fn one_that_fails_is_started_again_while_the_others_go_on() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 1000}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.shows("good: AVAILABLE").await;
    fleet.shows("bad: OFFLINE").await;
    fleet.says("bad", "failed, to be started again in ", 3).await;
    fleet.repair("bad");
    fleet.shows("bad: AVAILABLE").await;
    assert_eq!(fleet.count("good", "failed"), 0);
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0), "all has ended well");
}

#[tokio::test]
async fn one_that_is_given_up_is_tried_again_when_somebody_asks() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 2}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.says("bad", "failed 2 times in a row within 60 s of its start, and is given up", 1).await;
    let status = String::from_utf8(fleet.hilt(&["status"]).stdout).unwrap();
    assert!(status.contains("given up after 2 failures; `hilt reload` tries again: "), "{status}");
    assert!(fleet.hilt(&["reload", "bad"]).status.success());
    fleet.says("bad", "and is given up", 2).await;
    fleet.repair("bad");
    fleet.signal(Signal::SIGHUP);
    fleet.shows("bad: AVAILABLE").await;
    fleet.says("good", "was read again", 1).await;
    fleet.shows("good: AVAILABLE").await;
}

#[tokio::test]
async fn what_was_given_up_makes_the_process_end_with_a_failure() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 1}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.says("bad", "and is given up", 1).await;
    fleet.shows("good: AVAILABLE").await;
    assert!(fleet.hilt(&["down", "good"]).status.success());
    assert_eq!(fleet.ended().await.code(), Some(1), "nobody is left");
}

#[tokio::test]
async fn an_only_exporter_is_given_up_as_in_the_reference() {
    let fleet = Fleet::of(&[("only", "failureDetection: {maxRapidFailures: 3}")]);
    fleet.damage("only");
    let fleet = fleet.start();
    let log = fleet.path("log");
    fleet.says("only", "failed 3 times in a row within 60 s of its start", 1).await;
    let said = fs::read_to_string(log).unwrap();
    assert_eq!(said.matches("failed, to be started again in ").count(), 2, "{said}");
    assert_eq!(fleet.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_configuration_with_a_mistake_keeps_nobody_else_from_running() {
    let fleet =
        Fleet::of(&[("good", ""), ("bad", "hooks: {beforeLease: {timeout: soon}}")]).start();
    fleet.shows("good: AVAILABLE").await;
    let file = fleet.path("exporters/bad.yaml").display().to_string();
    fleet.says(&file, "hooks.beforeLease.timeout", 1).await;
    fleet.configure("bad", "");
    fleet.signal(Signal::SIGHUP);
    fleet.shows("bad: AVAILABLE").await;
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0));
}

#[tokio::test]
async fn where_every_configuration_has_a_mistake_nothing_runs() {
    let mistake = "hooks: {beforeLease: {timeout: soon}}";
    let run = Fleet::of(&[("a", mistake), ("b", mistake)]).hilt(&["run", "--all"]);
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(said.matches("hooks.beforeLease.timeout: ").count(), 2, "{said}");
}

#[tokio::test]
async fn two_configurations_for_one_exporter_are_refused() {
    let fleet = Fleet::of(&[("a", "")]);
    fs::copy(fleet.path("exporters/a.yaml"), fleet.path("exporters/b.yaml")).unwrap();
    let run = fleet.hilt(&["run", "--all"]);
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        said.contains("b.yaml: metadata.name: another configuration is for the exporter 'a'"),
        "{said}"
    );
}

#[tokio::test]
async fn one_that_goes_for_good_takes_nobody_along() {
    let down = |name: &str| {
        format!("hooks: {{lifecycle: [{{run: 'echo {name} is gone', events: [down]}}]}}")
    };
    let fleet = Fleet::of(&[("a", &down("a")), ("b", &down("b"))]).start();
    fleet.shows("a: AVAILABLE").await;
    fleet.shows("b: AVAILABLE").await;
    assert!(fleet.hilt(&["down", "a"]).status.success());
    fleet.says("a", "a is gone", 1).await;
    fleet.shows("b: AVAILABLE").await;
    assert_eq!(fleet.count("b", "b is gone"), 0);
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0));
}
