//! The bare limit: a server that speaks the protocol and does nothing.
//!
//! It is started as an exporter is, and has the transport settings and the runtime of Hilt's. Every
//! call succeeds at once, every stream echoes, an upload is read and forgotten, and a download is as
//! long as the last upload was. The end of a session runs the afterLease hook with a pipe for its
//! output, and so does a SIGTERM, which also ends the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use exporter::config::{Environment, load};
use exporter::session::listener;
use exporter::wire::exporter_service_server::{ExporterService, ExporterServiceServer};
use exporter::wire::router_service_server::{RouterService, RouterServiceServer};
use exporter::wire::{
    DriverCallRequest, DriverCallResponse, DriverInstanceReport, EndSessionRequest,
    EndSessionResponse, ExporterStatus, FrameType, GetReportResponse, GetStatusRequest,
    GetStatusResponse, LogSource, LogStreamResponse, ResetRequest, ResetResponse, StreamRequest,
    StreamResponse, StreamingDriverCallRequest, StreamingDriverCallResponse,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::measurements::CHUNK;

/// What an exporter is called with.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[arg(long)]
    exporter_config: PathBuf,
    #[arg(long)]
    tls_grpc_listener: SocketAddr,
    #[arg(long)]
    tls_grpc_insecure: bool,
}

impl Serve {
    /// Serves until SIGTERM.
    pub(super) async fn run(&self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let bare = Bare(Arc::new(State {
            config: self.exporter_config.clone(),
            lent: Mutex::default(),
            uploaded: AtomicUsize::default(),
            lines: Mutex::default(),
            hooks: Mutex::default(),
        }));
        let server = listener::server()
            .add_service(ExporterServiceServer::new(bare.clone()))
            .add_service(RouterServiceServer::new(bare.clone()))
            .serve(self.tls_grpc_listener);
        tokio::select! {
            served = server => served.context("serving"),
            _ = terminate.recv() => {
                hook(&self.exporter_config)?.status().await.context("running the hook")?;
                Ok(())
            }
        }
    }
}

/// The afterLease hook of a configuration.
fn hook(config: &std::path::Path) -> Result<Command> {
    let loaded = load(config, &Environment::of_process()).map_err(anyhow::Error::msg)?;
    let hook = loaded.config.hooks.after_lease.context("there is no afterLease hook")?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(hook.hook.script.text).kill_on_drop(true);
    Ok(command)
}

#[derive(Clone, Debug)]
struct Bare(Arc<State>);

#[derive(Debug)]
struct State {
    config: PathBuf,
    lent: Mutex<Option<Lent>>,
    /// How many chunks the last upload had.
    uploaded: AtomicUsize,
    lines: Mutex<Option<mpsc::Sender<Result<LogStreamResponse, Status>>>>,
    hooks: Mutex<JoinSet<Result<()>>>,
}

/// A resource that no call has used yet.
#[derive(Debug)]
struct Lent {
    frames: Streaming<StreamRequest>,
    /// Takes how many chunks the client gets.
    reply: oneshot::Sender<usize>,
}

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = BoxStream<'static, Result<T, Status>>;

impl Bare {
    /// Uses the resource for an upload or a download, if there is one.
    async fn transfer(&self, method: &str) -> Result<(), Status> {
        let lent = self.0.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut lent) = lent else { return Ok(()) };
        let mut chunks = 0;
        if method == "read" {
            chunks = self.0.uploaded.load(Ordering::Relaxed);
        } else {
            while let Some(frame) = lent.frames.message().await? {
                if frame.frame_type() != FrameType::Data {
                    break;
                }
                chunks += 1;
            }
            self.0.uploaded.store(chunks, Ordering::Relaxed);
            chunks = 0;
        }
        lent.reply.send(chunks).map_err(|_| Status::cancelled("the client has gone"))
    }
}

#[tonic::async_trait]
impl ExporterService for Bare {
    async fn get_report(&self, _: Request<()>) -> Reply<GetReportResponse> {
        let driver = |name: &str| DriverInstanceReport {
            uuid: name.to_owned(),
            labels: [("jumpstarter.dev/name".to_owned(), name.to_owned())].into(),
            ..DriverInstanceReport::default()
        };
        let reports = ["power", "echo", "tcp", "mux"].map(driver).into();
        Ok(Response::new(GetReportResponse { reports, ..GetReportResponse::default() }))
    }

