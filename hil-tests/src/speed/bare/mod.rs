//! The bare limit: a server that speaks the protocol and does nothing.
//!
//! It is started as an exporter is, and has the transport settings and the runtime of Hilt's. Every
//! call succeeds at once, and every stream echoes. An upload goes to a file, and a download comes from
//! it. A client that opens the log stream has the beforeLease hook run, with a pipe for its output; a
//! SIGTERM runs the afterLease hook and ends the process.

mod hook;
mod image;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use clap::Args;
use exporter::session::listener;
use exporter::wire::exporter_service_server::{ExporterService, ExporterServiceServer};
use exporter::wire::router_service_server::{RouterService, RouterServiceServer};
use exporter::wire::{
    DriverCallRequest, DriverCallResponse, DriverInstanceReport, EndSessionRequest,
    EndSessionResponse, ExporterStatus, GetReportResponse, GetStatusRequest, GetStatusResponse,
    LogStreamResponse, ResetRequest, ResetResponse, StreamRequest, StreamResponse,
    StreamingDriverCallRequest, StreamingDriverCallResponse,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

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
            uploaded: Mutex::default(),
            hooks: Mutex::default(),
        }));
        let server = listener::server()
            .add_service(ExporterServiceServer::new(bare.clone()))
            .add_service(RouterServiceServer::new(bare.clone()))
            .serve(self.tls_grpc_listener);
        tokio::select! {
            served = server => served.context("serving"),
            _ = terminate.recv() => {
                match hook::hooks(&self.exporter_config)?.after_lease {
                    Some(after) => hook::run(&after.hook).await,
                    None => Ok(()),
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Bare(Arc<State>);

#[derive(Debug)]
struct State {
    config: PathBuf,
    lent: Mutex<Option<Lent>>,
    /// What the last upload has left.
    uploaded: Mutex<Option<Arc<File>>>,
    hooks: Mutex<JoinSet<Result<()>>>,
}

/// A resource that no call has used yet.
#[derive(Debug)]
struct Lent {
    frames: Streaming<StreamRequest>,
    replies: image::Replies,
}

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = BoxStream<'static, Result<T, Status>>;

impl Bare {
    /// Uses the resource for an upload or a download, if there is one.
    async fn transfer(&self, method: &str) -> Result<(), Status> {
        let lent = self.0.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Lent { frames, replies }) = lent else { return Ok(()) };
        let image = || self.0.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        if method == "read" {
            let uploaded = image().clone();
            return image::send(uploaded, replies).await;
        }
        let received = image::receive(frames).await?;
        let old = image().replace(Arc::new(received));
        tokio::task::spawn_blocking(|| drop(old));
        image::send(None, replies).await
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
        let (lines, receiver) = mpsc::channel(1024);
        let hooks = hook::hooks(&self.0.config);
        let hooks = hooks.map_err(|error| Status::internal(error.to_string()))?;
        if let Some(before) = hooks.before_lease {
            let mut running = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
            running.spawn(hook::tell(before, lines));
        }
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
        Ok(Response::new(EndSessionResponse { success: true, message: None }))
    }
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
        let (replies, receiver) = mpsc::channel(image::WAITING);
        let lent = Lent { frames, replies };
        *self.0.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(lent);
        let mut response = Response::new(ReceiverStream::new(receiver).boxed());
        let handle = json!({"kind": "client_stream", "uuid": wanted["uuid"]}).to_string();
        let handle = handle.parse().map_err(|_| Status::internal("a handle is ASCII"))?;
        response.metadata_mut().insert("resource", handle);
        Ok(response)
    }
}
