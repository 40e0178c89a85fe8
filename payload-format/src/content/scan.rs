//! The content of an image, found by reading it: first that of files, file by file, then all other
//! blocks that are not zero, in their order.
//!
//! ```text
//!  btrfs ─▶ extents of files, in order ─▶ zstd: decoded ─┐
//!   │                                     plain: blocks ─┼─▶ one unit per file ─┐
//!   └─ anything else: no extents                         │                      ├─▶ content
//!  all blocks that no extent has ─▶ those not zero ──────┴─▶ one unit ──────────┘
//! ```
//!
//! The generator finds the content of the new image so, and a node that of its old one: what is in
//! both is cut alike. Nothing that is found is trusted: a node takes a chunk by its hash.

use std::io;

use zstd::bulk::Decompressor;

use super::btrfs::{self, FileExtent, MAX_COMPRESSED};
use super::encoder::decode_btrfs_zstd;
use super::tables::{BLOCK, BLOCK_LEN, ContentTables};
use crate::apply::ReadBlocks;
use crate::block::BlockRange;

/// Blocks that are read at a time, which a segment has at most.
const RUN: u64 = ContentTables::MAX_SEGMENT as u64 / BLOCK;

/// Bytes of an image that is looked into for files, at most: one bit of memory for each block.
const MAX_IMAGE: u64 = 1 << 40;

/// A piece of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundPiece<'a> {
    /// The blocks that it was found in.
    pub(crate) blocks: BlockRange,
    /// These blocks, with zeros past the image's end.
    pub(crate) stored: &'a [u8],
    /// What they hold: other bytes than these if they are compressed.
    pub(crate) decoded: Option<&'a [u8]>,
    /// It doesn't go on where the one before ended: chunks end there.
    pub(crate) begins_unit: bool,
}

impl FoundPiece<'_> {
    pub(crate) fn content(&self) -> &[u8] {
        self.decoded.unwrap_or(self.stored)
    }
}

/// Hands out the content of the first `len` bytes of `image`, piece by piece, in order; but for what
/// lies in the blocks `without`.
///
/// # Errors
/// The image's, and those of `take`.
pub(crate) fn scan<E: From<io::Error>>(
    image: &dyn ReadBlocks,
    len: u64,
    without: Option<BlockRange>,
    take: &mut dyn FnMut(FoundPiece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let blocks = len.div_ceil(BLOCK);
    let mut extents = Vec::new();
    if len <= MAX_IMAGE {
        btrfs::file_extents(image, len, &mut |extent| {
            if extents.len() < ContentTables::MAX_ENTRIES {
                extents.push(extent);
            }
        })?;
    }
    let reader = BlockReader { image, len };
    let is_empty = extents.is_empty() && without.is_none();
    let mut seen = BlockSet::new(if is_empty {
        0
    } else {
        blocks.min(MAX_IMAGE / BLOCK)
    });
    without.map(|without| seen.insert(without));
    let mut zstd = Decompressor::new()?;
    let mut begins_file = false;
    for extent in extents {
        begins_file |= extent.begins_file;
        // What several files share, or claim, is the content of the first. If that is how a file
        // begins, it begins with its next extent.
        if seen.insert(extent.blocks) {
            let extent = FileExtent {
                begins_file: std::mem::take(&mut begins_file),
                ..extent
            };
            file_extent(&reader, extent, &mut zstd, take)?;
        }
    }
    others(&reader, &seen, blocks, take)
}

fn file_extent<E: From<io::Error>>(
    reader: &BlockReader<'_>,
    extent: FileExtent,
    zstd: &mut Decompressor<'_>,
    take: &mut dyn FnMut(FoundPiece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut begins_unit = extent.begins_file;
    for blocks in split(extent.blocks) {
        let stored = reader.read(blocks)?;
        let limit = usize::try_from(MAX_COMPRESSED).unwrap_or(0);
        let decoded = Some(&stored).filter(|_| extent.is_zstd);
        // One that doesn't unpack is content as it is.
        let decoded = decoded.and_then(|stored| decode_btrfs_zstd(zstd, stored, limit).ok());
        let decoded = decoded.filter(|decoded| !decoded.is_empty());
        take(FoundPiece {
            blocks,
            stored: &stored,
            decoded: decoded.as_deref(),
            begins_unit,
        })?;
        begins_unit = false;
    }
    Ok(())
}

/// Blocks that no extent has.
fn others<E: From<io::Error>>(
    reader: &BlockReader<'_>,
    seen: &BlockSet,
    blocks: u64,
    take: &mut dyn FnMut(FoundPiece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut begins_unit, mut start) = (true, 0);
    while start < blocks {
        let Some(run) = BlockRange::new(start, blocks.min(start + RUN)) else {
            return Ok(());
        };
        start = run.end();
        if seen.has_all(run) {
            continue;
        }
        let bytes = reader.read(run)?;
        let (all, _) = bytes.as_chunks::<BLOCK_LEN>();
        let mut at = 0;
        while at < all.len() {
            let is_other = |at: usize| {
                let block = run.start() + at as u64;
                all.get(at)
                    .is_some_and(|bytes| !seen.has(block) && bytes.iter().any(|byte| *byte != 0))
            };
            let end = (at..all.len()).find(|at| !is_other(*at)).unwrap_or(all.len());
            let range = BlockRange::new(run.start() + at as u64, run.start() + end as u64);
            if let Some(blocks) = range {
                take(FoundPiece {
                    blocks,
                    stored: &bytes[at * BLOCK_LEN..end * BLOCK_LEN],
                    decoded: None,
                    begins_unit: std::mem::take(&mut begins_unit),
                })?;
            }
            at = end + 1;
        }
    }
    Ok(())
}

/// Parts of a range, as long as a segment may be.
fn split(range: BlockRange) -> impl Iterator<Item = BlockRange> {
    let starts = (0..range.count().div_ceil(RUN)).map(move |part| range.start() + part * RUN);
    starts.filter_map(move |start| BlockRange::new(start, range.end().min(start + RUN)))
}

/// An image that is read by blocks.
pub(super) struct BlockReader<'a> {
    pub(super) image: &'a dyn ReadBlocks,
    /// Length of the image, in bytes.
    pub(super) len: u64,
}

impl BlockReader<'_> {
    /// These blocks, at most [`RUN`], with zeros past the image's end.
    pub(super) fn read(&self, range: BlockRange) -> io::Result<Vec<u8>> {
        let start = range.start() * BLOCK;
        let len = |bytes: u64| usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory);
        let mut bytes = vec![0; len(range.count() * BLOCK)?];
        let inside = len(self.len.saturating_sub(start).min(range.count() * BLOCK))?;
        if inside > 0 {
            self.image.read_at(&mut bytes[..inside], start)?;
        }
        Ok(bytes)
    }
}

