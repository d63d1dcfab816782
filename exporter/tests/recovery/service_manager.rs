//! What systemd hears of an exporter.

use std::time::Duration;

use exporter::wire::ExporterStatus;
use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::bench::Bench;

const HOOKS: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  afterLease: {script: 'true', timeout: 40}
  lifecycle:
    - {run: 'true', events: [preemption], timeout: 600}
";

async fn heard(socket: &UnixDatagram) -> String {
    let mut message = [0; 1024];
    let received = timeout(Duration::from_secs(20), socket.recv(&mut message)).await;
    let length = received.expect("systemd is told").unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_time_out_grows_to_fit_the_hooks() {
    let bench = Bench::new(HOOKS);
    let path = bench.file("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let mut command = bench.run();
    command.env("NOTIFY_SOCKET", &path);
    let mut exporter = bench.spawn(command);
    assert_eq!(heard(&systemd).await, "READY=1\n");
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    exporter.signal(Signal::SIGTERM);
    let stopping = heard(&systemd).await;
    let microseconds = stopping
        .strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=")
        .and_then(|number| number.trim_end().parse::<u64>().ok());
    let enough = Duration::from_secs(640);
    assert!(microseconds.is_some_and(|us| Duration::from_micros(us) >= enough), "{stopping}");
    assert_eq!(exporter.ended().await.code(), Some(0));
}

const EVENTS: &str = "
export: {power: {type: jumpstarter_driver_power.driver.MockPower}}
hooks:
  afterLease: {script: 'echo $LEASE_END_REASON >> $DIR/done'}
  lifecycle: [{run: 'echo $HOOK_EVENT >> $DIR/done'}]
";

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_nobody_uses_stops_and_one_that_somebody_uses_is_preempted() {
    let bench = Bench::new(EVENTS);
    let exporter = bench.start(None);
    bench.shows("LEASE_READY").await;
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));
    assert_eq!(bench.lines("done"), ["exporter-stopping", "stop"]);

    let mut exporter = bench.start(None);
    let _client = exporter.in_use().await;
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));
    assert_eq!(bench.lines("done")[2..], ["preemption", "exporter-stopping"]);
}
