//! Parts: the content, cut where chunks end and where segments do.

use std::ops::Range;

use super::tables::ContentTables;

/// Bytes of one segment that one chunk has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPart {
    /// The chunk's number.
    pub chunk: usize,
    /// The segment's number.
    pub segment: usize,
    /// Which bytes of the segment's content.
    pub within: Range<u32>,
}

/// How far the content was gone through, in its order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartCursor {
    chunk: usize,
    segment: usize,
    /// Bytes of content that were taken of each.
    of_chunk: u32,
    of_segment: u32,
}

impl PartCursor {
    /// The number of the chunk that the next part is of.
    pub(crate) const fn chunk(&self) -> usize {
        self.chunk
    }

    /// The next part; none after the last one.
    pub(crate) fn next(&mut self, tables: &ContentTables) -> Option<ContentPart> {
        let chunk = tables.chunks.get(self.chunk)?;
        let segment = tables.segments.get(self.segment)?;
        let len = (chunk.len - self.of_chunk).min(segment.len - self.of_segment);
        let part = ContentPart {
            chunk: self.chunk,
            segment: self.segment,
            within: self.of_segment..self.of_segment + len,
        };
        self.of_chunk += len;
        self.of_segment += len;
        if self.of_chunk == chunk.len {
            (self.chunk, self.of_chunk) = (self.chunk + 1, 0);
        }
        if self.of_segment == segment.len {
            (self.segment, self.of_segment) = (self.segment + 1, 0);
        }
        Some(part)
    }
}

impl ContentTables {
    /// The content in its order, cut where chunks end and where segments do.
    pub fn parts(&self) -> impl Iterator<Item = ContentPart> + '_ {
        let mut cursor = PartCursor::default();
        std::iter::from_fn(move || cursor.next(self))
    }
}
