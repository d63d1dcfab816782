//! Several writes to a device at a time.
//!
//! A device works on one write while the next is on its way, so each chunk goes to whichever of a
//! few threads is free. The chunks come back to be filled again, with the digest of what was written
//! or with the error.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use super::super::chunk::Chunk;
use super::super::lock;
use super::device::Device;
use crate::{DriverError, Result, blocking};

/// How many writes are under way at a time. A second keeps a card busy, a third an SSD.
const WRITERS: usize = 3;

/// How many chunks go round: one with each writer, as many waiting for them, one that is being
/// filled, and the first, which is written last.
const CHUNKS: usize = 2 * WRITERS + 2;

/// How long a device may take for a chunk. A worn-out card takes seconds now and then.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// The threads that write to a device. Dropped, they write at most what they were given.
pub(super) struct Writers {
    filled: Sender<Piece>,
    done: Receiver<Result<Done>>,
    idle: Vec<Chunk>,
    /// How many chunks the threads have.
    busy: usize,
    written: Vec<Written>,
    path: String,
}

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Where on the device.
    pub(super) bytes: Range<u64>,
    pub(super) digest: Fingerprint,
}

/// Tells that data is not the same, by chance alone once in 2^128.
///
/// It compares what a device was given with what it gives back. A worn-out card, one that is smaller
/// than it says, and another writer make mistakes but don't make them to deceive, so there is no need
/// for a cryptographic sum, which takes longer than the device. Where the image comes from is another
/// question: that is for the SHA-256 of its block map, or of whoever sends it.
pub(super) type Fingerprint = u128;

/// The fingerprint of these bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// A chunk that is to be written.
pub(super) struct Piece {
    pub(super) chunk: Chunk,
    /// Where on the device the chunk begins.
    pub(super) offset: u64,
    /// What of the chunk is written.
    pub(super) extents: Vec<Range<usize>>,
}

/// A chunk that was written.
struct Done {
    chunk: Chunk,
    written: Vec<Written>,
}

impl Writers {
    /// Starts the threads.
    pub(super) fn start(device: &Arc<Device>, digest: bool) -> Self {
        let (filled, pieces) = mpsc::channel(CHUNKS);
        let (finished, done) = mpsc::channel(CHUNKS);
        let pieces = Arc::new(Mutex::new(pieces));
        for _ in 0..WRITERS {
            let thread = Thread {
                device: Arc::clone(device),
                pieces: Arc::clone(&pieces),
                done: finished.clone(),
                digest,
            };
            // It ends when there are no more pieces, and says by `done` how each went.
            drop(blocking::start("write to a device", move || {
                thread.run();
                Ok(())
            }));
        }
        let idle = std::iter::repeat_with(Chunk::new).take(CHUNKS).collect();
        let path = device.path().to_string();
        Self { filled, done, idle, busy: 0, written: Vec::new(), path }
    }

    /// An empty chunk.
    ///
    /// # Errors
    ///
    /// A write has failed, or takes too long.
    pub(super) async fn chunk(&mut self) -> Result<Chunk> {
        loop {
            if let Some(chunk) = self.idle.pop() {
                return Ok(chunk);
            }
            self.one_done().await?;
        }
    }

    /// Hands over a chunk.
    pub(super) async fn write(&mut self, piece: Piece) {
        self.busy += 1;
        // There is room for all chunks; the threads end first only if they have panicked, and then
        // the chunk never comes back, which is noticed.
        self.filled.send(piece).await.ok();
    }

    /// Waits until a write fails.
    pub(super) async fn failure(&mut self) -> DriverError {
        while self.busy > 0 {
            if let Err(error) = self.one_done().await {
                return error;
            }
        }
        pending().await
    }

    /// Waits until everything is written that was handed over.
    ///
    /// # Errors
    ///
    /// A write has failed, or takes too long.
    pub(super) async fn settle(&mut self) -> Result<()> {
        while self.busy > 0 {
            self.one_done().await?;
        }
        Ok(())
    }

    /// Waits until everything is written. Returns what was, in order, if digests were asked for.
    ///
    /// # Errors
    ///
    /// A write has failed, or takes too long.
    pub(super) async fn finish(mut self) -> Result<Vec<Written>> {
        self.settle().await?;
        self.written.sort_unstable_by_key(|written| written.bytes.start);
        Ok(self.written)
    }

    /// Cancel safe.
    async fn one_done(&mut self) -> Result<()> {
        let stalled =
            || DriverError::Timeout(format!("write {}: it takes no data for {STALL:?}", self.path));
        let done = timeout(STALL, self.done.recv()).await.map_err(|_| stalled())?;
        let Done { chunk, mut written } = done.ok_or_else(stalled)??;
        self.busy -= 1;
        self.written.append(&mut written);
        self.idle.push(chunk.emptied());
        Ok(())
    }
}

struct Thread {
    device: Arc<Device>,
    pieces: Arc<Mutex<Receiver<Piece>>>,
    done: Sender<Result<Done>>,
    digest: bool,
}

impl Thread {
    fn run(&self) {
        while let Some(piece) = self.next() {
            let done = self.write(piece);
            let failed = done.is_err();
            if self.done.blocking_send(done).is_err() || failed {
                break;
            }
        }
    }

    /// One thread waits for the next piece, and the others for their turn to do so. Nobody waits for
    /// one that is writing.
    fn next(&self) -> Option<Piece> {
        lock(&self.pieces).blocking_recv()
    }

    fn write(&self, piece: Piece) -> Result<Done> {
        let Piece { chunk, offset, extents } = piece;
        let mut written = Vec::new();
        for extent in extents {
            let data = &chunk.data()[extent.clone()];
            let start = offset + extent.start as u64;
            self.device
                .write(data, start)
                .map_err(|error| self.device.failed(&format!("write at byte {start} of"), error))?;
            if self.digest {
                let bytes = start..offset + extent.end as u64;
                written.push(Written { bytes, digest: fingerprint(data) });
            }
        }
        Ok(Done { chunk, written })
    }
}
