//! The other side: what finds running exporters and asks them.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};

use super::{BenchStatus, Refusal, SOCKET, socket_in};
use crate::tls;

/// How long an exporter may take to answer. A reload waits for every driver to be built.
const PATIENCE: Duration = Duration::from_secs(30);

/// Speaks with one running exporter.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Keeps the path to the socket valid.
    _directory: File,
}

/// Why an exporter did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none.
    #[error("no exporter is running with the state directory {}; see `hilt status`", .0.display())]
    NotRunning(PathBuf),
    /// This user may not ask.
    #[error("no permission to speak with the exporter of {}; ask as its user or as root", .0.display())]
    NoPermission(PathBuf),
    /// It could not be asked.
    #[error("the exporter does not answer")]
    Http(#[from] reqwest::Error),
    /// It won't.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Whether somebody answers for this state directory. What this user may not look at counts, too.
    pub fn is_answered(state_dir: &Path) -> bool {
        match connect(state_dir) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// For the exporter with this state directory.
    ///
    /// # Errors
    ///
    /// That it isn't running, or that it is none of this user's business.
    pub fn new(state_dir: &Path) -> Result<Self, ControlError> {
        let refused = |error: io::Error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                ControlError::NoPermission(state_dir.into())
            } else {
                ControlError::NotRunning(state_dir.into())
            }
        };
        let directory = connect(state_dir).map_err(refused)?;
        let socket = socket_in(&directory);
        // There is no TLS here, but the client wants to know of some.
        tls::install_crypto();
        let http = reqwest::Client::builder().unix_socket(socket).timeout(PATIENCE).build()?;
        Ok(Self { http, _directory: directory })
    }

    /// What the bench is doing, and why.
    pub async fn status(&self) -> Result<BenchStatus, ControlError> {
        Ok(self.ask(Method::GET, "status").await?.json().await?)
    }

    /// Has the configuration read again.
    pub async fn reload(&self) -> Result<(), ControlError> {
        self.ask(Method::POST, "reload").await.map(drop)
    }

    /// Ends a quarantine.
    pub async fn release(&self) -> Result<(), ControlError> {
        self.ask(Method::POST, "release").await.map(drop)
    }

    /// Ends the exporter for good. Returns once it has begun to.
    pub async fn down(&self) -> Result<(), ControlError> {
        self.ask(Method::POST, "down").await.map(drop)
    }

    async fn ask(&self, method: Method, what: &str) -> Result<Response, ControlError> {
        // The host is never looked up: the socket is the way there.
        let url = format!("http://{SOCKET}/v1/{what}");
        let response = self.http.request(method, url).send().await?;
        match response.status() {
            code if code.is_success() => Ok(response),
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(ControlError::Refused(response.json::<Refusal>().await?.error))
            }
            _ => Err(response.error_for_status().map_or_else(ControlError::Http, |response| {
                ControlError::Refused(format!("unexpected answer: {}", response.status()))
            })),
        }
    }
}

/// Tries the socket of a state directory; returns the directory.
fn connect(state_dir: &Path) -> io::Result<File> {
    let directory = File::open(state_dir)?;
    UnixStream::connect(socket_in(&directory))?;
    Ok(directory)
}