    async fn driver_call(&self, request: Request<DriverCallRequest>) -> Reply<DriverCallResponse> {
        let DriverCallRequest { uuid, method, args } = request.into_inner();
        if !args.is_empty() {
            self.transfer(&method).await?;
        }
        Ok(Response::new(DriverCallResponse { uuid, result: None }))
    }

    type StreamingDriverCallStream = ReplyStream<StreamingDriverCallResponse>;

    async fn streaming_driver_call(
        &self,
        request: Request<StreamingDriverCallRequest>,
    ) -> Reply<Self::StreamingDriverCallStream> {
        let uuid = request.into_inner().uuid;
        let item = Ok(StreamingDriverCallResponse { uuid, result: None });
        // As many as a mocked power switch yields.
        Ok(Response::new(stream::iter([item.clone(), item]).boxed()))
    }

    type LogStreamStream = ReplyStream<LogStreamResponse>;

    async fn log_stream(&self, _: Request<()>) -> Reply<Self::LogStreamStream> {
        let (sender, receiver) = mpsc::channel(1024);
        *self.0.lines.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Reply<ResetResponse> {
        Ok(Response::new(ResetResponse {}))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Reply<GetStatusResponse> {
        let status = ExporterStatus::LeaseReady.into();
        Ok(Response::new(GetStatusResponse { status, ..GetStatusResponse::default() }))
    }

    async fn end_session(&self, _: Request<EndSessionRequest>) -> Reply<EndSessionResponse> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lines = lines.ok_or_else(|| Status::failed_precondition("nobody listens"))?;
        let hook = hook(&self.0.config).map_err(|error| Status::internal(error.to_string()))?;
        let mut hooks = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.spawn(pass_on(hook, lines));
        Ok(Response::new(EndSessionResponse { success: true, message: None }))
    }
}

/// Runs a hook and passes on what it prints.
async fn pass_on(
    mut hook: Command,
    lines: mpsc::Sender<Result<LogStreamResponse, Status>>,
) -> Result<()> {
    let mut hook = hook.stdout(Stdio::piped()).spawn()?;
    let output = hook.stdout.take().context("the output was piped")?;
    let mut output = BufReader::with_capacity(16 * 1024, output).lines();
    while let Some(message) = output.next_line().await? {
        let source = Some(LogSource::AfterLeaseHook.into());
        lines.send(Ok(LogStreamResponse { message, source, ..Default::default() })).await?;
    }
    hook.wait().await?;
    Ok(())
}

#[tonic::async_trait]
impl RouterService for Bare {
    type StreamStream = ReplyStream<StreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Reply<Self::StreamStream> {
        let wanted = request.metadata().get("request").map_or(&b""[..], |value| value.as_bytes());
        let wanted: Value = serde_json::from_slice(wanted)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let frames = request.into_inner();
        if wanted["kind"] != "resource" {
            let echo = |frame: StreamRequest| StreamResponse {
                payload: frame.payload,
                frame_type: frame.frame_type,
            };
            return Ok(Response::new(frames.map(move |frame| frame.map(echo)).boxed()));
        }
        let (reply, replies) = oneshot::channel();
        *self.0.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lent { frames, reply });
        let replies = stream::once(replies).flat_map(|chunks| download(chunks.unwrap_or_default()));
        let mut response = Response::new(replies.boxed());
        let handle = json!({"kind": "client_stream", "uuid": wanted["uuid"]}).to_string();
        let handle = handle.parse().map_err(|_| Status::internal("a handle is ASCII"))?;
        response.metadata_mut().insert("resource", handle);
        Ok(response)
    }
}

/// So many chunks, and the end.
fn download(chunks: usize) -> impl futures_util::Stream<Item = Result<StreamResponse, Status>> {
    let chunk = StreamResponse {
        payload: Bytes::from(vec![0; CHUNK]),
        frame_type: FrameType::Data.into(),
    };
    let end = StreamResponse { payload: Bytes::new(), frame_type: FrameType::Goaway.into() };
    let chunks = std::iter::repeat_n(chunk, chunks);
    stream::iter(chunks.chain([end]).map(Ok))
}
