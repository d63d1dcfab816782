//! A console's black box: everything that the port says, whether anybody listens or not.
//!
//! ```text
//! Port ── Listener ──► Tape ──► Ring ──► files      what is recorded, one task
//! exporter ── marks ────┘         ▲
//!                                 └── log ──► j serial log
//! ```
//!
//! The recorder is one more listener of the port, and as little as any other can it hold up the port:
//! what a slow disk makes it miss is counted in the recording. It opens the port when it starts, and
//! again whenever the device has come back, so the port is never free for other programs; they can
//! [borrow](super::loan) it.

mod entry;
mod log;
mod ring;
mod settings;
mod tape;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::log::Since;
pub(super) use self::settings::{Settings, settings};
use self::tape::Tape;
use super::console::Console;
use crate::driver::Items;
use crate::recording::{Mark, Recorder};
use crate::{DriverError, Result};

/// How long the disk may take for what is still on its way there.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// The recorder of one serial port.
#[derive(Debug)]
pub(super) struct Recording {
    console: Arc<Console>,
    settings: Settings,
    running: OnceLock<Running>,
}

#[derive(Debug)]
struct Running {
    directory: PathBuf,
    orders: mpsc::UnboundedSender<Order>,
    /// Counts what was written.
    written: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

/// What the task is told.
#[derive(Debug)]
enum Order {
    Mark(Mark),
    /// To say when all that came before is written.
    Flush(oneshot::Sender<()>),
}

impl Recording {
    pub(super) fn new(console: &Arc<Console>, settings: Settings) -> Self {
        Self { console: Arc::clone(console), settings, running: OnceLock::new() }
    }

    /// What was recorded for the present part, from `since` on; with `follow`, also what comes.
    pub(super) async fn log(&self, since: Since, follow: bool) -> Result<Items> {
        let running = self.running.get().ok_or_else(|| {
            DriverError::Unsupported(format!(
                "{} is not being recorded here: that is done by `hilt run`, in its state directory",
                self.console.target()
            ))
        })?;
        let (done, flushed) = oneshot::channel();
        let ask = async {
            running.orders.send(Order::Flush(done)).ok()?;
            flushed.await.ok()
        };
        match timeout(WRITE_LIMIT, ask).await {
            Ok(Some(())) => {}
            Ok(None) | Err(_) => {
                return Err(DriverError::Timeout(format!(
                    "the recording in {} is not written within {WRITE_LIMIT:?}",
                    running.directory.display()
                )));
            }
        }
        let written = follow.then(|| running.written.clone());
        log::items(running.directory.clone(), since, written).await
    }
}

impl Recorder for Recording {
    fn start(&self, directory: PathBuf) {
        self.running.get_or_init(|| {
            let (orders, ordered) = mpsc::unbounded_channel();
            let (writes, written) = watch::channel(0);
            let tape = Tape::new(directory.clone(), self.settings.size, writes);
            let recording = tape::record(Arc::clone(&self.console), tape, ordered);
            let task = AbortOnDropHandle::new(self.console.tasks().spawn(recording));
            self.console.keep_open();
            Running { directory, orders, written, _task: task }
        });
    }

    fn mark(&self, mark: Mark) {
        if let Some(running) = self.running.get() {
            // The task ends with this driver only.
            running.orders.send(Order::Mark(mark)).ok();
        }
    }
}
