//! A writer of bits, the highest of each byte first.

/// Whole bytes, and fewer than 32 bits after them.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The last bits, at the bottom.
    bits: u64,
    /// How many.
    count: u32,
}

impl BitWriter {
    /// Appends `count` bits: the lowest ones of `bits`, in which no others are set; 48 at most.
    pub(super) fn put(&mut self, count: u32, bits: u64) {
        if count > 32 {
            self.put(count - 32, bits >> 32);
            return self.put(32, bits & u64::from(u32::MAX));
        }
        self.bits = self.bits << count | bits;
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let [.., a, b, c, d] = (self.bits >> self.count).to_be_bytes();
            self.bytes.extend_from_slice(&[a, b, c, d]);
        }
    }

    /// All bytes; zeros fill the last one.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let whole = self.count.div_ceil(8) as usize;
        let bits = self.bits << (64 - self.count).min(63) << u32::from(self.count == 0);
        self.bytes.extend_from_slice(&bits.to_be_bytes()[..whole]);
        self.bytes
    }
}
