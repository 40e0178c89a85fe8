//! The origin of each block of the new image.

use super::blocks::BlockList;
use crate::digest::Sha256Digest;
use crate::writer::section::BLOCK_LEN;

/// Old blocks of the same content that are looked at to find the one that the longest run begins
/// with.
const CANDIDATES: usize = 16;

/// Blocks that a run is followed for, likewise.
const LOOK_AHEAD: usize = 64;

/// Where a block comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Zeros,
    /// This block of the old image.
    Old(u64),
    /// Nowhere: it is new.
    Fresh,
    /// Wherever it could be had from, it is packed with its neighbours.
    Whole,
}

/// Old blocks by their content.
pub(super) struct Index<'a> {
    old: &'a [Sha256Digest],
    /// Numbers of blocks, by content, then by number.
    sorted: Vec<usize>,
}

impl<'a> Index<'a> {
    pub(super) fn new(old: &'a [Sha256Digest]) -> Self {
        let mut sorted: Vec<usize> = (0..old.len()).collect();
        sorted.sort_unstable_by_key(|&block| (old[block].as_bytes(), block));
        Self { old, sorted }
    }

    /// The origins of all blocks of the new image. Runs go on as long as they can, since each run
    /// costs two extents; then a block at its old place is preferred.
    pub(super) fn origins(&self, new: &[Sha256Digest]) -> Vec<Origin> {
        let zeros = Sha256Digest::of(&[0; BLOCK_LEN]);
        let mut origins = Vec::with_capacity(new.len());
        let mut next = None;
        for (block, digest) in new.iter().enumerate() {
            let old = match next.filter(|&next| self.old.get(next) == Some(digest)) {
                _ if *digest == zeros => None,
                Some(next) => Some(next),
                None => self.best(block, new),
            };
            next = old.map(|old| old + 1);
            origins.push(match old {
                Some(old) => Origin::Old(old as u64),
                None if *digest == zeros => Origin::Zeros,
                None => Origin::Fresh,
            });
        }
        origins
    }

    /// The old block at which the run that begins with this new one is best copied from.
    fn best(&self, block: usize, new: &[Sha256Digest]) -> Option<usize> {
        if self.old.get(block) == Some(&new[block]) {
            return Some(block);
        }
        let digest = new[block].as_bytes();
        let first = self
            .sorted
            .partition_point(|&old| self.old[old].as_bytes() < digest);
        let same = self.sorted[first..]
            .iter()
            .take_while(|&&old| self.old[old].as_bytes() == digest);
        let run = |old: usize| {
            let both = self.old[old..].iter().zip(&new[block..]);
            both.take(LOOK_AHEAD).take_while(|(old, new)| old == new).count()
        };
        let nearest = same.take(CANDIDATES);
        // Of equal runs the first.
        nearest
            .copied()
            .max_by_key(|&old| (run(old), std::cmp::Reverse(old)))
    }
}

/// Blocks that are new, in their order.
pub(super) fn fresh(origins: &[Origin]) -> BlockList {
    let numbered = origins.iter().zip(0..);
    numbered
        .filter(|(origin, _)| **origin == Origin::Fresh)
        .map(|(_, block)| block)
        .collect()
}
