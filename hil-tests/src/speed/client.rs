//! The benchmark's client: the same program for all subjects.

use std::net::SocketAddr;
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use exporter::wire::exporter_service_client::ExporterServiceClient;
use exporter::wire::router_service_client::RouterServiceClient;
use exporter::wire::value::to_wire;
use exporter::wire::{
    DriverCallRequest, ExporterStatus, FrameType, GetStatusResponse, LogStreamResponse,
    StreamRequest, StreamResponse, StreamingDriverCallRequest,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use crate::process::patiently;

/// As `j` has them, so that an upload or a download is not held up by the client.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 1 << 20;

/// One connection to a subject. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    exporter: ExporterServiceClient<Channel>,
    router: RouterServiceClient<Channel>,
}

/// A byte stream through a subject.
#[derive(Debug)]
pub(super) struct Stream {
    /// What the client sends; dropping it is the end.
    pub(super) frames: mpsc::Sender<StreamRequest>,
    pub(super) replies: Streaming<StreamResponse>,
}

/// Where a connection goes, and how much may be on its way there and back.
pub(super) fn endpoint(uri: String) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(uri)?;
    Ok(endpoint
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME))
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let endpoint = endpoint(format!("http://{address}"))?;
        let channel = endpoint.connect().await;
        Ok(Self::through(channel.with_context(|| format!("connecting to {address}"))?))
    }

    /// A client of the exporter at the end of a connection.
    pub(super) fn through(channel: Channel) -> Self {
        Self {
            exporter: ExporterServiceClient::new(channel.clone()),
            router: RouterServiceClient::new(channel),
        }
    }

    /// Connects to a subject that was just started, as soon as it listens.
    pub(super) async fn patient(address: SocketAddr) -> Result<Self> {
        let connected = async {
            loop {
                match Self::connect(address).await {
                    Ok(client) => return client,
                    Err(_) => pause().await,
                }
            }
        };
        patiently(&format!("somebody to listen on {address}"), connected).await
    }

    /// Asks for the report.
    pub(super) async fn report(&self) -> Result<()> {
        self.exporter.clone().get_report(()).await.context("GetReport")?;
        Ok(())
    }

    /// The uuid of the driver of this name below the root.
    pub(super) async fn uuid(&self, name: &str) -> Result<String> {
        let report = self.exporter.clone().get_report(()).await?.into_inner();
        let named = |labels: &std::collections::HashMap<String, String>| {
            labels.get("jumpstarter.dev/name").is_some_and(|label| label == name)
        };
        let driver = report.reports.into_iter().find(|driver| named(&driver.labels));
        Ok(driver.with_context(|| format!("no driver is called {name}"))?.uuid)
    }

    /// Calls a method and doesn't look at what it returns.
    pub(super) async fn call(&self, uuid: &str, method: &str, args: Vec<Value>) -> Result<()> {
        let (uuid, method) = (uuid.to_owned(), method.to_owned());
        let args = args.into_iter().map(to_wire).collect();
        self.exporter.clone().driver_call(DriverCallRequest { uuid, method, args }).await?;
        Ok(())
    }

    /// Calls a method and counts the items that it yields.
    pub(super) async fn items(&self, uuid: &str, method: &str) -> Result<usize> {
        let (uuid, method) = (uuid.to_owned(), method.to_owned());
        let request = StreamingDriverCallRequest { uuid, method, args: Vec::new() };
        let mut items = self.exporter.clone().streaming_driver_call(request).await?.into_inner();
        let mut count = 0;
        while items.message().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    pub(super) async fn status(&self) -> Result<GetStatusResponse> {
        let status = self.exporter.clone().get_status(exporter::wire::GetStatusRequest {}).await;
        Ok(status.context("GetStatus")?.into_inner())
    }

    /// Waits for a status.
    pub(super) async fn has(&self, wanted: ExporterStatus) -> Result<()> {
        let there = async {
            while self.status().await?.status() != wanted {
                pause().await;
            }
            Ok(())
        };
        patiently(wanted.as_str_name(), there).await?
    }

    /// Waits until drivers may be called.
    pub(super) async fn is_ready(&self) -> Result<()> {
        self.has(ExporterStatus::LeaseReady).await
    }

    pub(super) async fn end_session(&self) -> Result<()> {
        let request = exporter::wire::EndSessionRequest {};
        let reply = self.exporter.clone().end_session(request).await?.into_inner();
        ensure!(reply.success, "EndSession: {}", reply.message());
        Ok(())
    }

    pub(super) async fn logs(&self) -> Result<Streaming<LogStreamResponse>> {
        Ok(self.exporter.clone().log_stream(()).await.context("LogStream")?.into_inner())
    }

    /// Opens a byte stream to a driver.
    pub(super) async fn stream(&self, uuid: &str) -> Result<Stream> {
        let request = json!({"kind": "driver", "uuid": uuid, "method": "connect"});
        Ok(self.open(&request).await?.0)
    }

    /// Opens a byte stream that a driver is to read from or write to; the value is the handle by
    /// which a call names it.
    pub(super) async fn lend(&self, uuid: &str, encoding: Option<&str>) -> Result<(Stream, Value)> {
        let request = json!({"kind": "resource", "uuid": uuid, "x_jmp_content_encoding": encoding});
        let (stream, metadata) = self.open(&request).await?;
        let handle = metadata.get("resource").context("a resource has a handle")?;
        Ok((stream, serde_json::from_slice(handle.as_bytes())?))
    }

    async fn open(&self, request: &Value) -> Result<(Stream, tonic::metadata::MetadataMap)> {
        let (frames, receiver) = mpsc::channel(8);
        let metadata = request.to_string().parse()?;
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("request", metadata);
        let (metadata, replies, _) =
            self.router.clone().stream(request).await.context("Stream")?.into_parts();
        Ok((Stream { frames, replies }, metadata))
    }
}

impl Stream {
    /// The next chunk, unless it was the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        next(&mut self.replies).await
    }
}

/// The next chunk of a stream, unless it was the last.
pub(super) async fn next(replies: &mut Streaming<StreamResponse>) -> Result<Option<Bytes>> {
    let Some(reply) = replies.message().await? else { return Ok(None) };
    Ok((reply.frame_type() == FrameType::Data).then_some(reply.payload))
}

/// Sends a chunk.
pub(super) async fn send(frames: &mpsc::Sender<StreamRequest>, payload: Bytes) -> Result<()> {
    let frame = StreamRequest { payload, frame_type: FrameType::Data.into() };
    frames.send(frame).await.context("the stream broke off")
}

/// Says that no more chunks will come.
pub(super) async fn finish(frames: mpsc::Sender<StreamRequest>) -> Result<()> {
    let frame = StreamRequest { payload: Bytes::new(), frame_type: FrameType::Goaway.into() };
    frames.send(frame).await.context("the stream broke off")
}

/// Lets the subject work undisturbed before it is asked again. tokio's timers tick in milliseconds,
/// which is as long as some things take that are measured.
pub(super) async fn pause() {
    const PAUSE: Duration = Duration::from_micros(200);
    // It only fails if it panics.
    tokio::task::spawn_blocking(|| park_timeout(PAUSE)).await.ok();
}
