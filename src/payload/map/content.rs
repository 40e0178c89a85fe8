//! The picture of an image that is made of content: what a node with this old image takes from
//! there, fetches, computes, and writes as zeros.

use std::ops::Range;

use payload_format::{ContentPart, ContentTables, Image, VerityTree};

use super::columns::{Band, Scale, share};
use super::{Bands, Paint, Picture, Strip};

const OLD: Paint = Paint::Copied("old image");
const FETCHED: Paint = Paint::Packed("fetched");
const COMPUTED: Paint = Paint::Computed("hash tree");
const ZEROS: Paint = Paint::Zeros("zeros");

/// Bytes of a block of content.
const BLOCK: u64 = 4096;

impl Picture {
    /// Where the image's blocks come from, for a node that `has` these chunks.
    pub(super) fn of_content(image: &Image, tables: &ContentTables, has: &dyn Fn(usize) -> bool) -> Self {
        let blocks = image.new.size.div_ceil(BLOCK);
        let mut picture = Self {
            title: image.kind.to_string(),
            old_size: 0,
            new_size: image.new.size,
            data_size: 0,
            old: Strip::default(),
            new: Strip::default(),
            data: Strip::default(),
            copies: Bands::default(),
            arrivals: Bands::default(),
            legend: Vec::new(),
            counted: "chunks",
        };
        let (new, data) = (Scale::of(blocks * BLOCK), Scale::of(tables.data_len()));
        let (mut place, mut places) = (0, Vec::new());
        for (number, chunk) in tables.chunks().iter().enumerate() {
            let end = place + u64::from(chunk.packed_len);
            if has(number) {
                picture.count(OLD, 1, 0, 0);
            } else {
                for piece in data.pieces(place, end) {
                    picture.data.paint(piece.column, FETCHED, piece.amount);
                }
                picture.data_size += end - place;
                picture.count(FETCHED, 1, 0, end - place);
            }
            places.push((place, end));
            place = end;
        }
        for part in tables.parts() {
            let is_old = has(part.chunk);
            let paint = if is_old { OLD } else { FETCHED };
            let made = made(tables, &part);
            for piece in new.pieces(made.start, made.end) {
                picture.new.paint(piece.column, paint, piece.amount);
            }
            // Invariant: a place for each chunk.
            if let Some((from, to)) = places.get(part.chunk).filter(|_| !is_old) {
                picture.arrivals.add_wide(Band {
                    paint,
                    from: data.columns(*from, *to),
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

/// Bytes of the image that a part makes. Where its segment is encoded, its share of that.
fn made(tables: &ContentTables, part: &ContentPart) -> Range<u64> {
    let Some(segment) = tables.segments().get(part.segment) else {
        return 0..0;
    };
    let (first, room) = (segment.blocks.start() * BLOCK, segment.blocks.count() * BLOCK);
    let at = |within: u32| first + share(room, within.into(), segment.len.into());
    at(part.within.start)..at(part.within.end)
}
