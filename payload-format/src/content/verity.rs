//! The hash tree of dm-verity behind an image's data: known by its parameters, so it is computed
//! where the image is built and never sent.
//!
//! Format 1 of dm-verity, with SHA-256 and blocks of 4096 bytes: the hash of a block is that of the
//! salt and then the block; a level's hashes lie 128 to a block, filled up with zeros; the level of
//! a single block comes first, and that of the data's hashes last.

use std::io;

use super::TablesError;
use super::scan::BlockReader;
use super::tables::{BLOCK, BLOCK_LEN};
use crate::apply::ReadBlocks;
use crate::block::BlockRange;
use crate::digest::{RunningHash, Sha256Digest};

/// Hashes in a block.
const HASHES: u64 = BLOCK / Sha256Digest::LEN as u64;

/// Blocks that are read at a time.
const RUN: u64 = 256;

/// A hash tree, by what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityTree {
    data_blocks: u64,
    blocks: BlockRange,
    salt: Vec<u8>,
}

impl VerityTree {
    /// Blocks that a tree is of, at most: 4 GiB. Their hashes take 32 bytes of memory each.
    pub const MAX_DATA_BLOCKS: u64 = 1 << 20;

    /// Bytes of a salt, at most.
    pub const MAX_SALT: usize = 256;

    /// The tree of the image's first `data_blocks` blocks, which begins at block `start` behind
    /// them. The image has `image_blocks`.
    ///
    /// # Errors
    /// [`TablesError`]: less than two blocks of data or more than [`Self::MAX_DATA_BLOCKS`], a salt
    /// of more than [`Self::MAX_SALT`] bytes, a tree that lies within its data or past the image's
    /// end.
    pub fn new(data_blocks: u64, start: u64, salt: &[u8], image_blocks: u64) -> Result<Self, TablesError> {
        let range = |field, found, min, max| {
            let error = TablesError::Range {
                field,
                entry: 0,
                found,
                min,
                max,
            };
            (min..=max).contains(&found).then_some(()).ok_or(error)
        };
        range("data_blocks", data_blocks, 2, Self::MAX_DATA_BLOCKS)?;
        range("salt", salt.len() as u64, 0, Self::MAX_SALT as u64)?;
        let len: u64 = levels(data_blocks).sum();
        // Less than nothing where the image is too short: then no start is right.
        let last = image_blocks.saturating_sub(len);
        range("tree_start", start, data_blocks, last)?;
        let blocks = BlockRange::new(start, start + len).ok_or(TablesError::Range {
            field: "tree_start",
            entry: 0,
            found: start,
            min: data_blocks,
            max: BlockRange::MAX_END,
        })?;
        Ok(Self {
            data_blocks,
            blocks,
            salt: salt.to_vec(),
        })
    }

    /// Blocks at the image's beginning that it is the tree of.
    #[must_use]
    pub const fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Where it lies.
    #[must_use]
    pub const fn blocks(&self) -> BlockRange {
        self.blocks
    }

    /// What each block is hashed behind.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }
}

/// Blocks of each level, from the data's hashes up.
fn levels(data_blocks: u64) -> impl Iterator<Item = u64> {
    let first = data_blocks.div_ceil(HASHES);
    std::iter::successors(Some(first), |blocks| {
        (*blocks > 1).then(|| blocks.div_ceil(HASHES))
    })
}

/// Computes a tree while its data is written, in any order.
pub(super) struct TreeBuilder {
    hasher: BlockHasher,
    data_blocks: u64,
    /// The lowest level, filled up to whole blocks.
    hashes: Vec<u8>,
}

impl TreeBuilder {
    /// Of data that is zero where nothing is put.
    pub(super) fn new(tree: &VerityTree) -> Self {
        let block_hasher = BlockHasher::new(&tree.salt);
        let of_zeros = block_hasher.hash(&[0; BLOCK_LEN]);
        // Invariant: at most `VerityTree::MAX_DATA_BLOCKS`.
        let len = usize::try_from(tree.data_blocks).unwrap_or(0);
        let mut hashes = of_zeros.repeat(len);
        hashes.resize(hashes.len().next_multiple_of(BLOCK_LEN), 0);
        Self {
            hasher: block_hasher,
            data_blocks: tree.data_blocks,
            hashes,
        }
    }

    /// What hashes blocks for it: anywhere, for [`Self::put_hashes`].
    pub(super) fn hasher(&self) -> BlockHasher {
        self.hasher.clone()
    }

