//! Blocks: the unit in which operations name places.
//!
//! Numbers of blocks have 32 bits: half a million extents are read before anything is known to be
//! signed, and have to lie in memory for as long as the payload is applied. Of 4096 bytes each so
//! many are 16 TiB.

use std::fmt;
use std::num::NonZeroU32;

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

    /// Bytes of the longest image whose blocks have numbers.
    #[must_use]
    pub(crate) fn longest(self) -> u64 {
        BlockRange::MAX_END * self.bytes()
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

/// A run of one or more blocks, `start..end`. Those of a checked manifest lie within their image's
/// limit, so that their byte offsets fit `u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    start: u32,
    /// Above `start`.
    end: NonZeroU32,
}

impl BlockRange {
    /// No block has this number, or a higher one.
    pub const MAX_END: u64 = u32::MAX as u64;

    /// `None` if empty, or if it goes on past [`Self::MAX_END`].
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        Self::of(start, end)
    }

    /// Likewise.
    pub(crate) fn of(start: u32, end: u32) -> Option<Self> {
        let end = NonZeroU32::new(end).filter(|end| start < end.get())?;
        Some(Self { start, end })
    }

    /// First block.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start.into()
    }

    /// First block after the range.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end.get().into()
    }

    /// Both, as they are kept.
    pub(crate) const fn bounds(self) -> (u32, u32) {
        (self.start, self.end.get())
    }

    /// How many blocks: at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        self.end() - self.start()
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
    Hole(u32),
}

impl Extent {
    /// How many blocks: at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        match self {
            Self::Blocks(range) => range.count(),
            Self::Hole(count) => count.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_takes_eight_bytes() {
        assert_eq!(size_of::<Extent>(), 8);
        assert_eq!(size_of::<Option<BlockRange>>(), 8);
    }

    #[test]
    fn ranges_are_neither_empty_nor_without_numbers() {
        let last = BlockRange::MAX_END;
        assert_eq!(BlockRange::new(0, last).map(BlockRange::count), Some(last));
        for (start, end) in [
            (0, 0),
            (5, 5),
            (6, 5),
            (0, last + 1),
            (last, last),
            (last + 1, last + 2),
        ] {
            assert_eq!(BlockRange::new(start, end), None, "{start}..{end}");
        }
    }
}
