//! The picture of an image that is made of content: what a node with this old image takes from
//! there, fetches, computes, and writes as zeros.

use std::ops::Range;

use payload_format::{ContentPart, ContentTables, Image, VerityTree};

use super::columns::{Band, Scale, share};
use super::{Paint, Picture};

const OLD: Paint = Paint::Copied("old image");
const PATCHED: Paint = Paint::Patched("patch");
const FETCHED: Paint = Paint::Packed("fetched");
const COMPUTED: Paint = Paint::Computed("hash tree");
const ZEROS: Paint = Paint::Zeros("zeros");

/// Bytes of a block of content.
const BLOCK: u64 = 4096;

/// Chunks that a patch makes, and its range among the packed chunks and patches.
pub(super) type Patched = (Range<usize>, Range<u64>);

impl Picture {
    /// Where the image's blocks come from, for a node that `has` these chunks, and takes these patches.
    pub(super) fn of_content(
        image: &Image,
        tables: &ContentTables,
        (has, patches): (&dyn Fn(usize) -> bool, &[Patched]),
    ) -> Self {
        let blocks = image.new.size.div_ceil(BLOCK);
        let mut picture = Self::blank(image, "chunks");
        let (new, data) = (Scale::of(blocks * BLOCK), Scale::of(tables.data_len()));
        let origins = origins(tables, has, patches);
        let mut last = &(0..0);
        for (paint, from) in &origins {
            picture.count(*paint, 1, 0, 0);
            // A patch is one for all of its chunks.
            if from != last {
                for piece in data.pieces(from.start, from.end) {
                    picture.data.paint(piece.column, *paint, piece.amount);
                }
                picture.data_size += from.end - from.start;
                picture.count(*paint, 0, 0, from.end - from.start);
            }
            last = from;
        }
        for part in tables.parts() {
            // Invariant: each part is of a chunk.
            let Some((paint, from)) = origins.get(part.chunk).cloned() else {
                continue;
            };
            let made = made(tables, &part);
            for piece in new.pieces(made.start, made.end) {
                picture.new.paint(piece.column, paint, piece.amount);
            }
            if !from.is_empty() {
                picture.arrivals.add_wide(Band {
                    paint,
                    from: data.columns(from.start, from.end),
                    to: new.columns(made.start, made.end),
                });
            }
            picture.count(paint, 0, made.end - made.start, 0);
        }
        let tree = tables.verity_tree().map(VerityTree::blocks);
        let computed = tree.into_iter().map(|range| (COMPUTED, range));
        let zeros = tables.zeros(image.new.size).into_iter();
        for (paint, range) in computed.chain(zeros.map(|range| (ZEROS, range))) {
            for piece in new.pieces(range.start() * BLOCK, range.end() * BLOCK) {
                picture.new.paint(piece.column, paint, piece.amount);
            }
            picture.count(paint, 0, range.count() * BLOCK, 0);
        }
        picture
    }
}

/// Where each chunk comes from, and its range among the packed chunks and patches.
fn origins(
    tables: &ContentTables,
    has: &dyn Fn(usize) -> bool,
    patches: &[Patched],
) -> Vec<(Paint, Range<u64>)> {
    let (mut place, mut due) = (0, patches.iter().peekable());
    let chunks = tables.chunks().iter().enumerate();
    let origin = chunks.map(|(number, chunk)| {
        let packed = place..place + u64::from(chunk.packed_len);
        place = packed.end;
        while due.next_if(|(chunks, _)| chunks.end <= number).is_some() {}
        match due.peek().filter(|(chunks, _)| chunks.contains(&number)) {
            Some((_, patch)) => (PATCHED, patch.clone()),
            None if has(number) => (OLD, 0..0),
            None => (FETCHED, packed),
        }
    });
    origin.collect()
}

/// Bytes of the image that a part makes. Where its segment is encoded, its share of that.
fn made(tables: &ContentTables, part: &ContentPart) -> Range<u64> {
    let Some(segment) = tables.segments().get(part.segment) else {
        return 0..0;
    };
    let (first, room) = (segment.blocks.start() * BLOCK, segment.blocks.count() * BLOCK);
    let at = |within: u32| first + share(room, within.into(), segment.len.into());
    at(part.within.start)..at(part.within.end)
}
