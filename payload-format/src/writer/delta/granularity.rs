//! The granularity of a delta: how finely it follows what moved.
//!
//! Each run of blocks that is copied or patched takes extents in the manifest, of which nodes read
//! so many. Images that share single blocks in another order take more than that. Then the parts of
//! the image that take the most are packed whole instead: the delta grows by them, and can be read.

use super::origin::Origin;
use super::task::UNPACKED;

/// How many extents a chunk of [`UNPACKED`] blocks, and the source of one patch, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granularity(usize);

impl Granularity {
    /// From the finest, which makes the smallest deltas, to one that packs everything whole.
    pub(super) const ALL: [Self; 5] = [Self(usize::MAX), Self(128), Self(16), Self(2), Self(0)];

    /// Whether the source of a patch may be in so many pieces.
    pub(super) const fn allows(self, extents: usize) -> bool {
        extents <= self.0
    }

    /// Has those chunks packed whole that would take too many extents.
    pub(super) fn coarsen(self, origins: &mut [Origin]) {
        if self == Self::ALL[0] {
            return;
        }
        let chunk = usize::try_from(UNPACKED).unwrap_or(usize::MAX);
        for chunk in origins.chunks_mut(chunk) {
            if !self.allows(extents(chunk)) {
                chunk.fill(Origin::Whole);
            }
        }
    }
}

/// Extents for these blocks: one for each run of the same kind, and one for each run of a source.
fn extents(origins: &[Origin]) -> usize {
    let mut last = None;
    let mut extents = 0;
    for origin in origins {
        let goes_on = match (last, *origin) {
            (Some(Origin::Old(last)), Origin::Old(old)) => last + 1 == old,
            (last, origin) => last == Some(origin),
        };
        if !goes_on {
            extents += if matches!(origin, Origin::Zeros) { 1 } else { 2 };
        }
        last = Some(*origin);
    }
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_extents_and_lonely_blocks_take_most() {
        use Origin::{Fresh, Old, Zeros};
        assert_eq!(extents(&[Old(1), Old(2), Old(3), Zeros, Zeros, Fresh]), 5);
        assert_eq!(extents(&[Old(3), Old(1), Old(2)]), 4);
    }

    #[test]
    fn only_chunks_that_take_too_much_are_packed_whole() {
        let len = usize::try_from(UNPACKED).unwrap();
        let moved = (0..UNPACKED).map(Origin::Old);
        let shuffled = (0..UNPACKED).map(|block| Origin::Old(block ^ 1));
        let fine: Vec<_> = moved.chain(shuffled).collect();
        let mut origins = fine.clone();
        Granularity::ALL[0].coarsen(&mut origins);
        assert_eq!(origins, fine);
        Granularity::ALL[1].coarsen(&mut origins);
        assert_eq!(origins[..len], fine[..len]);
        assert!(origins[len..].iter().all(|origin| *origin == Origin::Whole));
        Granularity::ALL[4].coarsen(&mut origins);
        assert!(origins.iter().all(|origin| *origin == Origin::Whole));
    }
}
