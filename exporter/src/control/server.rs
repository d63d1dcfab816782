//! The exporter's side.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::{BenchStatus, LeaseStatus, Refusal, SOCKET, socket_in};
use crate::lease::actor::LeaseHandle;
use crate::lease::overview::Overview;
use crate::lease::status;
use crate::reload::Reloads;
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
    /// Where it is told to read its configuration again.
    pub reloads: Reloads,
    /// How it is told to go.
    pub shutdown: Shutdown,
}

/// Answers at the socket in a state directory for as long as it is polled; then the socket is gone.
///
/// # Errors
///
/// Why there can be no socket.
pub async fn serve(state_dir: &Path, desk: Desk) -> io::Result<()> {
    let directory = File::open(state_dir)?;
    let path = socket_in(&directory);
    // One that is left belongs to nobody: the directory is locked for this process.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    let _unlinked = Unlinked(state_dir.join(SOCKET));
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/release", post(release))
        .route("/v1/down", post(down))
        .with_state(Arc::new(desk));
    axum::serve(listener, router).await
}

/// Removes a socket when nobody answers there any more.
struct Unlinked(PathBuf);

impl Drop for Unlinked {
    fn drop(&mut self) {
        // One that stays harms nobody: the next process removes it.
        fs::remove_file(&self.0).ok();
    }
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
