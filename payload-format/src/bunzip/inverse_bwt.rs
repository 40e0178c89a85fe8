//! Inverse Burrows-Wheeler transform: the bytes of a block in the order of its text.
//!
//! A row of the sorted block knows the row of the byte that follows in the text. So the text is a
//! chain of up to 900,000 steps, and each step waits for memory, since neighbours in the text are
//! not neighbours in the sorted block. Independent chains can wait at the same time, so the one
//! chain is cut: one row of each [`SPACING`] is marked, and begins a segment of the text, which
//! ends where the next marked row is reached. Segments are followed in the order of their rows,
//! [`LANES`] at a time, and joined afterwards:
//!
//! ```text
//!  lane 0:  s0 · · · · · ▶ s3        s4 · · · ▶ s1
//!  lane 1:  s1 · · ▶ s0   s3 · · · · · · ▶ s2            text:  s0 · s3 · s2 · s4 · s1 ·
//!  lane 2:  s2 · · · · · · · · · ▶ s4
//! ```
//!
//! Invariant: each row has exactly one predecessor, so no row belongs to two segments, and the
//! segments hold no more bytes than the block has rows. In a block that no encoder made, the rows
//! may form several cycles: segments of the other cycles are never read, and those of the start's
//! own cycle are read again and again, which gives what single steps give.

/// Rows of which one begins a segment.
pub(super) const SPACING: usize = 1 << 12;

/// Segments that are followed at the same time.
const LANES: usize = 16;

/// Steps that all lanes take before it is asked whether a segment has ended.
const BATCH: usize = 32;

/// Bytes of [`Segments::bytes`] are made available so many at a time.
const GROWTH: usize = 1 << 16;

/// Set in a link whose next row begins a segment.
const MARK: u32 = 1 << 31;

/// The next row, in a link without its lowest 8 bits.
const ROW: u32 = (1 << 20) - 1;

/// The rows that begin segments: one of each `spacing`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starts {
    /// Of the block.
    rows: usize,
    /// Begins a segment too: the row before the text's first byte, which is the row of the last
    /// one.
    last: usize,
    spacing: usize,
}

impl Starts {
    /// Of a block of `rows`, one of which is `last`.
    pub(super) const fn new(rows: usize, last: usize, spacing: usize) -> Self {
        Self { rows, last, spacing }
    }

    /// How many segments begin.
    const fn count(self) -> usize {
        self.rows.div_ceil(self.spacing)
    }

    /// The row at which a segment begins. Rows at equal distances could lie side by side in a text
    /// that repeats itself, so they are scattered.
    const fn row(self, segment: usize) -> usize {
        if segment == self.segment(self.last) {
            return self.last;
        }
        let first = segment * self.spacing;
        let rows = self.rows - first;
        let rows = if rows < self.spacing { rows } else { self.spacing };
        first + (segment.wrapping_mul(0x9e37_79b9) >> 8) % rows
    }

    /// The segment that begins at `row`.
    const fn segment(self, row: usize) -> usize {
        row / self.spacing
    }
}

/// Links the rows of a sorted block: gives each the row of the byte that follows in the text.
/// `links` has the bytes that precede the rows in its lowest 8 bits, `counts` how often each
/// occurs; equal bytes keep their order.
pub(super) fn link(links: &mut [u32], counts: &[u32; 256], starts: Starts) {
    let mut sum = 0;
    let mut places = counts.map(|count| {
        let first = sum;
        sum += count;
        first as usize
    });
    let mut link = |row: usize, next: u32| {
        let byte = links[row].to_le_bytes()[0];
        let place = &mut places[usize::from(byte)];
        links[*place] |= next;
        *place += 1;
    };
    let mut rows = (0..starts.rows).zip((0_u32..).step_by(1 << 8));
    for segment in 0..starts.count() {
        let before = starts.row(segment) - segment * starts.spacing;
        for (row, next) in rows.by_ref().take(before) {
            link(row, next);
        }
        if let Some((row, next)) = rows.next() {
            link(row, next | MARK);
        }
        for (row, next) in rows.by_ref().take(starts.spacing - before - 1) {
            link(row, next);
        }
    }
}

/// A piece of the text. Its bytes lie in batches.
#[derive(Debug, Clone, Copy, Default)]
struct TextPart {
    /// Where its first batch lies.
    at: usize,
    /// From one batch to the next.
    stride: usize,
    /// In bytes.
    len: usize,
    /// The part that follows it in the text.
    next: usize,
}