/// A set of blocks: a bit for each.
struct BlockSet {
    bits: Vec<u64>,
}

impl BlockSet {
    /// For blocks below `blocks`; others are never in it.
    fn new(blocks: u64) -> Self {
        // Invariant: at most 2^40 / 4096 / 64 words.
        let words = usize::try_from(blocks.div_ceil(64)).unwrap_or(0);
        Self { bits: vec![0; words] }
    }

    /// Adds a range of which no block is in the set; false if one is. Takes a step for each 64
    /// blocks: half a million extents of a hostile image may claim all of it, again and again.
    fn insert(&mut self, range: BlockRange) -> bool {
        let word_of = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let is_free = |(word, mask)| self.bits.get(word_of(word)).is_none_or(|bits| bits & mask == 0);
        if !masks(range).all(is_free) {
            return false;
        }
        for (word, mask) in masks(range) {
            if let Some(bits) = self.bits.get_mut(word_of(word)) {
                *bits |= mask;
            }
        }
        true
    }

    fn has(&self, block: u64) -> bool {
        self.bits
            .get(Self::word(block))
            .is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    fn has_all(&self, range: BlockRange) -> bool {
        (range.start()..range.end()).all(|block| self.has(block))
    }

    fn word(block: u64) -> usize {
        usize::try_from(block / 64).unwrap_or(usize::MAX)
    }
}

/// The words that have bits of a range, by number, with these bits.
fn masks(range: BlockRange) -> impl Iterator<Item = (u64, u64)> {
    (range.start() / 64..range.end().div_ceil(64)).map(move |word| {
        let first = range.start().saturating_sub(word * 64);
        let unused = (word * 64 + 64).saturating_sub(range.end());
        (word, u64::MAX << first & u64::MAX >> unused)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_is_added_where_no_block_of_it_is_in_the_set(
            ranges in prop::collection::vec((0_u64..300, 1_u64..150), 1..20),
        ) {
            let (mut set, mut model) = (BlockSet::new(300), BTreeSet::new());
            for (start, count) in ranges {
                let range = BlockRange::new(start, (start + count).min(300)).unwrap();
                let blocks: BTreeSet<u64> = (range.start()..range.end()).collect();
                let is_free = model.is_disjoint(&blocks);
                prop_assert_eq!(set.insert(range), is_free);
                model.extend(blocks.into_iter().filter(|_| is_free));
                prop_assert!((0..300).all(|block| set.has(block) == model.contains(&block)));
            }
        }
    }

    /// Each claims all of 4 GiB, of which only the last block is another's: block by block that
    /// takes many minutes.
    #[test]
    fn extents_that_claim_all_of_the_image_cost_little() {
        let blocks = 1 << 20;
        let mut set = BlockSet::new(blocks);
        assert!(set.insert(BlockRange::new(blocks - 1, blocks).unwrap()));
        for start in 0..1 << 14 {
            assert!(!set.insert(BlockRange::new(start, blocks).unwrap()));
        }
    }
}
