//! What a bench says of itself when somebody sends it SIGQUIT.

use exporter::wire::router_service_client::RouterServiceClient;
use exporter::wire::{EndSessionRequest, ExporterStatus};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::bench::{Bench, DEADLINE, Exporter, POLL};

const HOOKS: &str = "
export: {echo: {type: jumpstarter_driver_network.driver.EchoNetwork}}
hooks:
  beforeLease: {script: 'while [ ! -e $DIR/go ]; do sleep 0.01; done', timeout: 70}
  afterLease: {script: 'touch $DIR/after'}
";

/// Asks until the answer has a line with these words; returns the line.
async fn told(exporter: &Exporter, words: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        exporter.signal(Signal::SIGQUIT);
        sleep(10 * POLL).await;
        let said = exporter.said();
        if let Some(line) = said.lines().find(|line| line.contains(words)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "it never says {words}; {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_and_calls_are_told_with_how_long_they_have_lasted() {
    let bench = Bench::new(HOOKS);
    let mut exporter = bench.start(None);
    exporter.wait_for(ExporterStatus::BeforeLeaseHook).await;
    let hook = told(&exporter, "- hook: beforeLease, run ").await;
    assert!(hook.contains(", time limit 70 s, for "), "{hook}");
    let pid = told(&exporter, ", process ").await;
    let pid = pid.split(", process ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.contains("HOOK_EVENT=beforeLease"), "it is the hook's");
    told(&exporter, "- lease machine: waits for the beforeLease hook, for ").await;
    told(&exporter, "- lease standalone of ").await;

    std::fs::write(bench.file("go"), "").unwrap();
    let mut client = exporter.in_use().await;
    let report = client.get_report(()).await.unwrap().into_inner();
    let echo = report.reports.iter().find(|report| report.parent_uuid.is_some()).unwrap();
    let (frames, outbound) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(outbound));
    let wanted = format!(r#"{{"kind": "driver", "uuid": "{}", "method": "connect"}}"#, echo.uuid);
    request.metadata_mut().insert("request", wanted.parse().unwrap());
    let endpoint = Endpoint::from_shared(exporter.address()).unwrap();
    let mut router = RouterServiceClient::new(endpoint.connect().await.unwrap());
    let answers = router.stream(request).await.unwrap();
    told(&exporter, "- stream: connect of echo, for ").await;
    told(&exporter, "- 2 connections of clients, ").await;
    drop((answers, frames));

    // It goes on as if nothing had been asked.
    client.end_session(EndSessionRequest {}).await.unwrap();
    exporter.wait_until(|_| bench.file("after").exists()).await;
    exporter.wait_for(ExporterStatus::LeaseReady).await;
}
