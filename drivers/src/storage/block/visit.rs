//! A visit of the storage to the host: it comes, is found to be the right one, is written or read,
//! and goes back to the DUT, whatever happened meanwhile.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::super::copy;
use super::super::cursor::FileCursor;
use super::bmap::Bmap;
use super::device::{Expected, Found, Refused, forget_cached};
use super::flash::{self, Settings};
use super::mux::{Mux, Node, Side};
use crate::stream::{Sink, Source};
use crate::{DriverError, Result, blocking};

/// How long the mux may take to switch.
const SWITCH_LIMIT: Duration = Duration::from_secs(30);

/// How long a device that is there may take to be opened.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How often a device that is not there is looked for. There is no event for a medium in a reader.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a write that is given up may take to end; it is a chunk, or a sync.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// A storage, and all that is needed to use it.
#[derive(Debug)]
pub(super) struct Storage<M> {
    pub(super) mux: M,
    /// Where the device is on the host; if there is none, the mux knows.
    pub(super) device: Option<PathBuf>,
    pub(super) expected: Expected,
    /// How long the device may take to appear on the host.
    pub(super) patience: Duration,
    pub(super) settings: Settings,
    /// Whose turn it is: one thing is done with the storage at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What the storage comes to the host for.
pub(super) enum Purpose {
    Write { image: Source, bmap: Option<Bmap> },
    Read { sink: Sink },
}

impl<M: Mux> Storage<M> {
    /// Only switches. A file system that the host has mounted is not taken from it.
    pub(super) async fn switch(&self, side: Side) -> Result<()> {
        let _turn = self.turn.lock().await;
        match side {
            Side::Host => {}
            Side::Dut | Side::Off => {
                if let Ok(found) = self.look().await {
                    let found = Arc::new(found);
                    self.check_unused(&found).await?;
                    self.warn_if_half_written(found).await;
                }
            }
        }
        self.switch_now(side).await
    }

    /// Looks at the storage if it happens to be on the host, where a flash leaves it that was ended
    /// with the exporter. Switches nothing.
    pub(super) async fn check(&self) {
        let _turn = self.turn.lock().await;
        if let Ok(found) = self.look().await {
            self.warn_if_half_written(Arc::new(found)).await;
        }
    }

    async fn warn_if_half_written(&self, found: Arc<Found>) {
        let look = move || {
            if found.is_half_written() {
                let path = found.path.display();
                tracing::warn!(
                    "only a part of an image is on {path}: the last flash was cut off; the DUT can't \
                     start from it until it is flashed again"
                );
            }
            Ok(())
        };
        if let Err(error) = blocking::run("read the storage", OPEN_LIMIT, look).await {
            tracing::debug!("{error}");
        }
    }

    /// A whole visit. Cancelled, it goes on to where the storage is with the DUT again.
    pub(super) async fn visit(&self, purpose: Purpose, cancelled: CancellationToken) -> Result<()> {
        let _turn = self.turn.lock().await;
        if cancelled.is_cancelled() {
            return Err(given_up());
        }
        let open = TaskTracker::new();
        let mut found = None;
        let visited = match self.switch_now(Side::Host).await {
            Ok(()) => tokio::select! {
                biased;
                done = self.use_there(purpose, &mut found, &open) => done,
                () = cancelled.cancelled() => Err(given_up()),
            },
            Err(error) => Err(error),
        };
        // The storage must be idle when it moves.
        open.close();
        if timeout(CLOSE_LIMIT, open.wait()).await.is_err() {
            tracing::warn!("the storage is still busy; it moves all the same");
        }
        let unused = match &found {
            Some(found) => self.check_unused(found).await,
            None => Ok(()),
        };
        let returned = match unused {
            Ok(()) => self.switch_now(Side::Dut).await,
            Err(error) => Err(error),
        };
        // Until now it was locked: udev, which looks at what was written, has to wait.
        blocking::discard(found);
        outcome(visited, returned)
    }

