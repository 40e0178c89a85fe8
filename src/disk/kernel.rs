//! The slots' kernels on the boot partition, which is mounted at `/boot`.

use super::SlotName;
use crate::host::{Host, Unreadable};
use crate::journal::chain;

/// Where the kernel of `slot` lies, an absolute path of `host`.
///
/// # Errors
/// When it can't be told which directory of `/boot` holds the kernels.
pub fn kernel_path(host: &Host, slot: SlotName) -> Result<String, Unreadable> {
    Ok(format!("{}/vmlinuz-{}", boot_directory(host)?, slot.letter()))
}

/// Why the kernel of `slot` can't be relied on, if it can't.
#[must_use]
pub fn missing_kernel(host: &Host, slot: SlotName) -> Option<String> {
    absent_kernel(host, slot).unwrap_or_else(|error| Some(chain(&error)))
}

/// Why there is no kernel of `slot`, if there is none.
///
/// # Errors
/// When that can't be told.
pub fn absent_kernel(host: &Host, slot: SlotName) -> Result<Option<String>, Unreadable> {
    let kernel = kernel_path(host, slot)?;
    let found = host.look_at(&kernel)?;
    let is_there = found.is_some_and(|file| file.is_file() && file.len() > 0);
    Ok((!is_there).then(|| format!("{slot} has no kernel at {kernel}")))
}

/// The directory of kernels: installations from before the distribution's change of name keep
/// theirs. If it can't be told which this is neither is written: a loader would take the other.
fn boot_directory(host: &Host) -> Result<&'static str, Unreadable> {
    for old in ["/boot/coreos/vmlinuz-a", "/boot/coreos/vmlinuz-b"] {
        if host.is_there(old)? {
            return Ok("/boot/coreos");
        }
    }
    Ok("/boot/flatcar")
}
