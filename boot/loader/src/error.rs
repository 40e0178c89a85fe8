//! Errors of booting a slot, and of booting any.

use alloc::string::String;
use core::error::Error;

use slots::{GptError, PartitionNumber};

use crate::command_line::CommandLineError;
use crate::letter::Letter;

/// Error for which a chosen slot is passed over. `D` is the disk's error, `E` the firmware's.
#[derive(Debug, thiserror::Error)]
pub enum PassedOver<D: Error + 'static, E: Error + 'static> {
    /// A partition of the slots' type that no kernel belongs to.
    #[error("partition {0} is neither USR-A nor USR-B, by label or PARTUUID")]
    Unknown(PartitionNumber),
    /// Without the try spent on the medium, a slot that hangs would be tried for ever.
    #[error("{slot} is on trial and its try cannot be spent")]
    TryNotSpent {
        /// The slot.
        slot: Letter,
        /// Error of the disk.
        source: GptError<D>,
    },
    /// Its kernel isn't on the EFI system partition.
    #[error("{0} has no kernel: {paths}", paths = Wanted(*.0))]
    NoKernel(Letter),
    /// Its kernel is there and the firmware doesn't read or load it.
    #[error("{path} cannot be loaded")]
    Unloadable {
        /// Path of the kernel file.
        path: String,
        /// Error of the firmware.
        source: E,
    },
    /// Its command line can't be made.
    #[error("{path} gets no command line")]
    CommandLine {
        /// Path of the kernel file.
        path: String,
        /// Error of the command line.
        source: CommandLineError,
    },
    /// The kernel ran and returned.
    #[error("{path} gave up")]
    Returned {
        /// Path of the kernel file.
        path: String,
        /// Status that it returned.
        source: E,
    },
}

/// The places where a kernel was looked for, as a sentence.
struct Wanted(Letter);

impl core::fmt::Display for Wanted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (position, path) in self.0.kernels().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "no {path}")?;
        }
        Ok(())
    }
}

/// Error for which the loader returns control to the firmware.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp<D: Error + 'static> {
    /// The boot disk has no table.
    #[error("the boot disk cannot be used")]
    NoTable(#[source] GptError<D>),
    /// No slot is left: none has a priority above 0 and either a try left or success, or those were
    /// passed over.
    #[error("no slot can be booted ({passed_over} passed over)")]
    NoSlot {
        /// Number of slots that were passed over.
        passed_over: usize,
    },
}
