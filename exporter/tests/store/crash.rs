//! A process that dies leaves exactly what it had committed.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use exporter::lease::machine::journal::Progress;
use exporter::store::{HookEvent, Recovery, RunStatus, Write, fault};
use tempfile::TempDir;

use crate::records::{begun, driver, ended, lease, one_of_each, open};

/// Where the process that is to die keeps its store.
const DIR: &str = "STORE_UNDER_TEST";

/// Every kind of change in a commit of its own.
fn commits() -> Vec<Write> {
    let mut writes = one_of_each().0;
    for event in HookEvent::ALL {
        let run = begun(event, "2200-03-04T05:06:07Z");
        writes.push(Write::RunBegun(run.clone()));
        writes.push(Write::RunEnded(ended(&run, RunStatus::Timeout, "")));
    }
    writes
}

/// Not a test, but the process that dies in one: tests run it by its name.
#[tokio::test]
#[ignore = "only its parent knows what it is for"]
async fn committing_process() {
    let Some(dir) = env::var_os(DIR) else { return };
    let (store, _) = open(&PathBuf::from(dir));
    for write in commits() {
        store.commit(vec![write]).await;
    }
    drop(store);
}

fn commit_until(fault_point: &str, dir: &TempDir) -> ExitStatus {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::committing_process", "--ignored"])
        .env(DIR, dir.path())
        .env(fault::VARIABLE, fault_point)
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

#[test]
fn every_fault_point_ends_the_process() {
    for name in fault::names() {
        let dir = TempDir::new().unwrap();
        assert_eq!(commit_until(&name, &dir).signal(), Some(9), "{name}");
        // The lock died with it, and the database is whole.
        open(dir.path());
    }
}

#[test]
fn what_was_committed_before_a_crash_is_there_and_nothing_else() {
    let state = |fault_point: &str| {
        let dir = TempDir::new().unwrap();
        assert_eq!(commit_until(fault_point, &dir).signal(), Some(9), "{fault_point}");
        open(dir.path()).1
    };
    assert_eq!(state("lease-preparing:before"), Recovery::default());
    let preparing = |name| Some(lease(name, Progress::Preparing));
    assert_eq!(state("lease-preparing").lease, preparing("first"));
    assert_eq!(state("lease-over:before").lease, preparing("first"));
    assert_eq!(state("lease-over:after").lease, None);
    assert_eq!(state("lease-preparing#2").lease, preparing("second"));
    assert_eq!(state("run-begun-beforeLease:before").unfinished_runs.len(), 0);
    assert_eq!(state("run-begun-beforeLease:after").unfinished_runs.len(), 1);
    assert_eq!(state("run-ended-beforeLease:before").unfinished_runs.len(), 2);
    assert_eq!(state("run-ended-beforeLease:after").unfinished_runs.len(), 1);
    assert_eq!(state("driver-removed:before").drivers.len(), 3);
    assert_eq!(state("driver-removed:after").drivers[0], driver("board.power", "2"));
    assert_eq!(state("failures-in-a-row:before").failures, 0);
    assert_eq!(state("failures-in-a-row:after").failures, 2);
}

#[test]
fn an_unknown_fault_point_is_refused() {
    let dir = TempDir::new().unwrap();
    assert_eq!(commit_until("lease", &dir).code(), Some(101));
}
