//! The schedule: which operation may start now. Pure: it knows indices, not bytes or threads.
//!
//! ```text
//!            checkpointed          frontier                started
//!   ─────────────┼─────────────────────┼──────────────────────┼─────────────▶ operations, in manifest order
//!     never run  │ finished; run again │ in flight or         │ not begun
//!     again      │ after a cut         │ finished before time │
//! ```

mod cost;

use std::collections::BTreeMap;

use payload_format::{Operation, Replay};

use cost::Costs;

/// What has to happen before the next operation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing: start it.
    Start,
    /// Something in flight has to finish.
    Wait,
    /// A checkpoint has to lie behind this many operations at least.
    Checkpoint(usize),
    /// The checkpoint has to be withdrawn, with nothing in flight: the operation can't be repeated.
    Withdraw,
}

/// The state of all operations.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Operations below are on the medium, and recorded as such; none after a withdrawal.
    recorded: Option<usize>,
    /// Operations below will be recorded, once they have finished and are on the medium.
    candidate: Option<usize>,
    /// Operations below have started.
    started: usize,
    /// What is in flight, with its cost.
    in_flight: BTreeMap<usize, u64>,
    /// Sum of the costs in flight.
    memory: u64,
    memory_limit: u64,
    costs: Costs,
}

impl Schedule {
    /// Begins with operation `first`; everything below is on the medium. Blocks have so many bytes.
    pub(super) const fn new(first: usize, memory_limit: u64, block: u64) -> Self {
        Self {
            recorded: Some(first),
            candidate: None,
            started: first,
            in_flight: BTreeMap::new(),
            memory: 0,
            memory_limit,
            costs: Costs::with_blocks_of(block),
        }
    }

    /// Whether `next`, the first operation that has not started, may.
    pub(super) fn verdict(&self, next: &Operation) -> Readiness {
        debug_assert_eq!(next.id.index(), self.started);
        // A candidate counts as if recorded: once it is, a cut repeats everything from there.
        let repeated_from = self.recorded.or(self.candidate);
        match (next.replay, repeated_from) {
            (Replay::Never, Some(_)) => {
                return if self.in_flight.is_empty() && self.candidate.is_none() {
                    Readiness::Withdraw
                } else {
                    Readiness::Wait
                };
            }
            (Replay::CheckpointPast(reader), Some(from)) if from <= reader.index() => {
                return Readiness::Checkpoint(reader.index() + 1);
            }
            _ => {}
        }
        let depends = next.after.is_some_and(|after| after.index() >= self.frontier());
        let full = !self.has_room(self.costs.of(next));
        if depends || full {
            Readiness::Wait
        } else {
            Readiness::Start
        }
    }

    /// Whether the data of `next`, which can't start yet perhaps, may be read.
    pub(super) fn may_read(&self, next: &Operation) -> bool {
        cost::data(next) <= cost::AHEAD || self.has_room(cost::data(next))
    }

    /// Whether so many bytes are left. One operation runs in any case: what it takes is bounded by
    /// itself.
    fn has_room(&self, bytes: u64) -> bool {
        self.in_flight.is_empty() || self.memory.saturating_add(bytes) <= self.memory_limit
    }

    /// `next` was handed to a worker.
    pub(super) fn start(&mut self, next: &Operation) {
        debug_assert_eq!(next.id.index(), self.started);
        self.started += 1;
        let cost = self.costs.of(next);
        self.memory = self.memory.saturating_add(cost);
        self.in_flight.insert(next.id.index(), cost);
    }

    /// A worker is done with `operation`.
    pub(super) fn finish(&mut self, operation: usize) {
        if let Some(cost) = self.in_flight.remove(&operation) {
            self.memory = self.memory.saturating_sub(cost);
        }
    }

    /// All operations below have finished.
    pub(super) fn frontier(&self) -> usize {
        self.in_flight
            .first_key_value()
            .map_or(self.started, |(&first, _)| first)
    }

    /// The first operation that has not started.
    pub(super) const fn next(&self) -> usize {
        self.started
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Operations below `next` shall be recorded.
    pub(super) fn propose(&mut self, next: usize) {
        debug_assert!(self.candidate.is_none() && next <= self.started);
        self.candidate = Some(next);
    }

    /// The candidate, if there is one, and whether all its operations have finished.
    pub(super) fn candidate(&self) -> Option<(usize, bool)> {
        self.candidate.map(|next| (next, next <= self.frontier()))
    }

    /// The candidate's operations are on the medium, and recorded as such.
    pub(super) const fn record(&mut self) {
        if let Some(next) = self.candidate.take() {
            self.recorded = Some(next);
        }
    }

    /// The candidate could not be recorded, and no checkpoint is left.
    pub(super) const fn abandon(&mut self) {
        self.candidate = None;
        self.recorded = None;
    }

    /// No checkpoint is left.
    pub(super) const fn withdraw(&mut self) {
        self.recorded = None;
    }
}

#[cfg(test)]
mod tests;
