//! Bits of a slice, the highest of each byte first.

use super::BunzipError;

/// See the module. What lies past the end reads as zeros; [`Self::check`] tells.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The first byte that is not in `buffer`.
    next: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// How many of them count; those below are right or zero.
    count: u32,
}

impl<'a> Bits<'a> {
    /// Bits that are at hand after [`Self::refill`], at least.
    pub(super) const FULL: u32 = 56;

    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            next: 0,
            buffer: 0,
            count: 0,
        }
    }

    /// Makes [`Self::FULL`] bits available.
    #[inline]
    pub(super) fn refill(&mut self) {
        let rest = self.data.get(self.next..).unwrap_or_default();
        if let Some(bytes) = rest.first_chunk() {
            self.buffer |= u64::from_be_bytes(*bytes) >> self.count;
            let bytes = (63 - self.count) >> 3;
            self.next += bytes as usize;
            self.count += bytes * 8;
        } else {
            self.refill_at_the_end();
        }
    }

    #[cold]
    fn refill_at_the_end(&mut self) {
        while self.count <= Self::FULL {
            let byte = self.data.get(self.next).copied().unwrap_or(0);
            self.buffer |= u64::from(byte) << (Self::FULL - self.count);
            self.next = self.next.saturating_add(1);
            self.count += 8;
        }
    }

    /// The next `count` bits, which are available, 1 to 56.
    #[inline]
    pub(super) const fn peek(&self, count: u32) -> u64 {
        self.buffer >> (64 - count)
    }

    /// Goes past `count` bits, which are available.
    #[inline]
    pub(super) const fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Takes `count` bits, 1 to 56.
    pub(super) fn take(&mut self, count: u32) -> u64 {
        if self.count < count {
            self.refill();
        }
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Takes one bit.
    pub(super) fn flag(&mut self) -> bool {
        self.take(1) == 1
    }

    /// Takes 8 bits at most.
    pub(super) fn take_u8(&mut self, count: u32) -> u8 {
        self.take(count.min(8)).to_le_bytes()[0]
    }

    /// Takes 16 bits at most.
    pub(super) fn take_u16(&mut self, count: u32) -> u16 {
        let [low, high, ..] = self.take(count.min(16)).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Takes 32 bits.
    pub(super) fn take_u32(&mut self) -> u32 {
        u32::from(self.take_u16(16)) << 16 | u32::from(self.take_u16(16))
    }

    /// Bytes that have not been begun.
    pub(super) fn rest(&self) -> usize {
        let unread = self.next - (self.count / 8) as usize;
        self.data.len().saturating_sub(unread)
    }

    /// Whether all bits so far were there.
    ///
    /// # Errors
    /// [`BunzipError::CutOff`].
    pub(super) fn check(&self) -> Result<(), BunzipError> {
        // A byte that is begun counts as taken.
        if self.next - (self.count / 8) as usize <= self.data.len() {
            Ok(())
        } else {
            Err(BunzipError::CutOff)
        }
    }
}
