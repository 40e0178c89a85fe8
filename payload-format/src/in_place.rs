//! The in-place plan: what reading "the slot as it is by now" means when the slot wasn't copied
//! first.
//!
//! Deltas of major version 1 are made to run on a copy of the old image, in place: an operation
//! that reads block 7 gets what earlier operations left there. Here nothing is copied beforehand.
//! An operation reads a block from the old image until an earlier operation wrote it, from the
//! target afterwards, and the blocks that nobody writes are copied at the end. The result is the
//! same, with each block written once.
//!
//! ```text
//!  operation     0: 4 ← 5     1: 5 ← 4          2: 6 ← data      nobody writes 7
//!  copied slot   reads own 5  reads own 4       –                (was copied before)
//!  here          reads old 5  reads target's 4  –                copied at the end
//! ```
//!
//! Only reads of the *target* order operations: old blocks never change. So an operation depends on
//! the ones that wrote what it reads or overwrites, and on those that read from the target what it
//! overwrites. One number tells it, the last of them ([`crate::Operation::after`]); it is coarser
//! than a graph, but can't be blown up by a hostile manifest. [`crate::Replay`] tells which
//! overwritten blocks a resumed update would need again.

mod intervals;

use intervals::Intervals;

use crate::block::{BlockRange, Extent};
use crate::op_id::OpId;
use crate::operation::{Replay, Run, Source};

/// The plan of one image, made operation by operation.
pub(crate) struct InPlace {
    /// Who wrote a block last.
    writers: Intervals,
    reading: Reading,
    /// Who read a block from the target last, since it was written last.
    readers: Intervals,
    pieces: usize,
    pieces_limit: usize,
}

/// What sources name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Blocks as they would be on a copy of the old image, at that time: major version 1.
    InPlace,
    /// Blocks of the old image: major version 2. So nothing is ever read from the target.
    OldImage,
}

/// Sources fall into more pieces than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyPieces(pub(crate) usize);

/// What the plan says of an operation.
#[derive(Debug)]
pub(crate) struct PlannedOperation {
    pub(crate) source: Source,
    pub(crate) after: Option<OpId>,
    pub(crate) replay: Replay,
}

impl InPlace {
    /// All sources together may fall into so many pieces.
    pub(crate) fn new(reading: Reading, pieces: usize) -> Self {
        Self {
            reading,
            writers: Intervals::default(),
            readers: Intervals::default(),
            pieces,
            pieces_limit: pieces,
        }
    }

    pub(crate) fn pieces_left(&self) -> usize {
        self.pieces
    }

    /// Takes the next operation, which reads and writes these extents.
    pub(crate) fn step(
        &mut self,
        op: OpId,
        source: &[Extent],
        destination: &[Extent],
    ) -> Result<PlannedOperation, TooManyPieces> {
        // Asked before this operation's own reads and writes hide those of earlier ones.
        let mut after = self.last_user(destination);
        let source = self.read(op, source, &mut after)?;
        let reader = self.overwrite(op, destination);
        let replay = match reader {
            None => Replay::Safe,
            Some(reader) if reader == op => Replay::Never,
            Some(reader) => Replay::CheckpointPast(reader),
        };
        Ok(PlannedOperation {
            source,
            after,
            replay,
        })
    }

    fn read(
        &mut self,
        op: OpId,
        extents: &[Extent],
        after: &mut Option<OpId>,
    ) -> Result<Source, TooManyPieces> {
        let mut source = Source::default();
        for extent in extents {
            match *extent {
                Extent::Hole(count) => source.push(Run::Zeros(count)),
                Extent::Blocks(range) => {
                    self.pieces_of(range, &mut source, after)?;
                }
            }
        }
        for run in &source.runs {
            if let Run::Target(range) = run {
                self.readers.assign(*range, op);
            }
        }
        Ok(source)
    }

    fn pieces_of(
        &mut self,
        range: BlockRange,
        source: &mut Source,
        after: &mut Option<OpId>,
    ) -> Result<(), TooManyPieces> {
        if self.reading == Reading::OldImage {
            source.push(Run::Old(range));
            return Ok(());
        }
        for (piece, writer) in self.writers.pieces(range) {
            let left = self.pieces.checked_sub(1);
            self.pieces = left.ok_or(TooManyPieces(self.pieces_limit))?;
            *after = (*after).max(writer);
            source.push(if writer.is_some() {
                Run::Target(piece)
            } else {
                Run::Old(piece)
            });
        }
        Ok(())
    }

    /// The last operation that wrote these blocks or reads them from the target.
    fn last_user(&self, extents: &[Extent]) -> Option<OpId> {
        let users = ranges(extents).map(|range| self.writers.last(range).max(self.readers.last(range)));
        users.max().flatten()
    }

    /// Records the writes and returns the last operation that reads from the target what they
    /// overwrite.
    fn overwrite(&mut self, op: OpId, extents: &[Extent]) -> Option<OpId> {
        let mut last_reader = None;
        for range in ranges(extents) {
            last_reader = last_reader.max(self.readers.remove(range));
            self.writers.assign(range, op);
        }
        last_reader
    }

    /// Blocks below `end` that no operation wrote.
    pub(crate) fn unwritten(&self, end: u64) -> Vec<BlockRange> {
        let Some(all) = BlockRange::new(0, end) else {
            return Vec::new();
        };
        self.writers
            .pieces(all)
            .filter(|(_, writer)| writer.is_none())
            .map(|(gap, _)| gap)
            .collect()
    }
}

/// The extents that name blocks.
fn ranges(extents: &[Extent]) -> impl Iterator<Item = BlockRange> {
    extents.iter().filter_map(|extent| match *extent {
        Extent::Blocks(range) => Some(range),
        Extent::Hole(_) => None,
    })
}

impl Source {
    /// Appends a piece, or lengthens the last one.
    fn push(&mut self, run: Run) {
        let joined = self.runs.last().and_then(|last| last.join(run));
        match (joined, self.runs.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => self.runs.push(run),
        }
    }

    /// The old range that reaches farthest.
    pub(crate) fn last_old(&self) -> Option<BlockRange> {
        let old = self.runs.iter().filter_map(|run| match run {
            Run::Old(range) => Some(*range),
            Run::Target(_) | Run::Zeros(_) => None,
        });
        old.max_by_key(|range| range.end())
    }
}

impl Run {
    /// Both as one, if the second continues the first.
    fn join(self, next: Self) -> Option<Self> {
        let touching = |a: BlockRange, b: BlockRange| {
            (a.end() == b.start())
                .then(|| BlockRange::new(a.start(), b.end()))
                .flatten()
        };
        match (self, next) {
            (Self::Old(a), Self::Old(b)) => touching(a, b).map(Self::Old),
            (Self::Target(a), Self::Target(b)) => touching(a, b).map(Self::Target),
            (Self::Zeros(a), Self::Zeros(b)) => a.checked_add(b).map(Self::Zeros),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
