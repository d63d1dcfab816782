//! An image on its way to a device: decompressed, written, synced, and read back. Its start is the
//! last that is written.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::chunk::{self, Chunk};
use super::bmap::{Bmap, Checker};
use super::device::Device;
use super::marker;
use super::plan::Plan;
use super::progress::{Phase, Progress};
use super::verify::verify;
use super::writers::{Piece, STALL, Writers};
use crate::storage::copy::decompressed;
use crate::stream::Source;
use crate::{DriverError, Result, blocking};

/// How an image is written.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Read it back.
    pub verify: bool,
    /// Pass over zeros.
    pub skip_zeros: bool,
    /// Decompress it if it begins like compressed data.
    pub decompress: bool,
    /// How long the device may take to store what its own cache holds.
    pub sync_limit: Duration,
    /// How long the device is left alone after that, for one that says too early that it is done.
    pub leeway: Duration,
}

/// How the sparse images of Android's `fastboot` begin: `ed26ff3a`, in little endian.
const ANDROID_SPARSE: [u8; 4] = [0x3A, 0xFF, 0x26, 0xED];

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
        start: None,
        sync_limit: settings.sync_limit,
    };
    transfer.run(device, &plan).await?;
    let Transfer { mut writers, progress, start, .. } = transfer;
    if let Some(start) = start {
        // What comes before it has to be on the device before it.
        writers.settle().await?;
        sync(device, settings.sync_limit).await?;
        writers.write(start).await;
    }
    let written = writers.finish().await?;
    sync(device, settings.sync_limit).await?;
    progress.end();
    if settings.verify {
        verify(device, written).await?;
    }
    tokio::time::sleep(settings.leeway).await;
    Ok(())
}

/// Writes the marker to where these parts of the start belong.
async fn mark(device: &Arc<Device>, extents: &[Range<usize>], sync_limit: Duration) -> Result<()> {
    let (marked, extents) = (Arc::clone(device), extents.to_vec());
    let mark = move || {
        let mut chunk = Chunk::new();
        marker::mark(&mut chunk);
        extents.into_iter().try_for_each(|extent| {
            let offset = extent.start as u64;
            marked
                .write(&chunk.memory()[extent], offset)
                .map_err(|error| marked.failed(&format!("write at byte {offset} of"), error))
        })
    };
    blocking::run(&format!("write to {}", device.path()), STALL, mark).await?;
    sync(device, sync_limit).await
}

/// Makes sure that all that was written is on the device.
async fn sync(device: &Arc<Device>, limit: Duration) -> Result<()> {
    let syncing = Arc::clone(device);
    let sync = move || syncing.sync().map_err(|error| syncing.failed("store all of", error));
    blocking::run(&format!("sync {}", device.path()), limit, sync).await
}

/// The way from a client to the writers.
struct Transfer<'p> {
    source: Source,
    checker: Option<Checker<'p>>,
    writers: Writers,
    progress: Progress,
    /// How much of the image has come, in bytes.
    position: u64,
    /// The start of the image, for as long as there is a marker in its place.
    start: Option<Piece>,
    sync_limit: Duration,
}

impl Transfer<'_> {
    /// Hands all of the image to the writers, except for its start.
    async fn run(&mut self, device: &Arc<Device>, plan: &Plan) -> Result<()> {
        loop {
            let mut chunk = self.writers.chunk().await?;
            self.receive(&mut chunk).await?;
            let (data, offset) = (chunk.data(), self.position);
            self.position += data.len() as u64;
            if self.position > device.size() {
                return Err(too_large(device, "has more"));
            }
            if offset == 0 && data.starts_with(&ANDROID_SPARSE) {
                return Err(DriverError::InvalidArgument(
                    "the image is an Android sparse image, which has to be unpacked before a board can \
                     start from it: `simg2img IMAGE IMAGE.raw`"
                        .into(),
                ));
            }
            if let Some(checker) = &mut self.checker {
                checker.add(data)?;
            }
            self.progress.add(data.len() as u64);
            let (extents, last) = (plan.extents(offset, data), !chunk.is_full());
            let piece = Piece { chunk, offset, extents };
            if offset == 0 && marker::fits(&piece.extents) {
                mark(device, &piece.extents, self.sync_limit).await?;
                self.start = Some(piece);
            } else {
                self.writers.write(piece).await;
            }
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
