//! What is at the start of a storage for as long as only a part of an image is on it.
//!
//! A flash can end at any time, with the exporter, the host or the power. So the start of the image,
//! where boards look for a partition table and a boot loader, comes last, and until then this is in
//! its place: the DUT does not start a system of which half is missing, and whoever sees the storage
//! next, be it another exporter, knows what has happened. Nothing has to be remembered elsewhere.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::super::chunk::{ALIGNMENT, Chunk};

/// How a storage begins that is half written.
const TEXT: &[u8] = b"HILT: only a part of an image was written here; write it again.\n";

/// Whether a marker can take the place of the start of an image, of which these parts are written:
/// where nothing is written afterwards, it would stay.
pub(super) fn fits(extents: &[Range<usize>]) -> bool {
    extents.first().is_some_and(|first| first.start == 0 && first.end >= TEXT.len())
}

/// Fills the start of a chunk with the marker, and the rest with zeros.
pub(super) fn mark(chunk: &mut Chunk) {
    let memory = chunk.memory();
    memory.fill(0);
    memory[..TEXT.len()].copy_from_slice(TEXT);
}

/// Whether the storage is half written. Blocks.
pub(super) fn is_marked(storage: &File) -> bool {
    let mut start = [0; ALIGNMENT];
    // One that can't be read says so to whoever uses it.
    storage.read_at(&mut start, 0).is_ok() && start.starts_with(TEXT)
}
