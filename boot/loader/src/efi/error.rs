//! Errors of the firmware.

use uefi::Status;

/// Error of the firmware, or a firmware that lacks what the loader needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FirmwareError {
    /// The loader was loaded from a network or from memory.
    #[error("not loaded from a partition of a disk: there is no boot disk to look for slots on")]
    NotFromDisk,
    /// The disk's sectors aren't those of a GPT disk.
    #[error("the boot disk has sectors of {0} bytes, which no GPT disk has")]
    SectorSize(u32),
    /// Text that the firmware's character set can't represent.
    #[error("a path or command line is no UCS-2 text")]
    Text,
    /// The device path of a file doesn't fit the firmware's sizes.
    #[error("the device path gets too long")]
    DevicePath,
    /// A call failed.
    #[error("{call}: {status}")]
    Call {
        /// Name of the call.
        call: &'static str,
        /// Status that the firmware returned.
        status: Status,
    },
    /// The kernel ran and returned.
    #[error("it returned {0}")]
    Returned(Status),
}

impl FirmwareError {
    /// For `map_err` of calls that are named `call`.
    pub(crate) fn of<T: core::fmt::Debug>(call: &'static str) -> impl Fn(uefi::Error<T>) -> Self {
        move |error| Self::Call {
            call,
            status: error.status(),
        }
    }
}
