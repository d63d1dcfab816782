//! The page's use cases, on a mock of the board.

use exporter::wire::ExporterStatus;

use super::{bench, one_lease};
use crate::bench::Bench;
use crate::record::outputs;
use crate::stand_in::{program, run_with};

/// The board's SSH server, which the exporter has no driver for: it answers from the second attempt
/// on, if there is a board. The rest of `j` is `j`.
const SHELL_WITH_SSH: &str = r#"#!/bin/sh
j() {
  if [ "$1" != ssh ]; then command j "$@"; return; fi
  echo "$*" >> $DIR/attempts
  [ -e $DIR/board ] && [ $(wc -l < $DIR/attempts) -gt 1 ]
}
eval "$2"
"#;

const INITIALIZATION: &str = r#"  beforeLease:
    exec: $DIR/sh
    script: |
      echo "Powering on device..."
      j power on
      echo "Waiting for SSH to become available..."
      for i in $(seq 1 30); do
        if j ssh -o ConnectTimeout=2 -- echo "Device ready"; then
          exit 0
        fi
        sleep 1
      done
      echo "Device did not become reachable"
      exit 1
    timeout: 120
    onFailure: endLease
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_initialized_as_on_the_page() {
    let bench = bench(INITIALIZATION);
    program(&bench, "sh", SHELL_WITH_SSH);
    std::fs::write(bench.file("board"), "").unwrap();
    one_lease(&bench, &["sleep"]).await;
    assert_eq!(bench.lines("attempts"), ["ssh -o ConnectTimeout=2 -- echo Device ready"; 2]);
    assert_eq!(bench.lines("called"), ["<sleep><1>"]);
    assert_eq!(
        outputs(&bench, "beforeLease"),
        ["Powering on device...\nWaiting for SSH to become available...\n"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_come_up_is_no_lease_for_the_client() {
    let bench = bench(INITIALIZATION);
    program(&bench, "sh", SHELL_WITH_SSH);
    let mut exporter = bench.spawn(run_with(&bench, &["sleep"]));
    let failed = exporter.wait_for(ExporterStatus::BeforeLeaseHookFailed).await;
    assert!(failed.message().ends_with("Hook failed with exit code 1"), "{}", failed.message());
    assert!(bench.lines("attempts").len() >= 30);
    assert!(outputs(&bench, "beforeLease")[0].ends_with("Device did not become reachable\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_cleaned_up_as_on_the_page() {
    let bench = bench(
        r#"  afterLease:
    script: |
      echo "Cleaning up..."
      j power off
    timeout: 30
    onFailure: warn
"#,
    );
    one_lease(&bench, &[]).await;
    assert_eq!(bench.count("afterLease"), (1, 1));
    assert_eq!(outputs(&bench, "afterLease"), ["Cleaning up...\n"]);
}

/// The image is in the bench's directory; what was written is read back before the lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn firmware_is_flashed_as_on_the_page() {
    let bench = Bench::new(
        r#"
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
  storage: {type: jumpstarter_driver_opendal.driver.MockStorageMuxFlasher}
hooks:
  beforeLease:
    script: |
      echo "Flashing firmware..."
      j storage write --image $DIR/firmware.bin
      j power cycle
      sleep 10
    timeout: 180
    onFailure: endLease
  afterLease: {script: j storage dump $DIR/dump}
"#,
    );
    let firmware = "known good\n".repeat(100_000);
    std::fs::write(bench.file("firmware.bin"), &firmware).unwrap();
    one_lease(&bench, &["sleep"]).await;
    assert_eq!(bench.lines("called"), ["<sleep><10>"]);
    assert!(std::fs::read_to_string(bench.file("dump")).unwrap() == firmware);
}

/// The serial device is a file here, so that it can be missing first and then come.
#[tokio::test(flavor = "multi_thread")]
async fn bash_checks_the_device_as_on_the_page() {
    let bench = bench(
        r#"  beforeLease:
    exec: /bin/bash
    script: |
      echo "Checking device readiness..."
      [[ -f $DIR/ttyUSB0 ]] || { echo "Serial device missing"; exit 1; }
      j power on
    timeout: 60
    onFailure: endLease
"#,
    );
    let mut exporter = bench.start(None);
    exporter.wait_for(ExporterStatus::BeforeLeaseHookFailed).await;
    std::fs::write(bench.file("ttyUSB0"), "").unwrap();
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    let outputs = outputs(&bench, "beforeLease");
    assert_eq!(outputs[0], "Checking device readiness...\nSerial device missing\n");
    assert_eq!(outputs.last().unwrap(), "Checking device readiness...\n");
}
