//! How long a commit takes, in an empty store and in one with a long history.

use exporter::lease::machine::Phase;
use exporter::lease::machine::Prepared;
use exporter::lease::machine::journal::Progress;
use exporter::store::{HookEvent, RunStatus, Store, Write};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::records::{begun, ended, lease, open, wrote};

const RUNS: usize = 10_000;
const TRANSITIONS: usize = 100_000;

/// The median and the slowest of a hundred commits, in milliseconds.
async fn measured(store: &Store) -> (f64, f64) {
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        let progress = Progress::Prepared(Prepared::Passed);
        store.commit(vec![wrote("measured", progress)]).await;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    (times[50], times[99])
}

/// Prints what it measures: how long the disk takes is nothing to fail for.
#[tokio::test]
async fn a_long_history_does_not_slow_a_commit_down() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    let empty = measured(&store).await;
    for batch in 0..100 {
        let mut writes = Vec::new();
        for number in 0..RUNS / 100 {
            let run = begun(HookEvent::Lease(Phase::Before), "2200-03-04T05:06:07Z");
            writes.push(Write::RunBegun(run.clone()));
            writes.push(Write::RunEnded(ended(&run, RunStatus::Success, "a line\n")));
            let name = format!("lease-{batch}-{number}");
            for _ in 0..TRANSITIONS / RUNS {
                writes.push(wrote(&name, Progress::Preparing));
            }
        }
        store.commit(writes).await;
    }
    let full = measured(&store).await;
    println!(
        "commit, median and slowest of 100: empty {:.2} ms, {:.2} ms; {RUNS} runs and {TRANSITIONS} \
         transitions {:.2} ms, {:.2} ms; ratio of the medians {:.2}",
        empty.0,
        empty.1,
        full.0,
        full.1,
        full.0 / empty.0,
    );
    drop(store);
    let start = Instant::now();
    let (_store, recovery) = open(dir.path());
    println!("opening it again: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    assert_eq!(recovery.lease, Some(lease("measured", Progress::Prepared(Prepared::Passed))));
}
