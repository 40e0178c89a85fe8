//! Everything that can be refused before the network is asked. Nothing here changes anything.

use std::sync::Arc;

use super::attempt::Attempt;
use super::{InstallError, KernelError, kernel, keys};
use crate::disk::BlockTarget;

/// Checks keys, slots and the boot partition; gives the target, opened exclusively.
///
/// # Errors
/// The first thing that is not as it must be.
pub(super) fn check(attempt: &Attempt) -> Result<Arc<dyn BlockTarget>, InstallError> {
    keys::trusted(&attempt.plan.public_keys)?;
    running_is_good(attempt)?;
    // The original copies the running kernel first, whatever the payload brings: as much has to fit.
    if let Some(size) = kernel_result(attempt, kernel::size(&attempt.path(&attempt.plan.source_kernel)))? {
        kernel_fits(attempt, size)?;
    }
    let slot = attempt.plan.target;
    attempt
        .site
        .slots
        .open_target(slot)
        .map_err(|source| InstallError::Open { slot, source })
}

/// The running slot boots without us.
///
/// # Errors
/// [`InstallError::RunningNotGood`].
pub(super) fn running_is_good(attempt: &Attempt) -> Result<(), InstallError> {
    let (slots, target) = (&attempt.site.slots, attempt.plan.target);
    slots
        .require_running_good(target)
        .map_err(|source| InstallError::RunningNotGood {
            running: slots.running(),
            target,
            source,
        })
}

/// A kernel of `size` bytes fits at the target's place.
///
/// # Errors
/// [`InstallError::Kernel`].
pub(super) fn kernel_fits(attempt: &Attempt, size: u64) -> Result<(), InstallError> {
    let target = attempt.path(&attempt.plan.target_kernel);
    kernel_result(attempt, kernel::require_space(&target, size))
}

/// Names both kernels beside what is wrong with them.
pub(super) fn kernel_result<T>(attempt: &Attempt, result: Result<T, KernelError>) -> Result<T, InstallError> {
    result.map_err(|source| InstallError::Kernel {
        from: attempt.path(&attempt.plan.source_kernel),
        to: attempt.path(&attempt.plan.target_kernel),
        source,
    })
}
