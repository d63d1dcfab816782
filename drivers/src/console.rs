//! The console of a board that runs in this process or below it.
//!
//! It is there whether the board is on or off, as a serial adapter would be: who is connected hears
//! whatever the board says from then on, and a board that is off hears nothing.

use std::fmt;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, Notify, mpsc};

use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// How much may wait for a slow listener, in bytes, before it is given up.
const BACKLOG: usize = 1 << 20;

/// How many chunks may wait for the board.
const INPUT: usize = 64;

/// The wires between a board and whoever is connected.
pub(crate) struct Console {
    listeners: Lock<Vec<Weak<Listener>>>,
    typed: mpsc::Sender<Bytes>,
    /// Only the board that is on reads it.
    input: Mutex<mpsc::Receiver<Bytes>>,
}

/// What one stream has not heard yet.
#[derive(Default)]
struct Listener {
    /// None once there was too much.
    unheard: Lock<Option<BytesMut>>,
    filled: Notify,
}

impl Default for Console {
    fn default() -> Self {
        let (typed, input) = mpsc::channel(INPUT);
        Self { listeners: Lock::default(), typed, input: Mutex::new(input) }
    }
}

impl Console {
    /// A stream that hears everything from now on.
    pub(crate) fn connect(&self) -> ByteStream {
        let listener = Arc::new(Listener::default());
        *lock(&listener.unheard) = Some(BytesMut::new());
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
        ByteStream {
            reader: Box::new(Reader(listener)),
            writer: Box::new(Writer(self.typed.clone())),
        }
    }

    /// What the board says. Without a listener it is lost.
    pub(crate) fn print(&self, said: &[u8]) {
        for listener in lock(&self.listeners).iter().filter_map(Weak::upgrade) {
            let mut unheard = lock(&listener.unheard);
            if let Some(bytes) = &mut *unheard {
                bytes.extend_from_slice(said);
                if bytes.len() > BACKLOG {
                    *unheard = None;
                }
            }
            listener.filled.notify_one();
        }
    }

    /// What was typed next.
    pub(crate) async fn read(&self) -> Bytes {
        let next = self.input.lock().await.recv().await;
        // The sender is in this very value.
        next.expect("because the console is open for as long as it can be read")
    }

    /// Forgets what was typed while nobody was there to read it.
    pub(crate) async fn discard(&self) {
        let mut input = self.input.lock().await;
        while input.try_recv().is_ok() {}
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

struct Reader(Arc<Listener>);

#[async_trait]
impl ChunkReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            match &mut *lock(&self.0.unheard) {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return Ok(Some(bytes.split().freeze())),
                None => {
                    return Err(DriverError::Disconnected(
                        "the console was not read fast enough".into(),
                    ));
                }
            }
            self.0.filled.notified().await;
        }
    }
}

struct Writer(mpsc::Sender<Bytes>);

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        // A board that is off, or busy, does not hear what is sent to it.
        self.0.try_send(chunk).ok();
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Locks a state that changes in single steps, so that it is whole even if a thread has panicked.
fn lock<T>(state: &Lock<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_everything_from_then_on() {
        let console = Console::default();
        console.print(b"lost");
        let mut one = console.connect();
        console.print(b"U-");
        let mut other = console.connect();
        console.print(b"Boot");
        assert_eq!(one.reader.read().await.unwrap().unwrap(), "U-Boot");
        assert_eq!(other.reader.read().await.unwrap().unwrap(), "Boot");
    }

    #[tokio::test]
    async fn whoever_does_not_listen_is_given_up() {
        let console = Console::default();
        let mut slow = console.connect();
        console.print(&vec![b'.'; BACKLOG]);
        assert_eq!(slow.reader.read().await.unwrap().unwrap().len(), BACKLOG);
        console.print(&vec![b'.'; BACKLOG + 1]);
        let error = slow.reader.read().await.unwrap_err();
        assert_eq!(error.to_string(), "the console was not read fast enough");
    }
}
