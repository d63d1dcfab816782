//! A board that is on: QEMU, and the exporter's connections to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::command::Sockets;
use super::process::Process;
use super::qmp::Qmp;
use crate::console::Console;
use crate::{DriverError, Result};

/// How long QEMU may take to make its connections.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long QEMU may take to write everything to the disk and end.
const QUIT_LIMIT: Duration = Duration::from_secs(10);

/// A board that is on, or that has switched itself off. Dropping it takes the power away.
#[derive(Debug)]
pub(super) struct Running {
    process: Process,
    qmp: Qmp,
    pub(super) sockets: Sockets,
    /// Ends the transport of what the board says and hears.
    _wires: DropGuard,
    /// Where the sockets are.
    _folder: TempDir,
}

/// QEMU's command line, and what it is about.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) sockets: Sockets,
    /// Where the sockets are to be.
    pub(super) folder: TempDir,
    /// What `block_resize` is to be called with, if it is.
    pub(super) resize: Option<Value>,
}

impl Running {
    /// Starts QEMU, and the board once nothing of what it says can be lost.
    ///
    /// # Errors
    ///
    /// Why QEMU has ended, in its own words, or that it does nothing.
    pub(super) async fn start(launch: Launch, console: &Arc<Console>) -> Result<Self> {
        let Launch { program, arguments, sockets, folder, resize } = launch;
        tracing::debug!("{} {arguments:?}", program.display());
        let listeners = (listen(&sockets.qmp)?, listen(&sockets.console)?);
        let process = Process::start(&program, arguments, folder.path().join("output")).await?;
        let begun = tokio::select! {
            biased;
            begun = timeout(START_LIMIT, begin(listeners, resize, console)) => {
                begun.unwrap_or_else(|_| {
                    Err(DriverError::Timeout(format!("QEMU did not start within {START_LIMIT:?}")))
                })
            }
            () = process.end() => Err(process.last_words()),
        };
        let (qmp, wires) = match begun {
            Ok(begun) => begun,
            // It says why it has hung up.
            Err(DriverError::Disconnected(_)) => {
                timeout(QUIT_LIMIT, process.end()).await.ok();
                return Err(process.last_words());
            }
            Err(error) => return Err(error),
        };
        Ok(Self { process, qmp, sockets, _wires: wires, _folder: folder })
    }

    /// Whether it is still on.
    pub(super) async fn is_on(&self) -> Result<bool> {
        if self.process.has_ended() {
            return Ok(false);
        }
        match self.qmp.execute("query-status", json!({})).await {
            Ok(status) => {
                tracing::debug!("QEMU is {}", status["status"]);
                Ok(true)
            }
            // It has just switched itself off.
            Err(DriverError::Disconnected(_)) => {
                let ended = timeout(QUIT_LIMIT, self.process.end()).await;
                ended.map_err(|_| {
                    DriverError::Timeout("QEMU has hung up, but does not end".into())
                })?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the power away. Returns when nothing runs any more.
    pub(super) async fn stop(self) -> Result<()> {
        // What the board has written is on the disk when QEMU has ended by itself.
        let quit = async {
            self.qmp.execute("quit", json!({})).await.ok();
            self.process.end().await;
        };
        if timeout(QUIT_LIMIT, quit).await.is_ok() {
            return Ok(());
        }
        tracing::warn!("QEMU does not end, and is killed");
        self.process.kill();
        let killed = timeout(QUIT_LIMIT, self.process.end()).await;
        killed.map_err(|_| DriverError::Timeout("QEMU can't be killed".into()))
    }
}

/// Lets the board go on once QEMU has made its connections.
async fn begin(
    (qmp, serial): (UnixListener, UnixListener),
    resize: Option<Value>,
    console: &Arc<Console>,
) -> Result<(Qmp, DropGuard)> {
    let accepted = tokio::try_join!(qmp.accept(), serial.accept());
    let ((qmp, _), (serial, _)) =
        accepted.map_err(|error| DriverError::io("wait for QEMU", error))?;
    let qmp = Qmp::greet(qmp).await?;
    if let Some(resize) = resize {
        qmp.execute("block_resize", resize).await?;
    }
    console.discard().await;
    let wires = wires(serial, console);
    qmp.execute("cont", json!({})).await?;
    Ok((qmp, wires))
}

fn listen(path: &Path) -> Result<UnixListener> {
    let failed = |error| DriverError::io(format!("listen on {}", path.display()), error);
    UnixListener::bind(path).map_err(failed)
}

/// Carries what the board says and hears, until it is off.
fn wires(board: UnixStream, console: &Arc<Console>) -> DropGuard {
    let (console, off) = (Arc::clone(console), CancellationToken::new());
    let is_off = off.clone();
    let carry = async move {
        let (mut said, mut heard) = board.into_split();
        let out = async {
            let mut buffer = BytesMut::with_capacity(1 << 16);
            while said.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
                console.print(&buffer);
                buffer.clear();
            }
        };
        let typed = async { while heard.write_all(&console.read().await).await.is_ok() {} };
        let both = async {
            tokio::select! {
                () = out => {}
                () = typed => {}
            }
        };
        is_off.run_until_cancelled(both).await;
    };
    tokio::runtime::Handle::current().spawn(carry);
    off.drop_guard()
}
