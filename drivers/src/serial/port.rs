//! An open port that several streams share.
//!
//! No task stands between the device and its streams. Whichever stream waits for bytes reads them
//! itself and puts them into the queue of each, its own included; with a single stream that is a
//! plain read.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::device::{Device, is_gone};
use crate::stream::CHUNK;
use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// How far a stream may fall behind the others, in bytes, before it is given up.
const BACKLOG: usize = 1 << 20;

/// A port and its streams; the device is closed when the last of them is dropped.
#[derive(Debug)]
pub(super) struct Port {
    name: String,
    state: Mutex<State>,
    /// Cancelled when the state is no longer open.
    ended: CancellationToken,
    readers: Mutex<Readers>,
}

#[derive(Debug)]
enum State {
    Open(Arc<Device>),
    /// Closed on purpose.
    Closed,
    /// The device went away; the text says how.
    Lost(String),
}

/// Who listens, and what each has not heard yet.
#[derive(Debug)]
struct Readers {
    queues: Vec<Arc<Queue>>,
    buffer: BytesMut,
}

#[derive(Debug, Default)]
struct Queue {
    unheard: Mutex<Unheard>,
    filled: Notify,
}

#[derive(Debug)]
enum Unheard {
    /// Chunks, and how long they are together, in bytes.
    Chunks(VecDeque<Bytes>, usize),
    /// There were too many to keep.
    Overrun,
}

impl Default for Unheard {
    fn default() -> Self {
        Self::Chunks(VecDeque::new(), 0)
    }
}

impl Port {
    /// A port without streams.
    pub(super) fn new(name: &str, device: Device) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            state: Mutex::new(State::Open(Arc::new(device))),
            ended: CancellationToken::new(),
            readers: Mutex::new(Readers { queues: Vec::new(), buffer: BytesMut::new() }),
        })
    }

    /// Another stream; it hears what comes from now on.
    pub(super) fn stream(self: &Arc<Self>) -> ByteStream {
        let queue = Arc::new(Queue::default());
        self.lock_readers().queues.push(Arc::clone(&queue));
        ByteStream {
            reader: Box::new(Reader { port: Arc::clone(self), queue }),
            writer: Box::new(Writer { port: Arc::clone(self) }),
        }
    }

    /// The device, unless the port has ended.
    pub(super) fn device(&self) -> Option<Arc<Device>> {
        match &*self.lock_state() {
            State::Open(device) => Some(Arc::clone(device)),
            State::Closed | State::Lost(_) => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.device().is_some()
    }

    /// Closes the device; the streams end once they have been read to the end.
    pub(super) fn close(&self) {
        self.end(State::Closed);
    }

    /// Leaves the open state, if it is still in it, and with it the device: a device that was
    /// unplugged only gets its name back when nobody has it open any more.
    fn end(&self, end: State) {
        let mut state = self.lock_state();
        if matches!(*state, State::Open(_)) {
            if let State::Lost(how) = &end {
                tracing::warn!("{how}");
            }
            let device = std::mem::replace(&mut *state, end);
            drop(state);
            drop(device);
            self.ended.cancel();
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

    /// What reading gives after the end.
    fn last_word(&self) -> Result<Option<Bytes>> {
        match &*self.lock_state() {
            State::Open(_) | State::Closed => Ok(None),
            State::Lost(how) => Err(DriverError::Disconnected(how.clone())),
        }
    }

    /// What writing gives after the end.
    fn gone(&self) -> DriverError {
        DriverError::Disconnected(match &*self.lock_state() {
            State::Open(_) | State::Closed => format!("{} was closed", self.name),
            State::Lost(how) => how.clone(),
        })
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("because nothing panics while it holds the state")
    }

    fn lock_readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().expect("because nothing panics while it holds the readers")
    }
}

impl Readers {
    /// Reads once and puts what came into every queue, and wakes whoever waits for it, except for
    /// the reader that does this. Returns how many bytes came; 0 means that the device hung up.
    fn hear(&mut self, device: BorrowedFd<'_>, own: &Arc<Queue>) -> nix::Result<usize> {
        if self.buffer.len() < CHUNK / 4 {
            self.buffer = BytesMut::zeroed(CHUNK);
        }
        let length = nix::unistd::read(device, &mut self.buffer)?;
        if length > 0 {
            let chunk = self.buffer.split_to(length).freeze();
            for queue in &self.queues {
                queue.lock().push(chunk.clone());
                if !Arc::ptr_eq(queue, own) {
                    queue.filled.notify_one();
                }
            }
        }
        Ok(length)
    }
}

impl Unheard {
    fn push(&mut self, chunk: Bytes) {
        if let Self::Chunks(chunks, length) = self {
            *length += chunk.len();
            chunks.push_back(chunk);
            if *length > BACKLOG {
                *self = Self::Overrun;
            }
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().expect("because nothing panics while it holds a queue")
    }
}

struct Reader {
    port: Arc<Port>,
    queue: Arc<Queue>,
}

impl Reader {
    /// The next chunk that was read, by whomever.
    fn heard(&self) -> Result<Option<Bytes>> {
        match &mut *self.queue.lock() {
            Unheard::Chunks(chunks, length) => {
                let chunk = chunks.pop_front();
                *length -= chunk.as_ref().map_or(0, Bytes::len);
                Ok(chunk)
            }
            Unheard::Overrun => Err(DriverError::Disconnected(format!(
                "this stream fell more than {BACKLOG} bytes behind the others of {}",
                self.port.name
            ))),
        }
    }
}

#[async_trait]
impl ChunkReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.heard()? {
                return Ok(Some(chunk));
            }
            let Some(device) = self.port.device() else { return self.port.last_word() };
            let read = tokio::select! {
                biased;
                () = self.port.ended.cancelled() => continue,
                () = self.queue.filled.notified() => continue,
                read = device.when_readable(|fd| self.port.lock_readers().hear(fd, &self.queue)) => read,
            };
            match read {
                Ok(0) => self.port.lose(&io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => self.port.lose(&error),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.port.lock_readers().queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

struct Writer {
    port: Arc<Port>,
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        while !chunk.is_empty() {
            let device = self.port.device().ok_or_else(|| self.port.gone())?;
            let written = tokio::select! {
                biased;
                () = self.port.ended.cancelled() => continue,
                written = device.write(&chunk) => written,
            };
            match written {
                Ok(0) => self.port.lose(&io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => chunk.advance(length),
                Err(error) => self.port.lose(&error),
            }
        }
        Ok(())
    }

    /// Does nothing: a serial line has no end.
    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
