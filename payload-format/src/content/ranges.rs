//! The ranges of a payload's content that are fetched.

use std::ops::Range;

use super::ContentTables;

/// Bytes of packed chunks that are fetched, though they are there, to save a request: about what a
/// connection of 50 Mbit/s brings in the time that a request takes.
pub(super) const BRIDGE: u64 = 16 << 10;

impl ContentTables {
    /// The ranges of packed chunks that hold all chunks that `has` doesn't: in order, counted from
    /// the first packed chunk, in bytes. Those with little between them are joined.
    pub fn missing(&self, mut has: impl FnMut(usize) -> bool) -> Vec<Range<u64>> {
        let (mut ranges, mut start): (Vec<Range<u64>>, u64) = (Vec::new(), 0);
        for (number, chunk) in self.chunks.iter().enumerate() {
            let end = start + u64::from(chunk.packed_len);
            if !has(number) {
                match ranges.last_mut() {
                    Some(last) if start - last.end <= BRIDGE => last.end = end,
                    _ => ranges.push(start..end),
                }
            }
            start = end;
        }
        ranges
    }
}
