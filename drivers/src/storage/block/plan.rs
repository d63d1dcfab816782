//! Which parts of an image are written, and which are passed over.

use std::ops::Range;

use super::super::chunk::CHUNK;
use super::bmap::Bmap;

/// What is written or passed over as a whole, in bytes. With less, an image with many small holes
/// would be written in many small pieces, which takes longer than writing the holes.
const BLOCK: usize = 64 * 1024;

/// A whole number of blocks makes a chunk, so that none is cut by a chunk's end.
const _: () = assert!(CHUNK.is_multiple_of(BLOCK));

/// What is passed over.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What the map says that it is not data.
    pub(super) bmap: Option<Bmap>,
    /// Blocks of zeros.
    pub(super) skip_zeros: bool,
}

impl Plan {
    /// The parts of a chunk that are written. `offset` is where in the image it begins.
    pub(super) fn extents(&self, offset: u64, data: &[u8]) -> Vec<Range<usize>> {
        let mut extents: Vec<Range<usize>> = Vec::new();
        for start in (0..data.len()).step_by(BLOCK) {
            let block = start..data.len().min(start + BLOCK);
            let place = offset + block.start as u64..offset + block.end as u64;
            let is_data = self.bmap.as_ref().is_none_or(|bmap| bmap.has_data(&place));
            if !is_data || self.skip_zeros && is_zero(&data[block.clone()]) {
                continue;
            }
            match extents.last_mut() {
                Some(last) if last.end == block.start => last.end = block.end,
                Some(_) | None => extents.push(block),
            }
        }
        extents
    }
}

fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    // Comparing memory is many times faster than looking at each byte.
    *block == ZEROS[..block.len()]
}

#[cfg(test)]
mod tests {
    use super::super::bmap::tests::bmap_of;
    use super::*;

    /// Where each extent begins and ends.
    fn extents(plan: &Plan, offset: usize, data: &[u8]) -> Vec<(usize, usize)> {
        let extents = plan.extents(offset as u64, data).into_iter();
        extents.map(|extent| (extent.start, extent.end)).collect()
    }

    #[test]
    fn everything_is_written_by_default() {
        let plan = Plan::default();
        assert_eq!(extents(&plan, 0, &[0; 3 * BLOCK + 1]), [(0, 3 * BLOCK + 1)]);
        assert_eq!(extents(&plan, 0, &[]), []);
    }

    #[test]
    fn blocks_of_zeros_are_passed_over_if_asked_for() {
        let plan = Plan { skip_zeros: true, ..Plan::default() };
        let mut data = vec![0; 6 * BLOCK + 7];
        data[BLOCK] = 1;
        data[3 * BLOCK - 1] = 1;
        data[6 * BLOCK + 6] = 1;
        let written = [(BLOCK, 3 * BLOCK), (6 * BLOCK, 6 * BLOCK + 7)];
        assert_eq!(extents(&plan, 0, &data), written);
    }

    #[test]
    fn what_the_map_leaves_out_is_passed_over() {
        let image = vec![7; 8 * BLOCK];
        let blocks = BLOCK / 4096;
        let map =
            bmap_of(&image, &[(1, 1), (4 * blocks, 4 * blocks), (5 * blocks, 6 * blocks - 1)]);
        let plan = Plan { bmap: Some(Bmap::parse(&map).unwrap()), skip_zeros: false };
        let half = 4 * BLOCK;
        assert_eq!(extents(&plan, 0, &image[..half]), [(0, BLOCK)]);
        assert_eq!(extents(&plan, half, &image[half..]), [(0, 2 * BLOCK)]);
    }
}
