//! An image on its way to a device: decompressed, written, synced, and read back.

use std::sync::Arc;
use std::time::Duration;

use super::super::chunk::{self, Chunk};
use super::bmap::{Bmap, Checker};
use super::device::Device;
use super::plan::Plan;
use super::progress::{Phase, Progress};
use super::verify::verify;
use super::writers::{Piece, Writers};
use crate::storage::copy::decompressed;
use crate::stream::Source;
use crate::{DriverError, Result, blocking};

/// How long the device may take to store what its own cache holds. The reference's limit.
const SYNC_LIMIT: Duration = Duration::from_secs(900);

/// How an image is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Read it back.
    pub(super) verify: bool,
    /// Pass over zeros.
    pub(super) skip_zeros: bool,
    /// Decompress it if it begins like compressed data.
    pub(super) decompress: bool,
}

/// Writes an image to the start of a device. Returns once it is on it: stored, and, if `settings`
/// say so, read back.
///
/// # Errors
///
/// The first thing that went wrong. What is on the device is then undefined.
pub(super) async fn flash(
    device: &Arc<Device>,
    source: Source,
    bmap: Option<Bmap>,
    settings: Settings,
) -> Result<()> {
    if let Some(bmap) = bmap.as_ref().filter(|bmap| bmap.image_size > device.size()) {
        return Err(too_large(device, &format!("has {} bytes", bmap.image_size)));
    }
    let source = if settings.decompress { decompressed(source).await? } else { source };
    let total = bmap.as_ref().map(|bmap| bmap.image_size);
    let plan = Plan { bmap, skip_zeros: settings.skip_zeros };
    let checker = plan.bmap.as_ref().map(Bmap::checker);
    let mut transfer = Transfer {
        writers: Writers::start(device, settings.verify),
        source,
        checker,
        progress: Progress::begin(Phase::Write, total),
        position: 0,
    };
    transfer.run(device, &plan).await?;
    let Transfer { writers, progress, .. } = transfer;
    let written = writers.finish().await?;
    let syncing = Arc::clone(device);
    let sync = move || syncing.sync().map_err(|error| syncing.failed("store all of", error));
    blocking::run(&format!("sync {}", device.path()), SYNC_LIMIT, sync).await?;
    progress.end();
    if settings.verify {
        verify(device, written).await?;
    }
    Ok(())
}

/// The way from a client to the writers.
struct Transfer<'p> {
    source: Source,
    checker: Option<Checker<'p>>,
    writers: Writers,
    progress: Progress,
    /// How much of the image has come, in bytes.
    position: u64,
}

impl Transfer<'_> {
    /// Hands all of the image to the writers.
    async fn run(&mut self, device: &Device, plan: &Plan) -> Result<()> {
        loop {
            let mut chunk = self.writers.chunk().await?;
            self.receive(&mut chunk).await?;
            let (data, offset) = (chunk.data(), self.position);
            self.position += data.len() as u64;
            if self.position > device.size() {
                return Err(too_large(device, "has more"));
            }
            if let Some(checker) = &mut self.checker {
                checker.add(data)?;
            }
            self.progress.add(data.len() as u64);
            let (extents, last) = (plan.extents(offset, data), !chunk.is_full());
            self.writers.write(Piece { chunk, offset, extents }).await;
            if last {
                break;
            }
        }
        if self.position == 0 {
            return Err(DriverError::InvalidArgument("the image is empty".into()));
        }
        self.checker.as_ref().map_or(Ok(()), Checker::end)
    }

    async fn receive(&mut self, chunk: &mut Chunk) -> Result<()> {
        tokio::select! {
            biased;
            received = chunk.receive(&mut self.source) => received.map_err(chunk::receive_error),
            // The source may be slow to send more.
            error = self.writers.failure() => Err(error),
        }
    }
}

fn too_large(device: &Device, how: &str) -> DriverError {
    DriverError::InvalidArgument(format!(
        "the image does not fit on {}: the device has {} bytes, and the image {how}",
        device.path(),
        device.size()
    ))
}
