//! `hilt check`, as it is typed.
#![expect(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const RIGHT: &str = "metadata: {namespace: default, name: bench}\n";
const DOUBTFUL: &str = "metadata: {namespace: default, name: bench}\ncolour: red\n";
const WRONG: &str = "metadata: {namespace: default, name: bench}\nmotd: 5\n";

/// A directory with one file of each kind.
fn bench() -> TempDir {
    let bench = TempDir::new().unwrap();
    for (name, content) in [("right", RIGHT), ("doubtful", DOUBTFUL), ("wrong", WRONG)] {
        fs::write(bench.path().join(name), content).unwrap();
    }
    bench
}

fn check(directory: &Path, arguments: &[&str]) -> Output {
    let mut hilt = Command::new(env!("CARGO_BIN_EXE_hilt"));
    hilt.current_dir(directory).env_clear().arg("check").args(arguments).output().unwrap()
}

/// Exit code, stdout, stderr.
fn ran(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn mistakes_go_to_stderr_and_good_files_to_stdout() {
    let bench = bench();
    assert_eq!(ran(&check(bench.path(), &["right"])), (Some(0), "right: ok\n", ""));
    let unknown = "doubtful:2:1: warning: colour: unknown key; known here: ";
    let output = check(bench.path(), &["right", "doubtful"]);
    let (code, out, err) = ran(&output);
    assert_eq!((code, out), (Some(0), "right: ok\ndoubtful: ok\n"));
    assert!(err.starts_with(unknown) && err.lines().count() == 1, "{err}");
    let number = "wrong:2:7: motd: must be text, but is a number; write it in quotes\n";
    let output = check(bench.path(), &["wrong", "right"]);
    assert_eq!(ran(&output), (Some(1), "right: ok\n", number));
}

#[test]
fn the_time_that_hooks_need_to_end_is_told() {
    let bench = bench();
    let hooks = format!("{RIGHT}hooks: {{afterLease: {{script: x, timeout: 100}}}}\n");
    fs::write(bench.path().join("hooks"), hooks).unwrap();
    let output = check(bench.path(), &["hooks"]);
    let expected = "hooks: ok\nhooks: its hooks need TimeoutStopSec=120 (systemd) or \
                    terminationGracePeriodSeconds: 120 (Kubernetes)\n";
    assert_eq!(ran(&output), (Some(0), expected, ""));
}

#[test]
fn strictness_makes_errors_of_keys_that_nobody_reads() {
    let bench = bench();
    let output = check(bench.path(), &["--strict", "doubtful"]);
    let (code, out, err) = ran(&output);
    assert_eq!((code, out), (Some(1), ""));
    assert!(err.starts_with("doubtful:2:1: colour: unknown key; "), "{err}");
}

#[test]
fn json_is_one_array_for_all_files() {
    let bench = bench();
    let output = check(bench.path(), &["--format", "json", "wrong", "right", "missing"]);
    let (code, out, err) = ran(&output);
    assert_eq!((code, err), (Some(1), ""));
    assert_eq!(
        serde_json::from_str::<Value>(out).unwrap(),
        json!([
            {
                "file": "wrong",
                "line": 2,
                "column": 7,
                "path": "motd",
                "severity": "error",
                "message": "must be text, but is a number",
                "hint": "write it in quotes",
            },
            {
                "file": "missing",
                "line": 1,
                "column": 1,
                "path": "",
                "severity": "error",
                "message": "can't be read: No such file or directory (os error 2)",
                "hint": "give the path of a readable file",
            },
        ])
    );
    let output = check(bench.path(), &["--format", "json", "right"]);
    assert_eq!(ran(&output), (Some(0), "[]\n", ""));
}

#[test]
fn bad_usage_has_its_own_exit_code() {
    let bench = bench();
    for arguments in [&[][..], &["--format", "xml", "right"], &["--loud", "right"]] {
        assert_eq!(check(bench.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
