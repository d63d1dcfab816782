//! Out of service, and back.

use exporter::wire::{ExporterStatus, GetStatusResponse};
use nix::sys::signal::Signal;

use crate::bench::Bench;

const FAILING: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  beforeLease: {script: 'test -e $DIR/mended', onFailure: quarantine}
";

fn is_quarantined(status: &GetStatusResponse) -> bool {
    status.message().starts_with("quarantined")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_is_out_of_service_across_restarts_until_somebody_releases_it() {
    let bench = Bench::new(FAILING);
    let mut exporter = bench.start(None);
    let status = exporter.wait_until(is_quarantined).await;
    assert_eq!(status.status(), ExporterStatus::BeforeLeaseHookFailed);
    assert_eq!(status.message(), "quarantined: Hook failed with exit code 1");
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));

    let mut exporter = bench.start(None);
    let again = exporter.wait_until(is_quarantined).await;
    assert_eq!(again.message, status.message);
    let said = String::from_utf8(bench.hilt(&["status"]).stdout).unwrap();
    assert!(said.contains("quarantined since "), "{said}");
    assert!(said.contains(": Hook failed with exit code 1"), "{said}");
    assert!(said.contains("`hilt release bench` takes it back into service"), "{said}");

    std::fs::write(bench.file("mended"), "").unwrap();
    assert!(bench.hilt(&["release", "bench"]).status.success());
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    let refused = bench.hilt(&["release", "bench"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), "hilt: bench is not in quarantine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_is_out_of_service_after_enough_failures_in_a_row() {
    let configuration = FAILING
        .replace("quarantine}", "endLease}\n  quarantineAfter: 2")
        .replace("export:", "exitOnLeaseEnd: true\nexport:");
    let bench = Bench::new(&configuration);
    // A restart does not forget the first failure.
    for _ in 0..2 {
        assert_eq!(bench.start(None).ended().await.code(), Some(0));
    }
    let mut exporter = bench.start(None);
    let status = exporter.wait_until(is_quarantined).await;
    let reason = "quarantined: 2 leases in a row have failed: Hook failed with exit code 1";
    assert_eq!(status.message(), reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_that_is_released_while_it_is_repaired_is_back_at_once() {
    let configuration = FAILING.replace(
        "quarantine}",
        "quarantine}\n  repair: {script: 'touch $DIR/mended; echo on >> $DIR/repair; exec sleep 1000', interval: 1}",
    );
    let bench = Bench::new(&configuration);
    let mut exporter = bench.start(None);
    bench.written("repair", "on").await;
    assert!(bench.hilt(&["release", "bench"]).status.success());
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    assert_eq!(bench.count("repair"), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_could_not_be_installed_is_tried_again_after_a_restart() {
    let bench = Bench::new(
        "
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    hooks:
      preInstall: {scripts: [{targetPlatform: linux, run: 'test -e $DIR/mended'}]}
",
    );
    let mut exporter = bench.start(None);
    exporter.wait_until(is_quarantined).await;
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));
    std::fs::write(bench.file("mended"), "").unwrap();
    bench.start(None).wait_for(ExporterStatus::LeaseReady).await;
    assert_eq!(bench.count("preInstall"), (2, 1));
}
