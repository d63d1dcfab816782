//! What a killed exporter leaves running.

use exporter::wire::ExporterStatus;
use nix::sys::signal::Signal;

use crate::bench::{Bench, lives, was_killed};

/// A hook that takes for ever, and so does what it starts in a session of its own.
const ENDLESS: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  beforeLease:
    script: |
      [ -e $DIR/pids ] && exit 0
      setsid sleep 1000 &
      echo $! >> $DIR/pids
      trap '' TERM HUP
      echo $$ >> $DIR/pids
      echo ready >> $DIR/pids
      sleep 1000
";

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_a_hook_are_ended_by_the_next_process() {
    let bench = Bench::new(ENDLESS);
    let exporter = bench.start(None);
    bench.written("pids", "ready").await;
    exporter.signal(Signal::SIGKILL);
    assert!(was_killed(exporter.ended().await));
    let pids: Vec<i32> = bench.lines("pids").iter().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| lives(*pid)), "nobody was there to end them");

    let mut exporter = bench.start(None);
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    assert!(!pids.iter().any(|pid| lives(*pid)), "{}", exporter.said());
    assert!(exporter.said().contains("left behind by a crash"));
    // The hook that was cut off has run again, and is on record both times.
    assert_eq!(bench.count("beforeLease"), (2, 1));
}

/// A driver whose method takes for ever, called by a client.
const SHELL: &str = "
export:
  shell:
    type: jumpstarter_driver_shell.driver.Shell
    config: {methods: {hang: 'echo $$ >> $DIR/pids; echo ready >> $DIR/pids; exec sleep 1000'}}
hooks:
  beforeLease: {script: 'if [ ! -e $DIR/pids ]; then j shell hang; fi'}
";

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_a_driver_are_ended_by_the_next_process() {
    let bench = Bench::new(SHELL);
    let exporter = bench.start(None);
    bench.written("pids", "ready").await;
    exporter.signal(Signal::SIGKILL);
    assert!(was_killed(exporter.ended().await));
    let pid = bench.lines("pids")[0].parse().unwrap();
    bench.start(None).wait_for(ExporterStatus::LeaseReady).await;
    assert!(!lives(pid));
}
