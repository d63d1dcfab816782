//! A client of the exporter, behind the router.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::controller::Fake;
use crate::wire::exporter_service_client::ExporterServiceClient;
use crate::wire::router_service_client::RouterServiceClient;
use crate::wire::{
    DialResponse, DriverCallRequest, EndSessionRequest, ExporterStatus, FrameType,
    GetStatusRequest, LogStreamResponse, StreamRequest,
};

/// How long `jmp` dials, and how soon it does so again at first.
const DIAL_LIMIT: Duration = Duration::from_secs(30);
const DIAL_AGAIN: Duration = Duration::from_millis(300);

/// A client that is connected.
pub(in super::super) struct Client {
    exporter: ExporterServiceClient<Channel>,
    /// Carries its bytes.
    _bridge: JoinSet<()>,
}

impl Client {
    /// Dials, again and again if the exporter can't be reached, as `jmp` does; and connects.
    pub(in super::super) async fn connect(fake: &Fake, lease: &str) -> Result<Self, Status> {
        let deadline = Instant::now() + DIAL_LIMIT;
        loop {
            match fake.dial(lease).await {
                Err(refusal)
                    if refusal.code() == Code::Unavailable && Instant::now() < deadline =>
                {
                    sleep(DIAL_AGAIN).await;
                }
                outcome => return Ok(Self::meet(fake, outcome?)),
            }
        }
    }

    /// Connects where it was told to.
    pub(in super::super) fn meet(fake: &Fake, dial: DialResponse) -> Self {
        let (near, far) = duplex(64 * 1024);
        let mut bridge = JoinSet::new();
        let router = channel(fake, "router");
        bridge.spawn(async move {
            // A tunnel that breaks is seen at its ends.
            carry(far, router, &dial.router_token).await.ok();
        });
        let mut near = Some(near);
        let channel = Endpoint::from_static("http://exporter").connect_with_connector_lazy(
            tower::service_fn(move |_: Uri| {
                let near = near.take().ok_or_else(|| io::Error::other("one connection only"));
                async move { near.map(TokioIo::new) }
            }),
        );
        Self { exporter: ExporterServiceClient::new(channel), _bridge: bridge }
    }

    /// The exporter's status.
    pub(in super::super) async fn status(&self) -> Result<ExporterStatus, Status> {
        let status = self.exporter.clone().get_status(GetStatusRequest {}).await?.into_inner();
        Ok(status.status())
    }

    /// The first driver, switched on.
    pub(in super::super) async fn call(&self) -> Result<(), Status> {
        let report = self.exporter.clone().get_report(()).await?.into_inner();
        let driver = report.reports.iter().find(|report| report.parent_uuid.is_some()).unwrap();
        let request =
            DriverCallRequest { uuid: driver.uuid.clone(), method: "on".into(), args: Vec::new() };
        self.exporter.clone().driver_call(request).await.map(drop)
    }

    /// Says that it has finished.
    pub(in super::super) async fn end_session(&self) -> Result<bool, Status> {
        let answer = self.exporter.clone().end_session(EndSessionRequest {}).await?;
        Ok(answer.into_inner().success)
    }

    /// What the exporter says.
    pub(in super::super) async fn logs(
        &self,
    ) -> Result<tonic::Streaming<LogStreamResponse>, Status> {
        Ok(self.exporter.clone().log_stream(()).await?.into_inner())
    }
}

fn channel(fake: &Fake, host: &'static str) -> Channel {
    let net = fake.net.clone();
    Endpoint::from_static("http://client").connect_with_connector_lazy(tower::service_fn(
        move |_: Uri| {
            let wire = net.connect(host).map(TokioIo::new);
            async move { wire }
        },
    ))
}

/// As the reference's client: bytes in frames, GOAWAY and half-close at the end.
async fn carry(bytes: DuplexStream, router: Channel, token: &str) -> Result<(), Status> {
    let (mut reader, mut writer) = split(bytes);
    let (frames, outbound) = mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(outbound));
    let token = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    let outward = async {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = reader.read(&mut chunk).await.unwrap_or(0);
            let frame_type = if length == 0 { FrameType::Goaway } else { FrameType::Data };
            let payload = Bytes::copy_from_slice(&chunk[..length]);
            let frame = StreamRequest { payload, frame_type: frame_type.into() };
            if frames.send(frame).await.is_err() || length == 0 {
                drop(frames);
                return;
            }
        }
    };
    let inward = async {
        let mut client = RouterServiceClient::new(router);
        let mut replies = client.stream(request).await?.into_inner();
        while let Some(frame) = replies.message().await? {
            match frame.frame_type() {
                FrameType::Data => {
                    if writer.write_all(&frame.payload).await.is_err() {
                        break;
                    }
                }
                FrameType::Goaway => break,
                FrameType::RstStream | FrameType::Ping => {}
            }
        }
        writer.shutdown().await.ok();
        Ok(())
    };
    let ((), ended) = tokio::join!(outward, inward);
    ended
}
