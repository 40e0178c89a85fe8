//! The batch queue: segments on their way from who has their content to the thread that writes their
//! blocks, with a bound on the memory that all of them take.
//!
//! ```text
//!  content ─▶ waiting ─▶ encoders, side by side ─▶ built ─▶ writer, in the order of the content
//!     ▲                                                        │
//!     └─────────── room for more: HELD in all ◀────────────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::ContentError;
use super::tables::{BLOCK, Segment};
use crate::digest::Sha256Digest;

/// Bytes that all batches in the queue take, at most; a single one may take more than that.
const HELD: usize = 12 << 20;

/// Segments that follow each other, with their content.
#[derive(Debug, Default)]
pub(super) struct SegmentBatch {
    /// Number of the first segment, from 0.
    pub(super) first: usize,
    pub(super) segments: Vec<Segment>,
    /// Of all of them, one after the other.
    pub(super) content: Vec<u8>,
    /// Bytes of memory that it takes, at most: content and blocks.
    cost: usize,
}

impl SegmentBatch {
    /// Bytes from which on a batch is handed on.
    const FULL: usize = 512 << 10;

    pub(super) fn push(&mut self, segment: Segment, content: &[u8]) {
        // Invariant: at most `ContentTables::MAX_SEGMENT`.
        let blocks = usize::try_from(segment.blocks.count() * BLOCK).unwrap_or(usize::MAX);
        self.cost = self.cost.saturating_add(content.len()).saturating_add(blocks);
        self.segments.push(segment);
        self.content.extend_from_slice(content);
    }

    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    pub(super) const fn is_full(&self) -> bool {
        self.cost >= Self::FULL
    }
}

/// The blocks of a batch.
#[derive(Debug, Default)]
pub(super) struct BlockBatch {
    /// What is written in one go: place in the image, in bytes, and length.
    pub(super) runs: Vec<(u64, usize)>,
    /// Of all runs, one after the other.
    pub(super) blocks: Vec<u8>,
    /// The hash of each block, where the image has a hash tree.
    pub(super) hashes: Vec<[u8; Sha256Digest::LEN]>,
    /// Number of the segment behind the last one of the batch.
    pub(super) end: usize,
    /// Why the segments behind these aren't among them.
    pub(super) failure: Option<ContentError>,
    /// As of the segments that it was made of.
    cost: usize,
}

/// Batches that wait for an encoder, and those that wait for the writer. Shared by all threads; a panic of one of them stops it.
#[derive(Debug, Default)]
pub(super) struct BatchQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<(usize, SegmentBatch)>,
    /// By their number.
    built: BTreeMap<usize, BlockBatch>,
    /// How many batches were given so far.
    given: usize,
    /// Bytes that all batches take that were given and aren't written yet.
    held: usize,
    /// Nothing more is given.
    is_closed: bool,
    /// Nothing more is made of what was given.
    is_stopped: bool,
}

impl BatchQueue {
    /// Waits for room, and queues the batch. False if the queue was stopped.
    pub(super) fn give(&self, batch: SegmentBatch) -> bool {
        let has_room = |state: &QueueState| state.held == 0 || state.held.saturating_add(batch.cost) <= HELD;
        let mut state = self.wait_until(has_room);
        if state.is_stopped {
            return false;
        }
        state.held = state.held.saturating_add(batch.cost);
        let number = state.given;
        state.given += 1;
        state.waiting.push_back((number, batch));
        self.changed.notify_all();
        true
    }

    /// The next batch to be built, with its number; none if there will be none.
    pub(super) fn take_waiting(&self) -> Option<(usize, SegmentBatch)> {
        let mut state = self.wait_until(|state| state.is_closed || !state.waiting.is_empty());
        if state.is_stopped {
            return None;
        }
        state.waiting.pop_front()
    }

    /// Hands on what a batch has become.
    pub(super) fn put_built(&self, number: usize, cost: usize, built: BlockBatch) {
        let built = BlockBatch { cost, ..built };
        self.state().built.insert(number, built);
        self.changed.notify_all();
    }

    /// The blocks of the batch of that number; none if there is no such batch, or the queue was
    /// stopped.
    pub(super) fn take_built(&self, number: usize) -> Option<BlockBatch> {
        let is_there = |state: &QueueState| state.built.contains_key(&number);
        let mut state =
            self.wait_until(|state| is_there(state) || (state.is_closed && number >= state.given));
        if state.is_stopped {
            return None;
        }
        state.built.remove(&number)
    }

