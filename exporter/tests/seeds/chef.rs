//! Chef's page: the hooks around the changes of a skill, which is a driver here.

mod history;
mod stages;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use exporter::store::RunStatus;
use exporter::wire::{EndSessionRequest, ExporterStatus, GetStatusResponse};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, Exporter, lives};
use crate::record::{events, outputs};

const POWER: &str = "jumpstarter_driver_power.driver.MockPower";

const STAGES: [&str; 6] =
    ["preInstall", "postInstall", "preUpdate", "postUpdate", "preDelete", "postDelete"];

/// A driver of this name, with more lines in its definition.
fn driver(name: &str, lines: &str) -> String {
    format!("  {name}:\n    type: {POWER}\n{lines}")
}

/// The line of its hooks: stages with their scripts.
fn hooks(stages: &[(&str, &str)]) -> String {
    let stage = |(stage, script): &(&str, &str)| {
        ((*stage).to_owned(), json!({"scripts": [{"targetPlatform": "linux", "run": script}]}))
    };
    format!("    hooks: {}\n", Value::Object(stages.iter().map(stage).collect()))
}

/// Says its stage in each of them, but fails in `failing`.
fn all_stages(failing: &str) -> String {
    let script = format!("echo $HOOK_EVENT $DRIVER_VERSION; [ $HOOK_EVENT != '{failing}' ]");
    hooks(&STAGES.map(|stage| (stage, script.as_str())))
}

/// The same, for a driver of this version.
fn versioned(version: u8, failing: &str) -> String {
    format!("    version: '{version}'\n{}", all_stages(failing))
}

fn exported(drivers: &str) -> String {
    format!("export:\n{drivers}")
}

/// Starts the exporter, which makes its drivers what the configuration says.
async fn applied(bench: &Bench) -> Exporter {
    let mut exporter = bench.start(None);
    let is_decided = |status: &GetStatusResponse| {
        status.status() == ExporterStatus::LeaseReady || status.message().starts_with("quarantined")
    };
    exporter.wait_until(is_decided).await;
    exporter
}

/// The names of the drivers that clients are shown.
async fn shown(exporter: &mut Exporter) -> Vec<String> {
    let mut client = exporter.client().await.unwrap();
    let report = client.get_report(()).await.unwrap().into_inner();
    let name = |labels: std::collections::HashMap<String, String>| {
        labels.get("jumpstarter.dev/name").cloned()
    };
    report.reports.into_iter().filter_map(|report| name(report.labels)).collect()
}

async fn stop(exporter: Exporter) {
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));
}

