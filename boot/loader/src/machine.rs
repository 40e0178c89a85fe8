//! Interface of the loader to the firmware. Tests use a fake.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use slots::Disk;

use crate::letter::Letter;
use crate::watchdog::{Chipset, Sha256Digest};

/// Error of a machine's boot disk.
pub(crate) type DiskError<M> = <<M as Machine>::Disk as Disk>::Error;

/// A machine that is booting: its boot disk, the EFI system partition that the loader came from,
/// its console.
pub trait Machine {
    /// The whole disk on which that EFI system partition lies.
    type Disk: Disk;
    /// A kernel in memory, checked by the firmware and not started.
    type Kernel;
    /// Error of the firmware.
    type Error: Error + 'static;

    /// The boot disk.
    fn disk(&mut self) -> &mut Self::Disk;

    /// The first bytes of a file of the EFI system partition, at most `limit`; `None` if there is
    /// none. `path` starts with a backslash.
    ///
    /// # Errors
    /// If there is such a file and it can't be read.
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Self::Error>;

    /// SHA-256 digest of a file of the EFI system partition.
    ///
    /// # Errors
    /// If it can't be read, or isn't there.
    fn digest(&mut self, path: &str) -> Result<Sha256Digest, Self::Error>;

    /// Loads the file at `path` as an EFI application with `command_line` as its options.
    ///
    /// # Errors
    /// If it can't be read, isn't an application, or isn't trusted by the firmware.
    fn load(&mut self, path: &str, command_line: &str) -> Result<Self::Kernel, Self::Error>;

    /// Starts a kernel. Returns only if the kernel does, with its error.
    fn start(&mut self, kernel: Self::Kernel) -> Self::Error;

    /// Registers of the chipset; `None` on a processor without chipsets whose watchdog is known.
    fn chipset(&mut self) -> Option<&mut dyn Chipset>;

    /// Puts a line on the console.
    fn say(&mut self, line: fmt::Arguments<'_>);

    /// Path of a slot's kernel: the first that exists, if any.
    ///
    /// # Errors
    /// With the path of one that exists and can't be read. The others are not looked for then: they
    /// may hold an older kernel.
    fn kernel_path(&mut self, slot: Letter) -> Result<Option<String>, (String, Self::Error)> {
        for path in slot.kernels() {
            match self.read(&path, 1) {
                Ok(Some(_)) => return Ok(Some(path)),
                Ok(None) => {}
                Err(error) => return Err((path, error)),
            }
        }
        Ok(None)
    }

    /// Puts an error and its causes on the console as one line that starts with `what`.
    fn complain(&mut self, what: &str, error: &(dyn Error + 'static)) {
        let mut line = String::from(what);
        let mut next = Some(error);
        while let Some(error) = next {
            line.push_str(": ");
            line.push_str(&error.to_string());
            next = error.source();
        }
        self.say(format_args!("{line}"));
    }
}
