//! `hilt hooks`, as it is typed.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use exporter::config::export::Stage;
use exporter::config::hooks::LifecycleEvent;
use exporter::lease::machine::Phase;
use exporter::lease::machine::journal::Progress;
use exporter::state::{StateDir, hook_log};
use exporter::store::{HookEvent, RunBegun, RunStatus, Store, Write};
use serde_json::Value;
use tempfile::TempDir;

use crate::records::{begun, ended, open, wrote};

/// What a command has printed, or why it did not.
fn hilt(state: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = command(state, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut hilt = Command::new(env!("CARGO_BIN_EXE_hilt"));
    hilt.arg("hooks").args(arguments).arg("--state-dir").arg(state).env_clear().env("TZ", "UTC");
    hilt
}

/// Exporters that run, with a few runs of hooks.
async fn recorded(state: &Path) -> (Vec<Store>, Vec<RunBegun>) {
    let state = StateDir::of(Some(state));
    let (one, two) = (open(&state.of_exporter("one")).0, open(&state.of_exporter("two")).0);
    one.commit(vec![wrote("first", Progress::Preparing)]).await;
    let install = begun(HookEvent::Driver(Stage::PreInstall), "2200-03-01T00:00:00Z");
    let before = begun(HookEvent::Lease(Phase::Before), "2200-03-02T00:00:00Z");
    let after = begun(HookEvent::Lease(Phase::After), "2200-03-03T00:00:00Z");
    let install_ended = ended(&install, RunStatus::Success, "installed\n");
    let mut before_ended = ended(&before, RunStatus::Failure, "no power\nsecond line");
    before_ended.detail = Some("cancelled".into());
    two.commit(vec![Write::RunBegun(install.clone()), Write::RunEnded(install_ended)]).await;
    one.commit(vec![Write::RunBegun(before.clone()), Write::RunEnded(before_ended)]).await;
    one.commit(vec![Write::RunBegun(after.clone())]).await;
    (vec![one, two], vec![install, before, after])
}

fn short(run: &RunBegun) -> String {
    run.id.to_string()[..8].to_owned()
}

#[tokio::test]
async fn the_history_is_a_table_of_all_exporters() {
    let dir = TempDir::new().unwrap();
    let (_stores, runs) = recorded(dir.path()).await;
    let [install, before, after] = [&runs[0], &runs[1], &runs[2]].map(short);
    let expected = format!(
        "\
RUN       STARTED              EVENT        OF           LEASE  EXPORTER  TOOK   STATUS
{install}  2200-03-01 00:00:00  preInstall   board.power  -      two       1.2 s  success
{before}  2200-03-02 00:00:00  beforeLease  first        first  one       1.2 s  failure (exit code 3, cancelled)
{after}  2200-03-03 00:00:00  afterLease   first        first  one       -      not over
"
    );
    assert_eq!(hilt(dir.path(), &["history"]), Ok(expected));
    let expected = format!(
        "\
RUN       STARTED              EVENT       OF           LEASE  TOOK   STATUS
{install}  2200-03-01 00:00:00  preInstall  board.power  -      1.2 s  success
"
    );
    assert_eq!(hilt(dir.path(), &["history", "--exporter", "two"]), Ok(expected));
}

#[tokio::test]
async fn the_history_can_be_narrowed_down() {
    let dir = TempDir::new().unwrap();
    let (_stores, runs) = recorded(dir.path()).await;
    let table: [(&[&str], &[usize]); 8] = [
        (&[], &[0, 1, 2]),
        (&["--event", "beforeLease"], &[1]),
        (&["--lease", "first"], &[1, 2]),
        (&["--driver", "board.power"], &[0]),
        (&["--status", "failure"], &[1]),
        (&["--since", "2200-03-02T00:00:00Z"], &[1, 2]),
        (&["--since", "3d"], &[0, 1, 2]),
        (&["--lease", "first", "--status", "timeout"], &[]),
    ];
    for (arguments, expected) in table {
        let arguments = [&["history", "--format", "json"], arguments].concat();
        let printed = hilt(dir.path(), &arguments).unwrap();
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].clone();
        let found: Vec<_> = printed.lines().map(id).collect();
        let expected: Vec<_> = expected.iter().map(|run| runs[*run].id.to_string()).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_run_is_shown_with_all_that_it_has_printed() {
    let dir = TempDir::new().unwrap();
    let (_stores, runs) = recorded(dir.path()).await;
    let id = runs[1].id;
    let expected = format!(
        "\
run       {id}
event     beforeLease
of        lease first
lease     first
exporter  one
started   2200-03-02 00:00:00 (2200-03-02T00:00:00Z)
took      1.2 s
status    failure (exit code 3, cancelled)

no power
second line
"
    );
    assert_eq!(hilt(dir.path(), &["show", &short(&runs[1])]), Ok(expected));
    let json = hilt(dir.path(), &["show", &id.to_string(), "--format", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown["stdout"], "no power\nsecond line");
}

#[tokio::test]
async fn a_mistake_is_explained() {
    let dir = TempDir::new().unwrap();
    let (_stores, _) = recorded(dir.path()).await;
    for (arguments, error) in [
        (&["show", "x"][..], "hilt: no run 'x'; see hilt hooks history\n"),
        (&["show", ""], "hilt: several runs begin with ''; type more of the id\n"),
        (&["logs"], "hilt: no hook has run for stop, preemption, down\n"),
        (&["logs", "down", "-f"], "hilt: no hook has run for down\n"),
    ] {
        assert_eq!(hilt(dir.path(), arguments), Err(error.into()));
    }
    let error = hilt(dir.path(), &["history", "--exporter", "three"]).unwrap_err();
    assert!(error.starts_with("hilt: no exporter 'three' has kept anything in "), "{error}");
    assert!(error.ends_with("; only one, two has\n"), "{error}");
    for (arguments, error) in [
        (["history", "--event", "boot"], "there are: beforeLease, afterLease, stop, "),
        (["history", "--status", "good"], "there are: success, failure, timeout"),
        (["history", "--since", "soon"], "'soon' is not a moment; write 2h, 3d, or "),
    ] {
        let found = hilt(dir.path(), &arguments).unwrap_err();
        assert!(found.contains(error), "{found}");
    }
    assert_eq!(hilt(&dir.path().join("none"), &["history"]).unwrap().lines().count(), 1);
}

#[test]
fn a_log_is_printed_and_followed() {
    let dir = TempDir::new().unwrap();
    let bench = StateDir::of(Some(dir.path())).of_exporter("bench");
    let (stop, down) =
        [LifecycleEvent::Stop, LifecycleEvent::Down].map(|e| hook_log(&bench, e)).into();
    fs::create_dir_all(stop.parent().unwrap()).unwrap();
    fs::write(&stop, "saved\n").unwrap();
    assert_eq!(hilt(dir.path(), &["logs"]), Ok("saved\n".into()));
    fs::write(&down, "gone\n").unwrap();
    let old = fs::metadata(&stop).unwrap().modified().unwrap() - std::time::Duration::from_secs(9);
    OpenOptions::new().append(true).open(&stop).unwrap().set_modified(old).unwrap();
    assert_eq!(hilt(dir.path(), &["logs"]), Ok("gone\n".into()), "the newest");
    assert_eq!(hilt(dir.path(), &["logs", "stop"]), Ok("saved\n".into()));

    let mut follower =
        command(dir.path(), &["logs", "stop", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "saved");
    let mut log = OpenOptions::new().append(true).open(&stop).unwrap();
    writeln!(log, "again").unwrap();
    assert_eq!(lines.next().unwrap(), "again");
    // Rotated, and cut.
    fs::rename(&stop, stop.with_extension("1")).unwrap();
    fs::write(&stop, "a new file\n").unwrap();
    assert_eq!(lines.next().unwrap(), "a new file");
    fs::write(&stop, "short\n").unwrap();
    assert_eq!(lines.next().unwrap(), "short");
    follower.kill().unwrap();
    follower.wait().unwrap();
}