/// Applies one configuration after the other.
async fn change(bench: &Bench, configurations: &[&str]) {
    for configuration in configurations {
        bench.configure(configuration);
        stop(applied(bench).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_of_the_page_runs_as_it_is_written() {
    let hooks = r#"    "hooks": {
      "preInstall": {
        "scripts": [
          {
            "targetPlatform": "linux",
            "script": "IyEvYmluL2Jhc2gKZWNobyAiUnVubmluZyBwcmVJbnN0YWxsIGhvb2si",
            "timeoutSeconds": 120
          },
          {
            "targetPlatform": "windows",
            "script": "V3JpdGUtT3V0cHV0ICJSdW5uaW5nIHByZUluc3RhbGwgaG9vayI=",
            "timeoutSeconds": 120
          }
        ]
      },
      "postInstall": {
        "scripts": [
          {
            "targetPlatform": "linux",
            "script": "IyEvYmluL2Jhc2gKZWNobyAiUnVubmluZyBwb3N0SW5zdGFsbCBob29rIg==",
            "timeoutSeconds": 300
          }
        ]
      }
    }
"#;
    let bench = Bench::new(&exported(&driver("chef-client-interpreter", hooks)));
    stop(applied(&bench).await).await;
    assert_eq!(outputs(&bench, "preInstall"), ["Running preInstall hook\n"]);
    assert_eq!(outputs(&bench, "postInstall"), ["Running postInstall hook\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_without_a_script_for_this_platform_is_skipped_silently() {
    let windows = "    hooks: {preInstall: {scripts: [{targetPlatform: windows, run: exit 1}]}, \
                   postInstall: {scripts: []}}\n";
    let bench = Bench::new(&exported(&driver("power", windows)));
    let mut exporter = applied(&bench).await;
    assert_eq!(shown(&mut exporter).await, ["power"]);
    assert_eq!(events(&bench), [""; 0]);
    assert!(!exporter.said().contains("Install"), "{}", exporter.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_script_for_a_platform_is_a_validation_error() {
    let twice = "    hooks: {preInstall: {scripts: [{targetPlatform: linux, run: 'true'}, \
                 {targetPlatform: linux, run: 'true'}]}}\n";
    let bench = Bench::new(&exported(&driver("power", twice)));
    let exporter = bench.start(None);
    let said = bench.file("exporter.log");
    assert_eq!(exporter.ended().await.code(), Some(1));
    let said = std::fs::read_to_string(said).unwrap();
    let mistake = "export.power.hooks.preInstall.scripts[1]: is a second script for its platform; ";
    assert!(said.contains(mistake), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_others_may_change_are_not_run() {
    let bench = Bench::new(&exported(&driver("power", &all_stages(""))));
    let file = bench.file("exporter.yaml");
    std::fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    assert_eq!(bench.start(None).ended().await.code(), Some(1));
    let said = bench.lines("exporter.log");
    let refusal = "exporter.yaml` can be changed by others than its owner (mode 0664); ";
    assert!(said.iter().any(|line| line.contains(refusal)), "{said:?}");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    stop(applied(&bench).await).await;
    assert_eq!(events(&bench), ["preInstall", "postInstall"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_its_time_is_killed_and_has_failed() {
    let slow = "    hooks: {preInstall: {scripts: [{targetPlatform: linux, \
                run: 'echo $$; exec sleep 1000', timeoutSeconds: 1}]}}\n";
    let bench = Bench::new(&exported(&driver("power", slow)));
    let mut exporter = applied(&bench).await;
    let status = exporter.wait_for(ExporterStatus::BeforeLeaseHookFailed).await;
    assert_eq!(
        status.message(),
        "quarantined: driver power: preInstall hook took longer than 1 s and was ended; \
         the driver is not installed"
    );
    assert_eq!(bench.runs()[0].ended.as_ref().unwrap().status, RunStatus::Timeout);
    let pid = outputs(&bench, "preInstall")[0].trim().parse().unwrap();
    assert!(!lives(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_a_setting_and_a_script_are_each_a_change_and_nothing_else_is_touched() {
    let other = driver("other", &all_stages(""));
    let power = |lines: &str, script: &str| {
        let hooks = hooks(&[("preUpdate", script), ("postUpdate", "echo updated")]);
        exported(&(driver("power", &(lines.to_owned() + &hooks)) + &other))
    };
    let bench = Bench::new("");
    change(
        &bench,
        &[
            &power("", "echo one"),
            &power("    version: '2'\n", "echo one"),
            &power("    version: '2'\n    config: {rack: 7}\n", "echo one"),
            &power("    version: '2'\n    config: {rack: 7}\n", "echo another"),
            &power("    config: {rack: 7}\n    version: '2'\n", "echo another"),
        ],
    )
    .await;
    assert_eq!(outputs(&bench, "preUpdate"), ["one\n", "one\n", "another\n"]);
    assert_eq!(outputs(&bench, "postUpdate"), ["updated\n"; 3]);
    assert_eq!(events(&bench)[..2], ["preInstall", "postInstall"], "of the other one");
    assert_eq!(events(&bench).len(), 2 + 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_script_is_applied_at_the_end_of_the_lease_without_a_restart() {
    let power = |script| exported(&driver("power", &hooks(&[("preUpdate", script)])));
    let bench = Bench::new(&power("echo one >> $DIR/done"));
    let mut exporter = applied(&bench).await;
    let mut client = exporter.in_use().await;
    bench.configure(&power("echo another >> $DIR/done"));
    assert!(bench.hilt(&["reload", "bench"]).status.success());
    assert_eq!(events(&bench), [""; 0], "somebody has the bench");
    client.end_session(EndSessionRequest {}).await.unwrap();
    bench.written("done", "another").await;
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    assert_eq!(events(&bench), ["preUpdate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_removed_by_null_and_by_leaving_them_out() {
    let version =
        |n, lines: &str| exported(&driver("power", &format!("    version: '{n}'\n{lines}")));
    for without in ["    hooks: null\n", ""] {
        let bench = Bench::new("");
        change(&bench, &[&version(1, &all_stages("")), &version(1, without), &version(2, without)])
            .await;
        assert_eq!(events(&bench), ["preInstall", "postInstall"], "{without}");
        let exporter = applied(&bench).await;
        assert!(!exporter.said().contains("WARN"), "{}", exporter.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_update_leaves_out_is_gone() {
    let hooks = hooks(&[("preUpdate", "echo ${CHEF_HOOK_RACK-none} $DRIVER_VERSION")]);
    let power = |lines: &str| exported(&driver("power", &(lines.to_owned() + &hooks)));
    let bench = Bench::new("");
    let whole = "    version: '1'\n    config: {rack: 7}\n";
    change(&bench, &[&power(whole), &power("    config: {rack: 7}\n"), &power("")]).await;
    assert_eq!(outputs(&bench, "preUpdate"), ["7\n", "none\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_are_in_the_environment_of_a_hook() {
    let lines = "    config: {config-name.key: a value, port: 3, nested: {deep-er: yes}}\n";
    let hooks = hooks(&[("preInstall", "env | grep ^CHEF_HOOK_ | sort")]);
    let bench = Bench::new(&exported(&driver("power", &(lines.to_owned() + &hooks))));
    stop(applied(&bench).await).await;
    assert_eq!(
        outputs(&bench, "preInstall"),
        ["CHEF_HOOK_CONFIG_NAME_KEY=a value\nCHEF_HOOK_NESTED_DEEP_ER=true\nCHEF_HOOK_PORT=3\n"]
    );
}
