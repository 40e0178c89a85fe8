//! Blocks: the unit in which operations name places.

use std::fmt;

/// Bytes per block: a power of two from 512 to 65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize(u32);

impl BlockSize {
    const RANGE: std::ops::RangeInclusive<u32> = 512..=65_536;

    /// `None` outside the range, or if no power of two.
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        (Self::RANGE.contains(&bytes) && bytes.is_power_of_two()).then_some(Self(bytes))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Blocks that lie whole within `bytes`.
    #[must_use]
    pub fn whole_blocks(self, bytes: u64) -> u64 {
        bytes / self.bytes()
    }

    /// Blocks that `bytes` touch, the last perhaps in part.
    #[must_use]
    pub fn touched_blocks(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes())
    }
}

/// A run of one or more blocks, `start..end`. Those of a checked manifest lie within their image's limit,
/// so that their byte offsets fit `u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    start: u64,
    end: u64,
}

impl BlockRange {
    /// `None` if empty.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// First block.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// First block after the range.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many blocks: at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        self.end - self.start
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Where an operation reads or writes, one piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// These blocks of the image.
    Blocks(BlockRange),
    /// So many blocks of nothing (start block 2^64-1): zeros when read, skipped when written.
    Hole(u64),
}

impl Extent {
    /// How many blocks: at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        match self {
            Self::Blocks(range) => range.count(),
            Self::Hole(count) => count,
        }
    }
}
