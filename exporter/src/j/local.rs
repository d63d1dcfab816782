//! This end of a transfer.
//!
//! Reading blocks, so it has a thread of its own, and a few chunks of slack towards the thread that
//! speaks to the exporter, in bounded memory.

use std::io::{self, Read as _};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task;

use super::error::{Error, Result};

/// How many chunks reading and the wire may be apart.
const SLACK: usize = 4;

/// Chunks in order. Ends after the last or after an error.
pub(crate) type Chunks = mpsc::Receiver<Result<Bytes>>;

/// Whatever comes in on stdin, at most `size` bytes at once and without waiting for more.
pub(crate) fn stdin(size: usize) -> Chunks {
    let mut buffer = vec![0; size];
    chunks(move || {
        let read = io::stdin().lock().read(&mut buffer);
        let read = read.map_err(|error| Error::local("reading stdin", error))?;
        Ok(Bytes::copy_from_slice(&buffer[..read]))
    })
}

/// Calls `read` on a thread of its own until it returns nothing or an error, or nobody wants the
/// chunks.
fn chunks(mut read: impl FnMut() -> Result<Bytes> + Send + 'static) -> Chunks {
    let (tx, rx) = mpsc::channel(SLACK);
    task::spawn_blocking(move || {
        loop {
            let chunk = read();
            if matches!(&chunk, Ok(chunk) if chunk.is_empty()) {
                break;
            }
            let failed = chunk.is_err();
            if tx.blocking_send(chunk).is_err() || failed {
                break;
            }
        }
    });
    rx
}
