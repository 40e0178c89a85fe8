//! A map from blocks to operations that stores runs.

use std::collections::BTreeMap;

use crate::block::BlockRange;
use crate::op_id::OpId;

/// Disjoint ranges, each with an operation. Every range that is put in is taken out at most once,
/// so a long sequence of calls costs what its ranges cost.
#[derive(Default)]
pub(super) struct Intervals {
    /// By start: end and operation.
    map: BTreeMap<u32, (u32, OpId)>,
}

impl Intervals {
    /// Gives a range to an operation, whoever had it before.
    pub(super) fn assign(&mut self, range: BlockRange, op: OpId) {
        let (start, end) = range.bounds();
        self.remove(range);
        self.map.insert(start, (end, op));
    }

    /// Empties a range and returns the last operation that was in it.
    pub(super) fn remove(&mut self, range: BlockRange) -> Option<OpId> {
        let (start, end) = range.bounds();
        self.split(start);
        self.split(end);
        let mut last = None;
        while let Some((&found, &(_, op))) = self.map.range(start..end).next() {
            self.map.remove(&found);
            last = last.max(Some(op));
        }
        last
    }

    /// The last operation in a range.
    pub(super) fn last(&self, range: BlockRange) -> Option<OpId> {
        self.pieces(range).filter_map(|(_, op)| op).max()
    }

    /// The whole of a range in pieces, gaps included.
    pub(super) fn pieces(&self, range: BlockRange) -> IntervalPieces<'_> {
        let (at, end) = range.bounds();
        IntervalPieces {
            map: &self.map,
            at,
            end,
        }
    }

    /// Makes a range that spans `block` two that meet there.
    fn split(&mut self, block: u32) {
        let Some((_, (end, op))) = self.map.range_mut(..block).next_back() else {
            return;
        };
        if *end > block {
            let right = (*end, *op);
            *end = block;
            self.map.insert(block, right);
        }
    }
}

/// Iterator of [`Intervals::pieces`].
pub(super) struct IntervalPieces<'a> {
    map: &'a BTreeMap<u32, (u32, OpId)>,
    at: u32,
    end: u32,
}

impl Iterator for IntervalPieces<'_> {
    type Item = (BlockRange, Option<OpId>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let covering = self
            .map
            .range(..=self.at)
            .next_back()
            .filter(|(_, (end, _))| *end > self.at);
        let (piece_end, op) = match covering {
            Some((_, &(end, op))) => (end, Some(op)),
            None => (
                self.map
                    .range(self.at..)
                    .next()
                    .map_or(self.end, |(&start, _)| start),
                None,
            ),
        };
        let piece = BlockRange::of(self.at, piece_end.min(self.end))?;
        (_, self.at) = piece.bounds();
        Some((piece, op))
    }
}