    /// Makes room: the batch is written.
    pub(super) fn written(&self, batch: BlockBatch) {
        let cost = batch.cost;
        drop(batch);
        let mut state = self.state();
        state.held = state.held.saturating_sub(cost);
        self.changed.notify_all();
    }

    /// Nothing more is given; what was given is built and written.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Lets all threads go at once.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.waiting.clear();
        state.built.clear();
        self.changed.notify_all();
    }

    /// Stops the queue if the thread panics before it drops what is given here: the others would
    /// wait for it.
    pub(super) const fn stopped_by_panic(&self) -> StoppedByPanic<'_> {
        StoppedByPanic(self)
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Or until the queue is stopped.
    fn wait_until(&self, holds: impl Fn(&QueueState) -> bool) -> MutexGuard<'_, QueueState> {
        let waited = self
            .changed
            .wait_while(self.state(), |state| !state.is_stopped && !holds(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of [`BatchQueue::stopped_by_panic`].
pub(super) struct StoppedByPanic<'a>(&'a BatchQueue);

impl Drop for StoppedByPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockRange;

    /// One that takes a MiB, it says.
    fn batch() -> SegmentBatch {
        SegmentBatch {
            cost: 1 << 20,
            ..SegmentBatch::default()
        }
    }

    #[test]
    fn a_batch_costs_its_content_and_its_blocks() {
        let segment = Segment {
            blocks: BlockRange::new(0, 100).unwrap(),
            len: 7,
            encoder: Some(0),
        };
        let mut batch = SegmentBatch::default();
        batch.push(segment, &[1; 7]);
        assert_eq!((batch.cost(), batch.is_full()), (409_607, false));
        batch.push(segment, &[1; 7]);
        assert!(batch.is_full());
    }

    #[test]
    fn more_is_given_once_there_is_room() {
        const GIVEN: usize = 10_000;
        let queue = BatchQueue::default();
        let fit = HELD / batch().cost();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..GIVEN {
                    assert!(queue.give(batch()));
                }
                queue.close();
            });
            for number in 0..GIVEN {
                // Nothing is taken before no more fits in.
                let is_full = |state: &QueueState| state.waiting.len() >= fit || state.given == GIVEN;
                assert!(queue.wait_until(is_full).held <= HELD, "at batch {number}");
                let (taken, batch) = queue.take_waiting().unwrap();
                assert_eq!(taken, number);
                queue.put_built(number, batch.cost(), BlockBatch::default());
                queue.written(queue.take_built(number).unwrap());
            }
            assert!(queue.take_waiting().is_none() && queue.take_built(GIVEN).is_none());
        });
        assert_eq!(queue.state().held, 0);
    }

    #[test]
    fn one_that_takes_more_than_all_may_is_taken_alone() {
        let mut batch = batch();
        batch.cost = usize::MAX;
        let queue = BatchQueue::default();
        assert!(queue.give(batch));
        assert_eq!(queue.state().held, usize::MAX);
    }

    #[test]
    fn blocks_are_taken_in_the_order_of_their_batches() {
        let queue = BatchQueue::default();
        for _ in 0..3 {
            assert!(queue.give(batch()));
        }
        for number in [2, 0, 1] {
            let runs = vec![(number as u64, 0)];
            let built = BlockBatch {
                runs,
                ..BlockBatch::default()
            };
            queue.put_built(number, 1, built);
        }
        let taken = [0, 1, 2].map(|number| queue.take_built(number).unwrap().runs[0].0);
        assert_eq!(taken, [0, 1, 2]);
    }

    #[test]
    fn a_queue_that_is_stopped_keeps_nobody() {
        let queue = BatchQueue::default();
        thread::scope(|scope| {
            let giver = scope.spawn(|| while queue.give(batch()) {});
            let encoder = scope.spawn(|| while queue.take_waiting().is_some() {});
            let writer = scope.spawn(|| queue.take_built(1 << 20).is_none());
            queue.stop();
            giver.join().unwrap();
            encoder.join().unwrap();
            assert!(writer.join().unwrap());
        });
    }
}
