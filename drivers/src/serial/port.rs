//! An open port that several streams share.
//!
//! One task, the keeper, reads what the device says for as long as anybody listens, and puts it into
//! the queue of each stream. Nobody who listens slowly holds up the device or another stream: a
//! queue that is full takes no more, and its stream ends with the number of bytes that it missed.
//!
//! One stream at a time writes: see [`turn`](super::turn).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::device::{Device, is_gone};
use super::queue::{Heard, Queue};
use super::turn::{Turn, Turns};
use crate::stream::CHUNK;
use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// A port and its streams; the device is closed when the last of them is dropped.
#[derive(Debug)]
pub(super) struct Port {
    shared: Arc<Shared>,
    _keeper: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: watch::Sender<State>,
    queues: Mutex<Vec<Arc<Queue>>>,
    /// Somebody has begun to listen.
    joined: Notify,
    turns: Turns,
}

/// What has become of the device.
#[derive(Debug, Clone)]
pub(super) enum State {
    Open(Arc<Device>),
    /// Another program has it for a while. Streams wait.
    Lent,
    /// Closed on purpose.
    Closed,
    /// It went away; the text says how.
    Lost(String),
}

impl State {
    fn is_over(&self) -> bool {
        match self {
            Self::Open(_) | Self::Lent => false,
            Self::Closed | Self::Lost(_) => true,
        }
    }
}

impl Port {
    /// A port without streams.
    pub(super) fn new(name: &str, state: State, tasks: &TaskTracker) -> Arc<Self> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            state: watch::Sender::new(state),
            queues: Mutex::default(),
            joined: Notify::new(),
            turns: Turns::default(),
        });
        let keeper = AbortOnDropHandle::new(tasks.spawn(keep(Arc::clone(&shared))));
        Arc::new(Self { shared, _keeper: keeper })
    }

    /// Another stream; it hears what comes from now on, and ends with `session` at the latest.
    pub(super) fn stream(self: &Arc<Self>, session: CancellationToken) -> ByteStream {
        let writer = Writer {
            port: Arc::clone(self),
            turn: self.shared.turns.stream(),
            states: self.states(),
            session: session.clone(),
        };
        let reader = Reader { listener: self.listen(), session };
        ByteStream { reader: Box::new(reader), writer: Box::new(writer) }
    }

    /// Hears what comes from now on.
    pub(super) fn listen(self: &Arc<Self>) -> Listener {
        let queue = Arc::new(Queue::default());
        self.shared.lock_queues().push(Arc::clone(&queue));
        self.shared.joined.notify_one();
        Listener { port: Arc::clone(self), queue, states: self.states() }
    }

    /// What becomes of the device.
    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Who writes.
    pub(super) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// The device, unless the port has ended or is lent.
    pub(super) fn device(&self) -> Option<Arc<Device>> {
        match &*self.shared.state.borrow() {
            State::Open(device) => Some(Arc::clone(device)),
            State::Lent | State::Closed | State::Lost(_) => None,
        }
    }

    /// Whether streams can be had.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.state.borrow().is_over()
    }

    /// Closes the device for another program's sake. False if it is not open.
    pub(super) fn lend(&self) -> bool {
        self.shared.change(State::Lent, |state| matches!(state, State::Open(_)))
    }

    /// Goes on with a device that was lent.
    pub(super) fn resume(&self, device: Device) {
        let resumed = State::Open(Arc::new(device));
        self.shared.change(resumed, |state| matches!(state, State::Lent));
    }

    /// Closes the device; the streams end once they have been read to the end.
    pub(super) fn close(&self) {
        self.shared.end(State::Closed);
    }

    /// Ends the port because its device is gone.
    pub(super) fn lose(&self, how: String) {
        self.shared.end(State::Lost(how));
    }
}

/// Reads what the device says, until the port has ended.
async fn keep(shared: Arc<Shared>) {
    let mut states = shared.state.subscribe();
    let mut buffer = BytesMut::new();
    loop {
        let device = match &*states.borrow_and_update() {
            State::Open(device) => Some(Arc::clone(device)),
            State::Lent => None,
            State::Closed | State::Lost(_) => return,
        };
        tokio::select! {
            biased;
            // The state outlives this task.
            _ = states.changed() => {}
            () = shared.read(device, &mut buffer) => {}
        }
    }
}

impl Shared {
    /// Reads from the device for as long as it is there; without one, waits for the next state.
    async fn read(&self, device: Option<Arc<Device>>, buffer: &mut BytesMut) {
        let Some(device) = device else { return std::future::pending().await };
        loop {
            // What nobody listens to stays where it is, for whoever comes next.
            while self.lock_queues().is_empty() {
                self.joined.notified().await;
            }
            if buffer.len() < CHUNK / 4 {
                *buffer = BytesMut::zeroed(CHUNK);
            }
            match device.when_readable(|fd| nix::unistd::read(fd, buffer)).await {
                Ok(0) => return self.lose(&io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    let chunk = buffer.split_to(length).freeze();
                    for queue in &*self.lock_queues() {
                        queue.push(chunk.clone());
                    }
                }
                Err(error) => self.lose(&error),
            }
        }
    }

