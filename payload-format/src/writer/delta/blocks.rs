//! Lists of blocks, and images that are read by them.

use std::io;

use crate::apply::ReadBlocks;
use crate::block::BlockRange;
use crate::wire;
use crate::writer::section::BLOCK;

/// An image as a delta's generator reads it: at any place, from several threads.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    image: &'a dyn ReadBlocks,
    len: u64,
}

impl<'a> Snapshot<'a> {
    /// The first `len` bytes of `image`. They must not change while the generator runs.
    #[must_use]
    pub fn new(image: &'a dyn ReadBlocks, len: u64) -> Self {
        Self { image, len }
    }

    /// In bytes.
    pub(in crate::writer) fn len(&self) -> u64 {
        self.len
    }

    /// The image, and its length in bytes.
    pub(in crate::writer) fn parts(&self) -> (&'a dyn ReadBlocks, u64) {
        (self.image, self.len)
    }

    /// Blocks that it touches.
    pub(super) fn blocks(&self) -> u64 {
        self.len.div_ceil(BLOCK)
    }

    /// These blocks, with zeros past the image's end.
    pub(super) fn read(&self, range: BlockRange) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; bytes(range.count())?];
        self.fill(range, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes from any place, all within the image.
    pub(in crate::writer) fn read_bytes(&self, place: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.read_at(buffer, place)
    }

    fn fill(&self, range: BlockRange, buffer: &mut [u8]) -> io::Result<()> {
        let start = range.start() * BLOCK;
        let inside = self.len.saturating_sub(start);
        let inside = usize::try_from(inside).map_or(buffer.len(), |inside| inside.min(buffer.len()));
        let (inside, beyond) = buffer.split_at_mut(inside);
        beyond.fill(0);
        if inside.is_empty() {
            return Ok(());
        }
        self.image.read_at(inside, start)
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Bytes of so many blocks.
fn bytes(blocks: u64) -> io::Result<usize> {
    usize::try_from(blocks * BLOCK).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Blocks in an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlockList(Vec<BlockRange>);

impl BlockList {
    /// Appends a range, or lengthens the last one.
    pub(super) fn push(&mut self, range: BlockRange) {
        let last = self.0.last_mut();
        match last.and_then(|last| Some((BlockRange::new(last.start(), range.end())?, last))) {
            Some((joined, last)) if last.end() == range.start() => *last = joined,
            _ => self.0.push(range),
        }
    }

    /// Appends one block.
    pub(super) fn push_block(&mut self, block: u64) {
        if let Some(range) = BlockRange::new(block, block + 1) {
            self.push(range);
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|range| self.push(*range));
    }

    /// The same blocks in lists of at most so many.
    pub(super) fn split(&self, most: u64) -> Vec<Self> {
        let (mut lists, mut list) = (Vec::new(), Self::default());
        for block in self.iter() {
            if list.count() == most {
                lists.push(std::mem::take(&mut list));
            }
            list.push_block(block);
        }
        lists.extend(Some(list).filter(|list| !list.is_empty()));
        lists
    }

    pub(super) fn ranges(&self) -> &[BlockRange] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many blocks.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.count()).sum()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.start())
    }

    /// Every block.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.start()..range.end())
    }

    /// The content of all blocks.
    pub(super) fn read(&self, image: &Snapshot<'_>) -> io::Result<Vec<u8>> {
        let mut content = vec![0; bytes(self.count())?];
        let mut rest = content.as_mut_slice();
        for range in &self.0 {
            let (now, next) = rest.split_at_mut(bytes(range.count())?);
            image.fill(*range, now)?;
            rest = next;
        }
        Ok(content)
    }

    pub(super) fn wire(&self) -> Vec<wire::WireExtent> {
        let extent = |range: &BlockRange| wire::WireExtent {
            start_block: Some(range.start()),
            num_blocks: Some(range.count()),
        };
        self.0.iter().map(extent).collect()
    }
}

impl FromIterator<u64> for BlockList {
    fn from_iter<I: IntoIterator<Item = u64>>(blocks: I) -> Self {
        let mut list = Self::default();
        blocks.into_iter().for_each(|block| list.push_block(block));
        list
    }
}
