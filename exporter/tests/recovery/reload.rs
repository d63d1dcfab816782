//! Another configuration for a running exporter.

use std::time::Duration;

use exporter::wire::{ExporterStatus, GetStatusRequest};
use tokio::time::timeout;

use crate::bench::{Bench, Exporter};

const POWER: &str = "
motd: welcome
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    version: '1'
    hooks:
      preUpdate: {scripts: [{targetPlatform: linux, run: 'echo updated >> $DIR/done'}]}
hooks:
  afterLease: {script: 'echo $LEASE_END_REASON >> $DIR/done'}
";

/// Has an exporter take over this configuration; returns once it has read it.
fn reload(bench: &Bench, configuration: &str) {
    bench.configure(configuration);
    let reloaded = bench.hilt(&["reload", "bench"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
}

/// Waits until clients are greeted with this. Nobody is connected in between.
async fn greeted(exporter: &mut Exporter, motd: &str) {
    let greeted = async {
        loop {
            let mut client = exporter.client().await.expect("the exporter is running");
            if client.get_report(()).await.unwrap().into_inner().motd == motd {
                return;
            }
            drop(client);
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), greeted).await.expect("the greeting is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_are_changed_at_once_where_nobody_is_connected() {
    let bench = Bench::new(POWER);
    let mut exporter = bench.start(None);
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    reload(&bench, &POWER.replace("'1'", "'2'").replace("welcome", "good day"));
    bench.written("done", "updated").await;
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    greeted(&mut exporter, "good day").await;
    assert_eq!(bench.lines("done"), ["released", "updated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_are_changed_once_the_last_client_is_gone() {
    let bench = Bench::new(POWER);
    let mut exporter = bench.start(None);
    let ready = exporter.wait_for(ExporterStatus::LeaseReady).await;
    let mut client = exporter.client().await.unwrap();
    client.get_status(GetStatusRequest {}).await.unwrap();
    reload(&bench, &POWER.replace("'1'", "'2'"));
    assert!(bench.hilt(&["status"]).status.success());
    let now = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(now.status_version, ready.status_version, "{now:?}");
    drop(client);
    bench.written("done", "updated").await;
    exporter.wait_for(ExporterStatus::LeaseReady).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_says_the_same_disturbs_nobody() {
    let bench = Bench::new(POWER);
    let mut exporter = bench.start(None);
    let ready = exporter.wait_for(ExporterStatus::LeaseReady).await;
    reload(&bench, POWER);
    assert!(bench.hilt(&["status"]).status.success());
    let now = exporter.wait_for(ExporterStatus::LeaseReady).await;
    assert_eq!(now.status_version, ready.status_version);
    assert_eq!(bench.lines("done"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_exporter_keeps_its_name() {
    let bench = Bench::new(POWER);
    let mut exporter = bench.start(None);
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    let path = bench.file("exporter.yaml");
    let renamed = std::fs::read_to_string(&path).unwrap().replace("name: bench", "name: other");
    std::fs::write(&path, renamed).unwrap();
    let refused = bench.hilt(&["reload", "bench"]);
    assert_eq!(refused.status.code(), Some(1));
    let expected = format!(
        "hilt: bench goes on with its old configuration:\n{}: metadata.name: is 'other', but the \
         exporter that runs is 'bench'; restart it to give it another name\n",
        path.display()
    );
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), expected);
}
