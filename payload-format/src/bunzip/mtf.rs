//! The move-to-front list.

/// Bytes in the order of their last use. The first sixteen, which most codes ask for, are in one
/// number, the first at its bottom.
pub(super) struct MoveToFront {
    head: u128,
    /// The first sixteen are stale.
    list: [u8; 256],
}

const HEAD: usize = 16;

impl MoveToFront {
    pub(super) fn new(list: [u8; 256]) -> Self {
        let head = list.first_chunk().map_or(0, |head| u128::from_le_bytes(*head));
        Self { head, list }
    }

    /// The byte at `rank`, which is 255 at most and moves to the front.
    #[inline]
    pub(super) fn take(&mut self, rank: usize) -> u8 {
        if rank >= HEAD {
            return self.take_far(rank);
        }
        let shift = rank * 8;
        let byte = (self.head >> shift).to_le_bytes()[0];
        let behind = (u128::MAX << 8) << shift;
        let before = !(u128::MAX << shift);
        self.head = self.head & behind | (self.head & before) << 8 | u128::from(byte);
        byte
    }

    fn take_far(&mut self, rank: usize) -> u8 {
        let rank = rank & 255;
        let byte = self.list[rank];
        self.list.copy_within(HEAD..rank, HEAD + 1);
        self.list[HEAD] = self.head.to_le_bytes()[HEAD - 1];
        self.head = self.head << 8 | u128::from(byte);
        byte
    }
}
