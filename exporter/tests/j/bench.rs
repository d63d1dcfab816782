//! An exporter that is not there: drivers that note what they are asked, and a `j` to ask them.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use exporter::wire::StreamResponse;
use exporter::wire::exporter_service_server::ExporterServiceServer;
use exporter::wire::router_service_server::RouterServiceServer;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;
use tonic::transport::Server;

use crate::service::Service;

/// A running exporter, and what `j` did to it.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) state: Arc<State>,
    _server: JoinSet<()>,
}

/// What the drivers know and what they are to do.
#[derive(Default)]
pub(crate) struct State {
    /// `driver.method` of every call, in order, as far as it has begun.
    calls: watch::Sender<Vec<String>>,
    /// How many requests of each kind there were.
    pub(crate) requests: Mutex<HashMap<&'static str, usize>>,
    /// The methods that fail.
    refusals: Mutex<HashMap<&'static str, Status>>,
    /// The arguments of the last call of each method.
    pub(crate) args: Mutex<HashMap<String, Vec<serde_json::Value>>>,
    /// What was uploaded last.
    pub(crate) upload: watch::Sender<Upload>,
    /// The tasks that receive uploads.
    pub(crate) receivers: Mutex<JoinSet<()>>,
    /// What is downloaded next.
    pub(crate) download: Mutex<Vec<Bytes>>,
    /// A download breaks off after the last chunk.
    pub(crate) breaks_off: Mutex<bool>,
    /// The passphrase of the last request.
    pub(crate) passphrase: Mutex<Option<String>>,
    /// Streams that wait for a driver.
    pub(crate) resources: Mutex<HashMap<String, Answer>>,
}

/// An upload as the exporter saw it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Upload {
    pub(crate) encoding: Option<String>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) largest_frame: usize,
    pub(crate) end: Option<End>,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// The client has said that this was all.
    Complete,
    /// The client is gone, or has given up.
    CutOff,
}

/// The exporter's answer to a lent file.
pub(crate) type Answer = mpsc::Sender<Result<StreamResponse, Status>>;

impl Bench {
    /// Starts an exporter on a Unix socket.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(State::default());
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let service = Service(Arc::clone(&state));
        let mut server = JoinSet::new();
        server.spawn(async {
            Server::builder()
                .add_service(ExporterServiceServer::new(service.clone()))
                .add_service(RouterServiceServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self { directory, state, _server: server }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// A `j` with these words, in the bench's directory.
    pub(crate) fn j(&self, line: &str) -> Command {
        let mut command = j(self.directory.path(), line);
        command.env("JUMPSTARTER_HOST", self.path("socket"));
        command
    }

    /// Runs `j` to its end.
    pub(crate) async fn run(&self, line: &str) -> Output {
        self.j(line).output().await.unwrap()
    }

    /// Runs `j` to its end with something to read.
    pub(crate) async fn run_with(&self, line: &str, stdin: &[u8]) -> Output {
        let mut child = self.j(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin).await.unwrap();
        drop(pipe);
        child.wait_with_output().await.unwrap()
    }

    /// The calls so far, as `driver.method`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.calls.borrow().clone()
    }

    /// Waits until `driver.method` is called.
    pub(crate) async fn called(&self, call: &str) {
        let mut calls = self.state.calls.subscribe();
        calls.wait_for(|calls| calls.iter().any(|it| it == call)).await.unwrap();
    }

    /// From now on, `method` fails.
    pub(crate) fn refuse(&self, method: &'static str, status: Status) {
        lock(&self.state.refusals).insert(method, status);
    }
}

impl State {
    pub(crate) fn note(&self, call: String, args: Vec<serde_json::Value>) {
        lock(&self.args).insert(call.clone(), args);
        self.calls.send_modify(|calls| calls.push(call));
    }

    pub(crate) fn count(&self, kind: &'static str, request: &tonic::metadata::MetadataMap) {
        *lock(&self.requests).entry(kind).or_default() += 1;
        let passphrase = request.get("x-jumpstarter-passphrase");
        *lock(&self.passphrase) = passphrase.map(|it| it.to_str().unwrap().to_owned());
    }

    pub(crate) fn refusal(&self, method: &str) -> Result<(), Status> {
        lock(&self.refusals).get(method).map_or(Ok(()), |status| Err(status.clone()))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// A `j` that knows of no exporter.
pub(crate) fn j(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_j"));
    command
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Sends a signal to a `j`.
pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = child.id().unwrap().try_into().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// What `j` printed, and its exit code.
pub(crate) fn said(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
