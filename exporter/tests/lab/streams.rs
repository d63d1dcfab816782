//! Connections through the router: from CreateLease to a driver's answer, and their end.

use std::time::Duration;

use bytes::Bytes;
use exporter::wire::exporter_service_client::ExporterServiceClient;
use exporter::wire::{
    DriverCallRequest, ExporterStatus, FrameType, GetStatusRequest, LogSource, StreamRequest,
};
use futures_util::StreamExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tower::service_fn;

use crate::lab_under_test::{Client, DEADLINE, LabUnderTest};

/// A request for a stream with a token.
pub(crate) fn opens(
    token: &str,
    frames: mpsc::Receiver<StreamRequest>,
) -> Request<ReceiverStream<StreamRequest>> {
    let mut request = Request::new(ReceiverStream::new(frames));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// A connection to the exporter of a lease, as `jmp` makes one. It lasts as long as the tasks.
async fn connect(
    client: &Client,
    lease: &str,
    tasks: &mut JoinSet<()>,
) -> ExporterServiceClient<Channel> {
    let dialled = client.dial(lease).await.unwrap();
    assert!(dialled.router_endpoint.starts_with("127.0.0.1:"), "by the way that it has come");
    let (outbound, frames) = mpsc::channel(4);
    let request = opens(&dialled.router_token, frames);
    let mut replies = client.router().stream(request).await.unwrap().into_inner();
    let (near, far) = duplex(64 * 1024);
    let (mut reader, mut writer) = split(near);
    tasks.spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let payload = Bytes::copy_from_slice(&buffer[..count]);
            let frame = StreamRequest { payload, frame_type: FrameType::Data.into() };
            if outbound.send(frame).await.is_err() {
                return;
            }
        }
    });
    tasks.spawn(async move {
        while let Ok(Some(reply)) = replies.message().await {
            if writer.write_all(&reply.payload).await.is_err() {
                return;
            }
        }
        writer.shutdown().await.ok();
    });
    let mut far: Option<DuplexStream> = Some(far);
    let connector = service_fn(move |_| {
        let far = far.take().map(TokioIo::new);
        async move { far.ok_or_else(|| std::io::Error::other("it connects once")) }
    });
    let endpoint = Endpoint::from_static("http://exporter");
    ExporterServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

async fn status(exporter: &mut ExporterServiceClient<Channel>) -> ExporterStatus {
    exporter.get_status(GetStatusRequest {}).await.unwrap().into_inner().status()
}

async fn power_on(exporter: &mut ExporterServiceClient<Channel>) {
    let report = exporter.get_report(()).await.unwrap().into_inner();
    let power = report.reports.into_iter().find(|report| {
        report.labels.get("jumpstarter.dev/name").is_some_and(|name| name == "power")
    });
    let request =
        DriverCallRequest { uuid: power.unwrap().uuid, method: "on".into(), args: Vec::new() };
    exporter.driver_call(request).await.unwrap();
}

#[tokio::test]
async fn from_create_lease_to_the_first_driver_call_is_no_time() {
    let lab = LabUnderTest::start(&[("bench", "")]).await;
    let ann = lab.client("ann").await;
    let mut best = Duration::MAX;
    for round in 0..5 {
        let name = format!("lease-{round}");
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        ann.lease(&name, "jumpstarter.dev/name=bench", 60).await.unwrap();
        ann.waits_for(&name, "Ready True Ready").await;
        let mut exporter = connect(&ann, &name, &mut tasks).await;
        while status(&mut exporter).await != ExporterStatus::LeaseReady {}
        power_on(&mut exporter).await;
        best = best.min(start.elapsed());
        delete(&ann, &name).await;
    }
    // What it may take on a machine that has nothing else to do; here, others test at the same time.
    assert!(best < Duration::from_millis(500), "{best:?}");
    lab.stop().await;
}

async fn delete(client: &Client, name: &str) {
    let name = crate::lab_under_test::whole(name);
    let request = client.says(exporter::wire::client::DeleteLeaseRequest { name });
    client.service().delete_lease(request).await.unwrap();
}

#[tokio::test]
async fn the_last_line_of_the_last_hook_comes_before_the_end() {
    let hook = "hooks: {afterLease: {script: 'for n in 1 2 3 4 5; do echo line $n; done'}}";
    let lab = LabUnderTest::start(&[("bench", hook)]).await;
    let ann = lab.client("ann").await;
    ann.lease("one", "jumpstarter.dev/name=bench", 2).await.unwrap();
    let mut tasks = JoinSet::new();
    let mut exporter = connect(&ann, "one", &mut tasks).await;
    let mut log = exporter.log_stream(()).await.unwrap().into_inner();
    let read = async {
        let mut lines = Vec::new();
        while let Ok(Some(record)) = log.message().await {
            if record.source() == LogSource::AfterLeaseHook {
                lines.push(record.message);
            }
        }
        lines
    };
    let lines = timeout(DEADLINE, read).await.expect("the end of the lease ends the stream");
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 4", "line 5"]);
    lab.stop().await;
}

#[tokio::test]
async fn a_ticket_is_used_once() {
    let lab = LabUnderTest::start(&[("bench", "")]).await;
    let ann = lab.client("ann").await;
    ann.lease("one", "jumpstarter.dev/name=bench", 60).await.unwrap();
    let token = ann.dial("one").await.unwrap().router_token;
    let (_outbound, frames) = mpsc::channel(1);
    let first = ann.router().stream(opens(&token, frames)).await;
    assert!(first.is_ok(), "{first:?}");
    for token in [&*token, "x", "", &ann.token] {
        let (_outbound, frames) = mpsc::channel(1);
        let again = ann.router().stream(opens(token, frames)).await.unwrap_err();
        assert_eq!(again.code(), Code::Unauthenticated, "{again}");
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_transfer_cuts_the_connections_of_the_one_who_had_it() {
    let lab = LabUnderTest::start(&[("bench", "")]).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    ann.lease("one", "jumpstarter.dev/name=bench", 60).await.unwrap();
    let token = ann.dial("one").await.unwrap().router_token;
    let (_outbound, frames) = mpsc::channel(1);
    let mut replies = ann.router().stream(opens(&token, frames)).await.unwrap().into_inner();
    let lease = exporter::wire::client::Lease {
        name: crate::lab_under_test::whole("one"),
        client: Some("namespaces/default/clients/bob".into()),
        ..Default::default()
    };
    let request =
        exporter::wire::client::UpdateLeaseRequest { lease: Some(lease), update_mask: None };
    ann.service().update_lease(ann.says(request)).await.unwrap();
    let over = async { while let Some(Ok(_)) = replies.next().await {} };
    timeout(DEADLINE, over).await.expect("the stream ends");
    let mut tasks = JoinSet::new();
    let mut exporter = connect(&bob, "one", &mut tasks).await;
    power_on(&mut exporter).await;
    lab.stop().await;
}