    /// Takes whole blocks that lie at `offset`; those that are none of the data don't matter.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let (blocks, _) = bytes.as_chunks::<BLOCK_LEN>();
        let hashes: Vec<_> = blocks.iter().map(|block| self.hasher.hash(block)).collect();
        self.put_hashes(offset / BLOCK, &hashes);
    }

    /// Takes the hashes of blocks, from the block `first` on; likewise.
    pub(super) fn put_hashes(&mut self, first: u64, found: &[[u8; Sha256Digest::LEN]]) {
        let (hashes, _) = self.hashes.as_chunks_mut::<{ Sha256Digest::LEN }>();
        let places = hashes
            .iter_mut()
            .take(usize::try_from(self.data_blocks).unwrap_or(0));
        let places = places.skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (place, hash) in places.zip(found) {
            *place = *hash;
        }
    }

    /// The levels of the tree, in the order in which they lie in the image.
    pub(super) fn levels(self) -> Vec<Vec<u8>> {
        let mut levels = vec![self.hashes];
        while let Some(below) = levels.last().filter(|level| level.len() > BLOCK_LEN) {
            let (blocks, _) = below.as_chunks::<BLOCK_LEN>();
            let mut level = blocks
                .iter()
                .flat_map(|block| self.hasher.hash(block))
                .collect::<Vec<u8>>();
            level.resize(level.len().next_multiple_of(BLOCK_LEN), 0);
            levels.push(level);
        }
        levels.reverse();
        levels
    }
}

/// Hashes blocks behind a tree's salt.
#[derive(Clone)]
pub(super) struct BlockHasher {
    salt: RunningHash,
}

impl BlockHasher {
    fn new(salt: &[u8]) -> Self {
        let mut running = RunningHash::default();
        running.update(salt);
        Self { salt: running }
    }

    pub(super) fn hash(&self, block: &[u8; BLOCK_LEN]) -> [u8; Sha256Digest::LEN] {
        let mut running = self.salt.clone();
        running.update(block);
        *running.value().as_bytes()
    }
}

/// Finds the tree of an image of `len` bytes, by the superblock that stands between its data and
/// the tree, as `veritysetup` and Flatcar write it. `None` if there is none, or the tree isn't
/// exactly what would be computed.
///
/// # Errors
/// The image's.
pub(crate) fn find_tree(image: &dyn ReadBlocks, len: u64) -> io::Result<Option<VerityTree>> {
    let reader = BlockReader { image, len };
    let blocks = len.div_ceil(BLOCK);
    let mut found = None;
    for run in runs(0, blocks) {
        let bytes = reader.read(run)?;
        let (all, _) = bytes.as_chunks::<BLOCK_LEN>();
        // Images within the image have trees, too: this one is of all blocks before it.
        found = (run.start()..)
            .zip(all)
            .find_map(|(number, block)| superblock(block, number, blocks));
        if found.is_some() {
            break;
        }
    }
    let Some(tree) = found else { return Ok(None) };
    let mut builder = TreeBuilder::new(&tree);
    for run in runs(0, tree.data_blocks) {
        builder.put(run.start() * BLOCK, &reader.read(run)?);
    }
    let computed = builder.levels().concat();
    let mut at = 0;
    for run in runs(tree.blocks.start(), tree.blocks.end()) {
        let stored = reader.read(run)?;
        if computed.get(at..at + stored.len()) != Some(&stored[..]) {
            return Ok(None);
        }
        at += stored.len();
    }
    Ok(Some(tree))
}

fn runs(start: u64, end: u64) -> impl Iterator<Item = BlockRange> {
    let starts = (0..end.saturating_sub(start).div_ceil(RUN)).map(move |run| start + run * RUN);
    starts.filter_map(move |start| BlockRange::new(start, end.min(start + RUN)))
}

/// The tree that a superblock in this block speaks of, if it is of all blocks before it.
fn superblock(block: &[u8; BLOCK_LEN], number: u64, image_blocks: u64) -> Option<VerityTree> {
    if !block.starts_with(b"verity\0\0") {
        return None;
    }
    let u32_at = |at: usize| block[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let data_blocks = block[72..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let salt_len = block[80..]
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))?;
    let is_known = u32_at(8) == Some(1)
        && u32_at(12) == Some(1)
        && block[32..64].starts_with(b"sha256\0")
        && u32_at(64) == Some(4096)
        && u32_at(68) == Some(4096)
        && data_blocks == Some(number);
    let salt = block[88..88 + VerityTree::MAX_SALT].get(..salt_len.into())?;
    let tree = VerityTree::new(number, number + 1, salt, image_blocks).ok();
    tree.filter(|_| is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tree: Result<VerityTree, TablesError>) -> String {
        tree.unwrap_err().to_string()
    }

    #[test]
    fn a_tree_lies_behind_its_data_and_within_the_image() {
        let tree = |data, start, salt: usize, image| VerityTree::new(data, start, &vec![1; salt], image);
        // 129 hashes take two blocks, and these one.
        assert_eq!(
            tree(129, 129, 32, 132).unwrap().blocks(),
            BlockRange::new(129, 132).unwrap()
        );
        assert_eq!(
            tree(128, 200, 256, 201).unwrap().blocks(),
            BlockRange::new(200, 201).unwrap()
        );
        assert!(refused(tree(129, 129, 32, 131)).contains("tree_start is 129"));
        assert!(refused(tree(129, 128, 32, 132)).contains("tree_start is 128"));
        assert!(refused(tree(129, u64::MAX, 32, 132)).contains("tree_start is"));
        assert!(refused(tree(1, 1, 32, 132)).contains("data_blocks is 1"));
        assert!(refused(tree((1 << 20) + 1, 1 << 21, 32, 1 << 22)).contains("data_blocks is 1048577"));
        assert!(refused(tree(129, 129, 257, 132)).contains("salt is 257"));
    }
}
