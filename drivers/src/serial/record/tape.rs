//! The recorder's task: listens to the port, and writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Order;
use super::entry::{Content, Entry};
use super::ring::Ring;
use crate::recording::Mark;
use crate::serial::console::Console;
use crate::serial::port::{Listener, Said, State};
use crate::serial::presence;
use crate::serial::url::Target;
use crate::{DriverError, blocking};

/// What comes within this time becomes one entry, with the time of its beginning.
const MOMENT: Duration = Duration::from_millis(20);

/// An entry has no more data than this, in bytes.
const ENTRY: usize = 4 << 10;

/// How long the disk may take for one entry.
const DISK_LIMIT: Duration = Duration::from_secs(60);

/// How often a device that can't be opened is tried again, at first and at last, if nothing else
/// says that it is there.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// Where entries go.
#[derive(Debug)]
pub(super) struct Tape {
    directory: PathBuf,
    size: u64,
    /// None until it is opened, and while it is being written.
    ring: Option<Ring>,
    /// Data that could not be written, in bytes.
    lost: u64,
    writes: watch::Sender<u64>,
}

impl Tape {
    pub(super) fn new(directory: PathBuf, size: u64, writes: watch::Sender<u64>) -> Self {
        Self { directory, size, ring: None, lost: 0, writes }
    }

    async fn note(&mut self, text: String) {
        self.add(Content::Mark(Mark::Note(text))).await;
    }

    /// Writes an entry. One that can't be written is lost, and counted in the next that can.
    async fn add(&mut self, content: Content) {
        let length = match &content {
            Content::Data(data) => data.len() as u64,
            Content::Mark(_) => 0,
        };
        let mut entries = Vec::new();
        if self.lost > 0 {
            let text = format!("{} bytes could not be recorded here", self.lost);
            entries.push(Entry::now(Content::Mark(Mark::Note(text))));
        }
        entries.push(Entry::now(content));
        let (ring, directory, size) = (self.ring.take(), self.directory.clone(), self.size);
        let what = format!("record in {}", directory.display());
        let context = what.clone();
        let written = blocking::run(&what, DISK_LIMIT, move || {
            let write = || {
                let mut ring = match ring {
                    Some(ring) => ring,
                    None => Ring::open(&directory, size)?,
                };
                for entry in &entries {
                    ring.append(entry)?;
                }
                Ok(ring)
            };
            write().map_err(|error| DriverError::io(context, error))
        });
        match written.await {
            Ok(ring) => {
                self.ring = Some(ring);
                self.lost = 0;
                self.writes.send_modify(|writes| *writes += 1);
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::warn!("{error}; what the console says is lost until it can be");
                }
                self.lost += length.max(1);
            }
        }
    }
}

/// What was heard and is not written yet.
#[derive(Debug, Default)]
struct Gathered {
    data: BytesMut,
    /// When it is to be written.
    due: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, chunk: &[u8]) {
        self.data.extend_from_slice(chunk);
        self.due.get_or_insert_with(|| Instant::now() + MOMENT);
    }

    async fn write(&mut self, tape: &mut Tape) {
        self.due = None;
        for piece in self.data.split().chunks(ENTRY) {
            tape.add(Content::Data(piece.to_vec())).await;
        }
    }
}

/// Records for as long as the driver lives.
pub(super) async fn record(
    console: Arc<Console>,
    mut tape: Tape,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    loop {
        let mut listener = tokio::select! {
            biased;
            Some(order) = orders.recv() => {
                obey(order, &mut tape).await;
                continue;
            }
            listener = reach(&console) => listener,
        };
        tape.note(format!("{} is open", console.target())).await;
        let how = listen(&mut listener, &mut tape, &mut orders).await;
        tape.note(how).await;
    }
}

async fn obey(order: Order, tape: &mut Tape) {
    match order {
        Order::Mark(mark) => tape.add(Content::Mark(mark)).await,
        // Whoever asked may have given up.
        Order::Flush(done) => drop(oneshot::Sender::send(done, ())),
    }
}

/// Opens the port as soon as that can be done.
async fn reach(console: &Console) -> Listener {
    let [mut wait, longest] = RETRY;
    let mut told = false;
    loop {
        // Watching comes first, so that no change falls between the attempt and the wait.
        let change = match console.target() {
            Target::Device(path) => presence::Change::watch(path).await.ok(),
            Target::Socket(_) | Target::Rfc2217(_) | Target::Loop => None,
        };
        match console.port(Duration::ZERO).await {
            Ok(port) => return port.listen(),
            Err(error) if !told => {
                tracing::warn!("can't record yet: {error}");
                told = true;
            }
            Err(_) => {}
        }
        let changed = async {
            match change {
                Some(change) => change.happens().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => wait = RETRY[0],
            () = sleep(wait) => wait = (wait * 2).min(longest),
        }
    }
}

/// Records until the port has ended; says how it did.
async fn listen(
    listener: &mut Listener,
    tape: &mut Tape,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> String {
    let mut gathered = Gathered::default();
    let mut states = listener.states();
    loop {
        let due = async {
            match gathered.due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A mark stands before what the device says because of it.
            biased;
            Some(order) = orders.recv() => {
                gathered.write(tape).await;
                obey(order, tape).await;
            }
            () = due => gathered.write(tape).await,
            said = listener.next() => match said {
                Said::Chunk(chunk) => {
                    gathered.add(&chunk);
                    if gathered.data.len() >= ENTRY {
                        gathered.write(tape).await;
                    }
                }
                Said::Missed(count) => {
                    gathered.write(tape).await;
                    tape.note(format!("{count} bytes are missing here: the disk was too slow")).await;
                }
                Said::Over => {
                    gathered.write(tape).await;
                    break;
                }
            },
            // The port lives as long as its listener.
            _ = states.changed() => {
                let state = states.borrow_and_update().clone();
                gathered.write(tape).await;
                match state {
                    State::Lent => tape.note("lent to another program".into()).await,
                    State::Open(_) => tape.note("given back by the other program".into()).await,
                    State::Closed | State::Lost(_) => {}
                }
            }
        }
    }
    let end = states.borrow().clone();
    match end {
        State::Lost(how) => how,
        State::Open(_) | State::Lent | State::Closed => "closed".into(),
    }
}
