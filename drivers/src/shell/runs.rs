//! Every script that a driver has started, and their end.

use std::sync::{Mutex, MutexGuard};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::process::Family;
use super::run::{End, Run, Script};
use crate::Result;
use crate::driver::Items;

/// The scripts of a driver. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<Going>);

/// A script that was started.
pub(crate) struct Started {
    /// What it has to say: standard output, standard error, and its return code in the last item.
    /// The script ends when this is dropped.
    pub(crate) items: Items,
    /// How it ended; then nothing of it is left.
    pub(crate) end: JoinHandle<End>,
}

/// What was started since the last [`Runs::end`].
#[derive(Debug)]
struct Going {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Stops the runs also when nobody ends them.
    _stop_on_drop: DropGuard,
    ids: Vec<Uuid>,
}

impl Default for Going {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            ids: Vec::new(),
        }
    }
}

/// How many items wait for a slow client before the script has to.
const ITEMS: usize = 8;

impl Runs {
    /// Starts a script.
    pub(crate) fn start(&self, script: Script) -> Result<Started> {
        tracing::info!("running {}", script.method);
        let run = Run::start(script)?;
        let (items, mut received) = mpsc::channel(ITEMS);
        let mut going = self.lock();
        going.ids.push(run.id());
        let end = going.tracker.spawn(run.finish(items, going.stop.clone()));
        let items = stream::poll_fn(move |context| received.poll_recv(context)).boxed();
        Ok(Started { items, end })
    }

    /// Ends every script, and what earlier ones have left running.
    pub(crate) async fn end(&self) {
        let going = std::mem::take(&mut *self.lock());
        going.stop.cancel();
        going.tracker.close();
        going.tracker.wait().await;
        if !going.ids.is_empty() {
            Family::left_behind(going.ids).end().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Going> {
        self.0.lock().expect("because nothing panics while it holds the runs")
    }
}
