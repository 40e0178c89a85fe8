//! The budget of a patch: how much work it may make of what it yields. Patches run before any
//! signature of them is seen.
//!
//! `bsdiff` begins a step only for a match that is 9 bytes long at least, so that it makes one for
//! each 9 bytes at most. Measured: 70 bytes for each step between files that have nothing in
//! common, and some 700 between two builds of one program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::PatchError;

/// Bytes that a patch's steps yield, on average, at least.
const BYTES_OF_A_STEP: u64 = 8;

/// Steps that any patch may have beside these, for those that yield nothing. `bsdiff` makes next to
/// none.
pub(super) const IDLE_STEPS: u64 = 1024;

/// Bytes that all steps of an image yield, on average, at least; ...
const BYTES_OF_ALL: u64 = 16;

/// ... and steps that any image may have beside these.
const FEW_STEPS: u64 = 1 << 16;

/// Bytes of a bzip2 block that may be more than is wanted.
const SLACK: u64 = 1024;

/// Steps of a patch whose result has so many bytes, at most.
pub(super) const fn steps(result_len: u64) -> u64 {
    result_len / BYTES_OF_A_STEP + IDLE_STEPS
}

/// Bytes of a block of which no more than `wanted` are: bzip2 writes four equal bytes as five.
pub(super) fn block(wanted: u64) -> usize {
    let longest = wanted.saturating_add(wanted / 4).saturating_add(SLACK);
    usize::try_from(longest).unwrap_or(usize::MAX)
}

/// Steps that are left to all patches of one image. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct StepBudget(Arc<AtomicU64>);

impl StepBudget {
    /// For operations that write so many bytes together.
    pub(crate) fn for_image(made: u64) -> Self {
        Self(Arc::new(AtomicU64::new(made / BYTES_OF_ALL + FEW_STEPS)))
    }

    pub(super) fn take(&self) -> Result<(), PatchError> {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| PatchError::Budget)
    }
}
