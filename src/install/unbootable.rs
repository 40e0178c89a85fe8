//! The step that makes the other slot unbootable, right before its first byte is written: from here
//! on the node has one bootable slot.

use payload_format::Manifest;

use super::attempt::AttemptSetup;
use super::saved::Ledger;
use super::{InstallError, dirty_partitions, preflight};

/// Makes the other slot unbootable. After this its content may be written.
///
/// Order, and what a cut between leaves:
/// 1. the checkpoint of an earlier attempt is removed, unless this attempt resumes it: the slot as
///    it was;
/// 2. the partitions beside it that the payload brings are on record as torn
///    ([`dirty_partitions`]): the slot as it was;
/// 3. whoever waits for the slot is told otherwise (the node's own [`super::Slots`]), and it
///    becomes unbootable, in both copies of the table: a slot that is whole but not chosen;
/// 4. the first write: a torn slot, not chosen.
///
/// # Errors
/// If the running slot isn't good, kernels lie on another disk or can't be written by now, or any step
/// fails; nothing was written to the slot then.
pub(super) fn make_unbootable(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    metadata: &[u8],
    beginning: Beginning,
) -> Result<Ledger, InstallError> {
    preflight::running_is_good(attempt)?;
    preflight::kernels_are_on_own_disk(attempt)?;
    preflight::kernel_can_be_written(attempt)?;
    let ledger = match beginning {
        Beginning::Resumed => Ledger::resume(attempt, metadata),
        Beginning::Fresh => Ledger::begin(attempt, metadata).map_err(InstallError::State)?,
    };
    dirty_partitions::begin(attempt, manifest).map_err(InstallError::State)?;
    let slot = attempt.plan.target;
    attempt
        .site
        .slots
        .withdraw_and_make_unbootable(slot)
        .map_err(|source| InstallError::MakeUnbootable { slot, source })?;
    Ok(ledger)
}

/// Whether an attempt starts over or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// From the payload's first byte.
    Fresh,
    /// From a checkpoint.
    Resumed,
}