/// A segment that is being followed.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// The next row.
    row: usize,
    /// What it is appended to. None if there is no segment; its bytes are of no use then.
    part: Option<usize>,
}

/// The text of a block, in segments of one part or more.
#[derive(Debug, Default)]
pub(super) struct Segments {
    bytes: Vec<u8>,
    /// How many of the bytes are in use.
    end: usize,
    /// The first part of each segment, in their order, then what continues others.
    parts: Vec<TextPart>,
    /// The segment that is to be followed next.
    next: usize,
}

impl Segments {
    /// Follows all segments of a block that has these links.
    pub(super) fn follow(&mut self, links: &[u32], starts: Starts) {
        (self.end, self.next) = (0, 0);
        self.parts.clear();
        self.parts.resize(starts.count(), TextPart::default());
        self.bytes.reserve(links.len() + GROWTH);
        let lanes = self.follow_in_lanes::<LANES>(links, starts, &[]);
        // Near the end, lanes find no more segments: the last ones are followed by fewer.
        let lanes = self.follow_in_lanes::<{ LANES / 2 }>(links, starts, &lanes);
        let lanes = self.follow_in_lanes::<{ LANES / 4 }>(links, starts, &lanes);
        let lanes = self.follow_in_lanes::<{ LANES / 8 }>(links, starts, &lanes);
        self.follow_in_lanes::<{ LANES / 16 }>(links, starts, &lanes);
    }

    /// Goes on with `begun` and follows further segments until half of the lanes or fewer have one;
    /// those that they have.
    fn follow_in_lanes<const N: usize>(
        &mut self,
        links: &[u32],
        starts: Starts,
        begun: &[Lane],
    ) -> Vec<Lane> {
        let mut begun = begun.iter().copied();
        let mut lanes: [Lane; N] = std::array::from_fn(|index| match begun.next() {
            Some(lane) => self.continue_in::<N>(index, lane),
            None => self.begin::<N>(index, starts),
        });
        while lanes.iter().filter(|lane| lane.part.is_some()).count() > N / 2 {
            self.follow_batch(links, starts, &mut lanes);
        }
        lanes.into_iter().filter(|lane| lane.part.is_some()).collect()
    }

    /// Gives the lane at `index` of `N` the next segment.
    fn begin<const N: usize>(&mut self, index: usize, starts: Starts) -> Lane {
        let segment = self.next;
        let at = self.end + index * BATCH;
        let Some(part) = self.parts.get_mut(segment).filter(|_| segment < starts.count()) else {
            return Lane::default();
        };
        (part.at, part.stride) = (at, N * BATCH);
        self.next += 1;
        Lane {
            row: starts.row(segment),
            part: Some(segment),
        }
    }

    /// Makes `lane` the one at `index` of `N`.
    fn continue_in<const N: usize>(&mut self, index: usize, lane: Lane) -> Lane {
        let part = self.parts.len();
        if let Some(before) = lane.part {
            self.parts[before].next = part;
        }
        self.parts.push(TextPart {
            at: self.end + index * BATCH,
            stride: N * BATCH,
            len: 0,
            next: 0,
        });
        Lane {
            part: Some(part),
            ..lane
        }
    }

    /// Takes a batch of steps in each lane.
    fn follow_batch<const N: usize>(&mut self, links: &[u32], starts: Starts, lanes: &mut [Lane; N]) {
        let end = self.end + N * BATCH;
        if self.bytes.len() < end {
            self.bytes.resize(end + GROWTH, 0);
        }
        let (batches, _) = self.bytes[self.end..end].as_chunks_mut::<BATCH>();
        self.end = end;
        let before = lanes.map(|lane| lane.row);
        let (mut rows, mut seen) = (before, 0);
        for step in 0..BATCH {
            for (row, batch) in rows.iter_mut().zip(&mut *batches) {
                let link = links[*row];
                batch[step] = link.to_le_bytes()[0];
                seen |= link;
                *row = (link >> 8 & ROW) as usize;
            }
        }
        for (lane, row) in lanes.iter_mut().zip(rows) {
            if let Some(part) = lane.part {
                self.parts[part].len += BATCH;
                lane.row = row;
            }
        }
        if seen & MARK != 0 {
            self.end_segments(links, starts, lanes, before);
        }
    }

