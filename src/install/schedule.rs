//! Which operation may start now. Pure: it knows indices, not bytes or threads.
//!
//! ```text
//!            checkpointed          frontier                started
//!   ─────────────┼─────────────────────┼──────────────────────┼─────────────▶ operations, in manifest order
//!     never run  │ finished; run again │ in flight or         │ not begun
//!     again      │ after a cut         │ finished before time │
//! ```

use std::collections::BTreeMap;

use payload_format::{Operation, OperationKind, Replay};

const MIB: u64 = 1 << 20;

/// What a bzip2 decoder of the largest block size holds, with its output buffer.
const DECODER: u64 = 5 * MIB;

/// What an xz or zstd decoder remembers of its output, and what is copied at once, at most.
const WINDOW: u64 = 8 * MIB;

/// Bytes per block, as every generator has it.
const BLOCK: u64 = 4096;

/// What the decoder of a sane encoder's output remembers: no more than there is. Data that asks for more than
/// that, up to [`WINDOW`], was made to waste memory, by the trusted key that signed its hash.
fn window(operation: &Operation) -> u64 {
    operation.destination_blocks().saturating_mul(BLOCK).min(WINDOW)
}

/// Bytes of memory that running `operation` takes, its data included.
fn cost(operation: &Operation) -> u64 {
    let buffers = match operation.kind {
        OperationKind::Replace => 0,
        OperationKind::ReplaceBz => DECODER,
        OperationKind::ReplaceXz | OperationKind::ReplaceZstd => window(operation) + MIB,
        OperationKind::Zero | OperationKind::Discard => MIB,
        OperationKind::Move(_) | OperationKind::SourceCopy(_) => window(operation),
        // Control, difference and extra data are decoded side by side.
        OperationKind::Patch { .. } => 3 * DECODER,
    };
    // What overwrites its own source holds the result back until all is read.
    let held = if operation.replay == Replay::Never {
        16 * MIB
    } else {
        0
    };
    operation.data_len().saturating_add(buffers).saturating_add(held)
}

/// What has to happen before the next operation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
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
}

impl Schedule {
    /// Begins with operation `first`; everything below is on the medium.
    pub(super) const fn new(first: usize, memory_limit: u64) -> Self {
        Self {
            recorded: Some(first),
            candidate: None,
            started: first,
            in_flight: BTreeMap::new(),
            memory: 0,
            memory_limit,
        }
    }

    /// Whether `next`, the first operation that has not started, may.
    pub(super) fn verdict(&self, next: &Operation) -> Verdict {
        debug_assert_eq!(next.id.index(), self.started);
        // A candidate counts as if recorded: once it is, a cut repeats everything from there.
        let repeated_from = self.recorded.or(self.candidate);
        match (next.replay, repeated_from) {
            (Replay::Never, Some(_)) => {
                return if self.in_flight.is_empty() && self.candidate.is_none() {
                    Verdict::Withdraw
                } else {
                    Verdict::Wait
                };
            }
            (Replay::CheckpointPast(reader), Some(from)) if from <= reader.index() => {
                return Verdict::Checkpoint(reader.index() + 1);
            }
            _ => {}
        }
        let depends = next.after.is_some_and(|after| after.index() >= self.frontier());
        let full = !self.in_flight.is_empty() && self.memory.saturating_add(cost(next)) > self.memory_limit;
        if depends || full {
            Verdict::Wait
        } else {
            Verdict::Start
        }
    }

    /// `next` was handed to a worker.
    pub(super) fn start(&mut self, next: &Operation) {
        debug_assert_eq!(next.id.index(), self.started);
        self.started += 1;
        self.memory = self.memory.saturating_add(cost(next));
        self.in_flight.insert(next.id.index(), cost(next));
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
