//! The ranges of a payload's content that are fetched.

use std::ops::Range;

use super::{ContentTables, PatchSection};

/// Bytes of packed chunks that are fetched, though they are there, to save a request: about what a
/// connection of 50 Mbit/s brings in the time that a request takes.
pub(super) const BRIDGE: u64 = 16 << 10;

impl ContentTables {
    /// The ranges of packed chunks that hold all chunks that `has` doesn't: in order, counted from
    /// the first packed chunk, in bytes. Those with little between them are joined.
    pub fn missing(&self, has: impl FnMut(usize) -> bool) -> Vec<Range<u64>> {
        self.missing_beside(&[], has)
    }

    /// The same where `patched` take the place of the chunks that they make. In the order in which all
    /// of it is taken: a patch stands between the chunks around it.
    pub(super) fn missing_beside(
        &self,
        patched: &[PatchSection],
        mut has: impl FnMut(usize) -> bool,
    ) -> Vec<Range<u64>> {
        let (mut ranges, mut start): (Vec<Range<u64>>, u64) = (Vec::new(), 0);
        let mut patched = patched.iter().peekable();
        for (number, chunk) in self.chunks.iter().enumerate() {
            let end = start + u64::from(chunk.packed_len);
            while patched.next_if(|section| section.chunks.end <= number).is_some() {}
            match patched.peek() {
                Some(section) if section.chunks.start == number => put(&mut ranges, section.range()),
                Some(section) if section.chunks.start < number => {}
                _ if has(number) => {}
                _ => put(&mut ranges, start..end),
            }
            start = end;
        }
        ranges
    }
}

/// Appends a range, or lets the last one go on if there is little between them.
fn put(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end <= range.start && range.start - last.end <= BRIDGE => last.end = range.end,
        _ => ranges.push(range),
    }
}
