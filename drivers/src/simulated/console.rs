//! The console of a simulated board.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, mpsc};

use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// How many chunks may wait for a slow listener, and how many for the firmware.
const OUTPUT: usize = 1024;
const INPUT: usize = 64;

/// The wires between the firmware and whoever is connected.
#[derive(Debug)]
pub(super) struct Console {
    output: broadcast::Sender<Bytes>,
    typed: mpsc::Sender<Bytes>,
    /// Only the running firmware reads it.
    input: Mutex<mpsc::Receiver<Bytes>>,
}

impl Default for Console {
    fn default() -> Self {
        let (typed, input) = mpsc::channel(INPUT);
        Self { output: broadcast::Sender::new(OUTPUT), typed, input: Mutex::new(input) }
    }
}

impl Console {
    /// A stream that hears everything from now on, as a serial adapter would.
    pub(super) fn connect(&self) -> ByteStream {
        ByteStream {
            reader: Box::new(Reader(self.output.subscribe())),
            writer: Box::new(Writer(self.typed.clone())),
        }
    }

    /// Writes from the firmware. Without a listener it is lost.
    pub(super) fn print(&self, text: &str) {
        self.output.send(Bytes::copy_from_slice(text.as_bytes())).ok();
    }

    /// What was typed next.
    pub(super) async fn read(&self) -> Bytes {
        let next = self.input.lock().await.recv().await;
        // The sender is in this very value.
        next.expect("because the console is open for as long as it can be read")
    }

    /// Forgets what was typed while nobody was there to read it.
    pub(super) async fn discard(&self) {
        let mut input = self.input.lock().await;
        while input.try_recv().is_ok() {}
    }
}

struct Reader(broadcast::Receiver<Bytes>);

#[async_trait]
impl ChunkReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        match self.0.recv().await {
            Ok(chunk) => Ok(Some(chunk)),
            Err(RecvError::Closed) => Ok(None),
            Err(RecvError::Lagged(_)) => {
                Err(DriverError::Disconnected("the console was not read fast enough".into()))
            }
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
