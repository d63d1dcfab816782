//! Whether a device has what was written to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::chunk::{ALIGNMENT, Chunk};
use super::device::Device;
use super::progress::{Phase, Progress};
use super::writers::{STALL, Written, fingerprint};
use crate::{DriverError, Result, blocking};

/// How many reads are under way at a time. A fourth still makes an SSD faster.
const READERS: usize = 4;

/// Reads back what was written, and compares.
///
/// # Errors
///
/// The first place that can't be read, or is not as it was written. By then, or if it is dropped,
/// the readers are about to end.
pub(super) async fn verify(device: &Arc<Device>, written: Vec<Written>) -> Result<()> {
    let total = written.iter().map(|written| written.bytes.end - written.bytes.start).sum();
    let mut progress = Progress::begin(Phase::Verify, Some(total));
    let count = written.len();
    let written: Arc<[_]> = written.into();
    let next = Arc::new(AtomicUsize::new(0));
    let (compared, mut results) = mpsc::channel(READERS);
    for _ in 0..READERS {
        let (device, written) = (Arc::clone(device), Arc::clone(&written));
        let (next, compared) = (Arc::clone(&next), compared.clone());
        // It says by `compared` how each went, and ends when nobody asks.
        drop(blocking::start("read a device back", move || {
            let mut chunk = Chunk::new();
            while let Some(written) = written.get(next.fetch_add(1, Ordering::Relaxed)) {
                if compared.blocking_send(compare(&device, &mut chunk, written)).is_err() {
                    break;
                }
            }
            Ok(())
        }));
    }
    drop(compared);
    for _ in 0..count {
        let stalled =
            || DriverError::Timeout(format!("verify {}: no data for {STALL:?}", device.path()));
        let result = timeout(STALL, results.recv()).await.map_err(|_| stalled())?;
        progress.add(result.ok_or_else(stalled)??);
    }
    progress.end();
    Ok(())
}

/// Returns how many bytes were compared.
fn compare(device: &Device, chunk: &mut Chunk, written: &Written) -> Result<u64> {
    let (start, count) = (written.bytes.start, written.bytes.end - written.bytes.start);
    let length = usize::try_from(count).expect("because it was written from a chunk");
    let memory = &mut chunk.memory()[..length.next_multiple_of(ALIGNMENT)];
    let read = device
        .read(memory, start)
        .map_err(|error| device.failed(&format!("read back at byte {start} of"), error))?;
    if read >= length && fingerprint(&memory[..length]) == written.digest {
        return Ok(count);
    }
    Err(DriverError::Device(format!(
        "{} is not as it was written: bytes {start} to {} read back differently; it is worn out, \
         smaller than it says, or was written by someone else, too",
        device.path(),
        written.bytes.end
    )))
}