    /// Ends the port because of an error, except for one that passes by itself.
    fn lose(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::Interrupted {
            return;
        }
        let how = if error.kind() == io::ErrorKind::UnexpectedEof || is_gone(error) {
            format!("{} was disconnected", self.name)
        } else {
            format!("{} failed: {error}", self.name)
        };
        self.end(State::Lost(how));
    }

    /// Leaves the open or lent state, if it is still in it, and with it the device: a device that
    /// was unplugged only gets its name back when nobody has it open any more.
    fn end(&self, end: State) {
        let how = if let State::Lost(how) = &end { Some(how.clone()) } else { None };
        if self.change(end, |state| !state.is_over())
            && let Some(how) = how
        {
            tracing::warn!("{how}");
        }
    }

    fn change(&self, to: State, from: impl FnOnce(&State) -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let changes = from(state);
            if changes {
                *state = to;
            }
            changes
        })
    }

    /// What reading gives after the end.
    fn last_word(&self) -> Result<Option<Bytes>> {
        match &*self.state.borrow() {
            State::Open(_) | State::Lent | State::Closed => Ok(None),
            State::Lost(how) => Err(DriverError::Disconnected(how.clone())),
        }
    }

    /// What writing gives after the end.
    fn gone(&self) -> DriverError {
        DriverError::Disconnected(match &*self.state.borrow() {
            State::Open(_) | State::Lent | State::Closed => format!("{} was closed", self.name),
            State::Lost(how) => how.clone(),
        })
    }

    fn lock_queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.queues.lock().expect("because nothing panics while it holds the queues")
    }
}

/// One who hears all that a port says.
#[derive(Debug)]
pub(super) struct Listener {
    port: Arc<Port>,
    queue: Arc<Queue>,
    states: watch::Receiver<State>,
}

/// What there is to hear.
#[derive(Debug)]
pub(super) enum Said {
    /// By the device.
    Chunk(Bytes),
    /// By the device, and too fast: so many bytes are missing here.
    Missed(u64),
    /// Nothing any more: see the port's state.
    Over,
}

impl Listener {
    /// The next that there is. Cancel safe.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            // What was said before the end is in the queue by then.
            let is_over = self.states.borrow_and_update().is_over();
            match self.queue.pop() {
                Heard::Chunk(chunk) => return Said::Chunk(chunk),
                Heard::Missed(count) => return Said::Missed(count),
                Heard::Nothing if is_over => return Said::Over,
                Heard::Nothing => {}
            }
            tokio::select! {
                () = self.queue.filled() => {}
                // The port outlives its listeners.
                _ = self.states.changed() => {}
            }
        }
    }

    /// What becomes of the device, from the last that this has heard of it.
    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.port.shared.lock_queues().retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

struct Reader {
    listener: Listener,
    session: CancellationToken,
}

#[async_trait]
impl ChunkReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let said = tokio::select! {
            biased;
            said = self.listener.next() => said,
            () = self.session.cancelled() => return Ok(None),
        };
        match said {
            Said::Chunk(chunk) => Ok(Some(chunk)),
            Said::Missed(count) => Err(DriverError::Disconnected(format!(
                "this stream was read too slowly: it missed {count} bytes of {} here",
                self.listener.port.shared.name
            ))),
            Said::Over => self.listener.port.shared.last_word(),
        }
    }
}

struct Writer {
    port: Arc<Port>,
    turn: Turn,
    states: watch::Receiver<State>,
    session: CancellationToken,
}

impl Writer {
    /// The device, once it is there.
    async fn device(&mut self) -> Result<Arc<Device>> {
        let shared = &self.port.shared;
        loop {
            match &*self.states.borrow_and_update() {
                State::Open(device) => return Ok(Arc::clone(device)),
                State::Lent => {}
                State::Closed | State::Lost(_) => return Err(shared.gone()),
            }
            tokio::select! {
                () = self.session.cancelled() => return Err(shared.gone()),
                // The port outlives its streams.
                _ = self.states.changed() => {}
            }
        }
    }
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            if self.session.is_cancelled() {
                return Err(self.port.shared.gone());
            }
            self.port.shared.turns.take(&mut self.turn, &self.port.shared.name)?;
            let device = self.device().await?;
            let written = tokio::select! {
                biased;
                () = self.session.cancelled() => return Err(self.port.shared.gone()),
                _ = self.states.changed() => continue,
                written = device.write(&chunk) => written,
            };
            match written {
                Ok(0) => self.port.shared.lose(&io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => chunk.advance(length),
                Err(error) => self.port.shared.lose(&error),
            }
        }
        Ok(())
    }

    /// A serial line has no end, but somebody else may write now.
    async fn finish(&mut self) -> Result<()> {
        self.port.shared.turns.leave(&mut self.turn);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.port.shared.turns.leave(&mut self.turn);
    }
}
