//! The loader on real firmware.
//!
//! | topic | where |
//! |---|---|
//! | entry, panic, and every `unsafe` line but | [`raw`] |
//! | those of the chipset's registers, on x86-64 | `chipset` |
//! | the boot disk as [`slots::Disk`] | [`boot_disk`] |
//! | files of the EFI system partition | [`system_partition`] |
//! | all of it as [`crate::Machine`] | [`firmware`] |
//!
//! The loader touches one disk, the one that it was loaded from: Flatcar's PARTUUIDs are the same
//! on every disk, so that another one in the same machine may look just like it.

mod boot_disk;
#[cfg(target_arch = "x86_64")]
mod chipset;
mod error;
mod firmware;
mod raw;
mod system_partition;

use core::time::Duration;

use uefi::Status;

use crate::machine::Machine;
use firmware::Firmware;

/// Time for which the last line stays on the screen before the firmware draws its own.
const READING_TIME: Duration = Duration::from_secs(5);

/// Boots a slot. If none can be booted, returns the status with which the firmware goes on to its
/// next boot option.
fn run() -> Status {
    let mut firmware = match Firmware::new() {
        Ok(firmware) => firmware,
        Err(error) => {
            uefi::println!("slot-loader: {error}");
            uefi::boot::stall(READING_TIME);
            return Status::UNSUPPORTED;
        }
    };
    let reason = crate::boot(&mut firmware);
    firmware.complain("back to the firmware", &reason);
    uefi::boot::stall(READING_TIME);
    Status::NOT_FOUND
}
