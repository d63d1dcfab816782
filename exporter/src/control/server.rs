//! The exporter's side.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{BenchStatus, LeaseStatus, Refusal, SOCKET, socket_in};
use crate::lease::actor::LeaseHandle;
use crate::lease::overview::Overview;
use crate::lease::status;
use crate::shutdown::Shutdown;

/// What can be asked of an exporter.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The exporter's name.
    pub exporter: String,
    /// What it is doing.
    pub status: status::Reader,
    /// What that is about.
    pub overview: watch::Receiver<Overview>,
    /// Its bench.
    pub lease: LeaseHandle,
    /// Where reloads are asked for.
    pub reloads: Reloads,
    /// How it is told to go.
    pub shutdown: Shutdown,
}

/// Where reloads are asked for. Clones are the same.
#[derive(Debug, Clone)]
pub struct Reloads(pub mpsc::Sender<oneshot::Sender<Result<(), String>>>);

impl Reloads {
    /// Has the configuration read again. Returns once that is decided; drivers may still have to
    /// wait for the end of the lease.
    ///
    /// # Errors
    ///
    /// What is wrong with the new configuration; the old one goes on.
    pub async fn reload(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the exporter is stopping".to_owned();
        self.0.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Answers at the socket in a state directory until `stop` is cancelled.
///
/// # Errors
///
/// Why there can be no socket.
pub async fn serve(state_dir: &Path, desk: Desk, stop: CancellationToken) -> io::Result<()> {
    let directory = File::open(state_dir)?;
    let path = socket_in(&directory);
    // One that is left belongs to nobody: the directory is locked for this process.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/release", post(release))
        .route("/v1/down", post(down))
        .with_state(Arc::new(desk));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    fs::remove_file(state_dir.join(SOCKET)).ok();
    served
}

async fn status(State(desk): State<Arc<Desk>>) -> Json<BenchStatus> {
    let snapshot = desk.status.current();
    let overview = desk.overview.borrow().clone();
    Json(BenchStatus {
        exporter: desk.exporter.clone(),
        pid: process::id(),
        status: snapshot.status.to_string(),
        message: snapshot.message,
        since: snapshot.since,
        lease: overview.lease.map(|lease| LeaseStatus { name: lease.name, client: lease.client }),
        quarantine: overview.quarantine,
        failures: overview.failures,
    })
}

async fn reload(State(desk): State<Arc<Desk>>) -> Response {
    match desk.reloads.reload().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(StatusCode::UNPROCESSABLE_ENTITY, error),
    }
}

async fn release(State(desk): State<Arc<Desk>>) -> Response {
    if desk.overview.borrow().quarantine.is_none() {
        let error = format!("{} is not in quarantine", desk.exporter);
        return refused(StatusCode::CONFLICT, error);
    }
    desk.lease.reinstate();
    StatusCode::NO_CONTENT.into_response()
}

async fn down(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.shutdown.down.cancel();
    StatusCode::ACCEPTED
}

fn refused(code: StatusCode, error: String) -> Response {
    (code, Json(Refusal { error })).into_response()
}
