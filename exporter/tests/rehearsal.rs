//! `hilt hooks test`, as it is typed.
#![expect(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

use std::fs;
use std::process::{Command, Output};

const BENCH: &str = "
metadata: {namespace: default, name: bench}
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    config: {rack: 7}
    hooks:
      preInstall: {scripts: [{targetPlatform: linux, run: 'echo $HOOK_EVENT $DRIVER_NAME $CHEF_HOOK_RACK; exit 3'}]}
hooks:
  beforeLease: {script: 'echo $LEASE_NAME $CLIENT_NAME; j power on'}
  lifecycle: [{run: 'echo $SKYPILOT_HOOK_EVENT', events: [stop]}]
";

fn test(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bench.yaml");
    fs::write(&file, BENCH).unwrap();
    let mut hilt = Command::new(env!("CARGO_BIN_EXE_hilt"));
    hilt.args(["hooks", "test"]).args(arguments).arg("--exporter-config").arg(&file);
    hilt.output().unwrap()
}

/// What was printed, without the times.
fn lines(output: &Output) -> Vec<&str> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| line.trim_start().split_once("  ").unwrap().1).collect()
}

#[test]
fn a_hook_runs_with_the_devices_and_is_heard() {
    let output = test(&["beforeLease", "--client", "alice"]);
    // The terminal and the socket of a hook are two ways, and neither waits for the other.
    let mut said = lines(&output);
    said.sort_unstable();
    assert_eq!(said, ["power on", "rehearsal alice"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        let seconds: f64 = line.trim_start().split("  ").next().unwrap().parse().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{line}");
    }
    assert_eq!(lines(&test(&["stop"])), ["stop"]);
}

#[test]
fn a_failure_is_told_and_is_the_exit_code() {
    let output = test(&["preInstall"]);
    let failure = "ERROR: preInstall hook failed with exit code 3";
    assert_eq!(lines(&output), ["preInstall power 7", failure]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_not_there_is_named() {
    let output = test(&["afterLease"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).ends_with("bench.yaml has no afterLease hook\n")
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(test(&["lunch"]).status.code(), Some(2));
}