    /// Finds the segments that ended in the last batch, which began at the rows `before`; the next
    /// ones take their lanes.
    #[cold]
    fn end_segments<const N: usize>(
        &mut self,
        links: &[u32],
        starts: Starts,
        lanes: &mut [Lane; N],
        before: [usize; N],
    ) {
        for (index, (lane, mut row)) in lanes.iter_mut().zip(before).enumerate() {
            let Some(part) = lane.part else { continue };
            for unused in (0..BATCH).rev() {
                let link = links[row];
                row = (link >> 8 & ROW) as usize;
                if link & MARK != 0 {
                    let part = &mut self.parts[part];
                    part.len -= unused;
                    part.next = starts.segment(row);
                    *lane = self.begin::<N>(index, starts);
                    break;
                }
            }
        }
    }

    /// Fills `out` with the text that follows `place`.
    pub(super) fn read(&self, place: &mut Place, mut out: &mut [u8]) {
        while !out.is_empty() {
            let part = &self.parts[place.part];
            // A part may be empty, but not all parts of a segment.
            let Some(left) = part.len.checked_sub(place.offset).filter(|left| *left > 0) else {
                place.offset -= part.len;
                place.part = part.next;
                continue;
            };
            let (batch, begun) = (place.offset / BATCH, place.offset % BATCH);
            let len = (BATCH - begun).min(left).min(out.len());
            let from = part.at + batch * part.stride + begun;
            let (now, later) = out.split_at_mut(len);
            let bytes = &self.bytes[from..from + len];
            match (now.first_chunk_mut::<BATCH>(), bytes.first_chunk()) {
                (Some(now), Some(whole)) => *now = *whole,
                _ => now.copy_from_slice(bytes),
            }
            out = later;
            place.offset += len;
        }
    }
}

/// How far a text was read.
#[derive(Debug)]
pub(super) struct Place {
    part: usize,
    /// Bytes of the part.
    offset: usize,
}

impl Place {
    /// Of the text's first byte: the second one of the segment that begins with the last.
    pub(super) const fn first(starts: Starts) -> Self {
        Self {
            part: starts.segment(starts.last),
            offset: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::{Place, Segments, Starts, link};

    /// The text of a sorted block, and of one that nobody sorted, step by step.
    fn step_by_step(sorted: &[u8], last: usize) -> Vec<u8> {
        let mut rows: Vec<usize> = (0..sorted.len()).collect();
        rows.sort_by_key(|row| sorted[*row]);
        let mut row = last;
        let steps = sorted.iter().map(|_| {
            row = rows[row];
            sorted[row]
        });
        steps.collect()
    }

    /// The same, in segments; read `step` bytes at a time.
    fn in_segments(sorted: &[u8], last: usize, spacing: usize, step: usize) -> Vec<u8> {
        let starts = Starts::new(sorted.len(), last, spacing);
        let mut links: Vec<u32> = sorted.iter().map(|byte| u32::from(*byte)).collect();
        let mut counts = [0; 256];
        for byte in sorted {
            counts[usize::from(*byte)] += 1;
        }
        link(&mut links, &counts, starts);
        let mut segments = Segments::default();
        segments.follow(&links, starts);
        let mut text = vec![0; sorted.len()];
        let mut place = Place::first(starts);
        for piece in text.chunks_mut(step) {
            segments.read(&mut place, piece);
        }
        text
    }

    /// Few bytes give few long cycles or many short ones.
    fn column() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..3000),
            prop::collection::vec(0..2_u8, 1..3000),
            (any::<u8>(), 1..3000_usize).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    proptest! {
        #[test]
        fn segments_give_what_single_steps_give(
            column in column(), last in any::<prop::sample::Index>(), spacing in 1..200_usize, step in 1..5000_usize,
        ) {
            let last = last.index(column.len());
            prop_assert_eq!(in_segments(&column, last, spacing, step), step_by_step(&column, last));
        }

        #[test]
        fn a_text_that_was_sorted_comes_out(text in prop::collection::vec(0..3_u8, 1..1500), spacing in 1..200_usize) {
            let turned = |at: usize| [&text[at..], &text[..at]].concat();
            let mut rows: Vec<usize> = (0..text.len()).collect();
            rows.sort_by_cached_key(|row| turned(*row));
            let sorted: Vec<u8> = rows.iter().map(|row| text[(row + text.len() - 1) % text.len()]).collect();
            let first = rows.iter().position(|row| *row == 0).unwrap();
            prop_assert_eq!(in_segments(&sorted, first, spacing, 100), text);
        }
    }
}