    async fn use_there(
        &self,
        purpose: Purpose,
        found: &mut Option<Arc<Found>>,
        open: &TaskTracker,
    ) -> Result<()> {
        let there = found.insert(Arc::new(self.appeared().await?));
        self.warn_if_half_written(Arc::clone(there)).await;
        let name = there.path.display().to_string();
        match purpose {
            Purpose::Write { image, bmap } => {
                let (expected, there) = (self.expected.clone(), Arc::clone(there));
                let token = open.token();
                let open = move || expected.open(&there, token).map(Arc::new);
                let device = blocking::run(&format!("open {name}"), OPEN_LIMIT, open).await?;
                flash::flash(&device, image, bmap, self.settings).await
            }
            Purpose::Read { mut sink } => {
                let failed = |error| DriverError::io(format!("read {name}"), error);
                let file = there.file.try_clone().map_err(failed)?;
                forget_cached(&file);
                let origin = Origin { file: FileCursor::new(file), _open: open.token() };
                let (_, bytes) = copy::read(origin, &mut sink, &name).await?;
                tracing::info!(bytes, "storage read");
                sink.shutdown().await.map_err(|error| DriverError::io("send the data", error))
            }
        }
    }

    /// Waits for the device, with a medium in it.
    async fn appeared(&self) -> Result<Found> {
        let deadline = Instant::now() + self.patience;
        let mut told = false;
        loop {
            let error = match self.look().await {
                Ok(found) => return Ok(found),
                Err(Refused::For(error)) => return Err(error),
                Err(Refused::NotYet(error)) => error,
            };
            if Instant::now() >= deadline {
                if matches!(error, DriverError::Busy(_)) {
                    return Err(error);
                }
                let patience = self.patience;
                let message =
                    format!("{error}; it has not appeared on the host within {patience:?}");
                return Err(DriverError::Timeout(message));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("waiting up to {:?} for the storage: {error}", self.patience);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks for the device once.
    async fn look(&self) -> Result<Found, Refused> {
        let node = match &self.device {
            Some(path) => Node { path: path.clone(), below: None },
            None => self.mux.node().await.map_err(|error| match error.may_pass() {
                true => Refused::NotYet(error),
                false => Refused::For(error),
            })?,
        };
        let what = format!("open {}", node.path.display());
        let expected = self.expected.clone();
        let look = move || Ok(expected.find(&node));
        blocking::run(&what, OPEN_LIMIT, look).await.map_err(Refused::For)?
    }

    async fn check_unused(&self, found: &Arc<Found>) -> Result<()> {
        let (expected, found) = (self.expected.clone(), Arc::clone(found));
        let what = format!("find out what this host uses {} for", found.path.display());
        blocking::run(&what, OPEN_LIMIT, move || expected.check_unused(&found)).await
    }

    async fn switch_now(&self, side: Side) -> Result<()> {
        match timeout(SWITCH_LIMIT, self.mux.switch(side)).await {
            Ok(result) => result,
            Err(_) => {
                Err(DriverError::Timeout(format!("{side}: the mux took over {SWITCH_LIMIT:?}")))
            }
        }
    }
}

/// A device that is being read.
struct Origin {
    file: FileCursor,
    /// Says when it is closed.
    _open: TaskTrackerToken,
}

impl Read for Origin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// The error of a visit that nobody waits for any more. What is on the storage is undefined.
fn given_up() -> DriverError {
    DriverError::Disconnected("the call was given up".into())
}

/// What a visit has come to, and its way back.
fn outcome(visited: Result<()>, returned: Result<()>) -> Result<()> {
    match (visited, returned) {
        (visited, Ok(())) => visited,
        (Ok(()), Err(error)) => Err(DriverError::Device(format!(
            "all is done, but the storage is not connected to the DUT: {error}"
        ))),
        // What keeps it from being used keeps it on the host, too.
        (Err(first), Err(error)) if first.to_string() == error.to_string() => Err(first),
        (Err(first), Err(error)) => Err(DriverError::Device(format!(
            "{first}; and the storage is not connected to the DUT: {error}"
        ))),
    }
}
