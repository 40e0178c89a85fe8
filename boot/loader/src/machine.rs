//! Interface of the loader to the firmware. Tests use a fake.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use slots::Disk;

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

    /// Loads the file at `path` as an EFI application with `command_line` as its options.
    ///
    /// # Errors
    /// If it can't be read, isn't an application, or isn't trusted by the firmware.
    fn load(&mut self, path: &str, command_line: &str) -> Result<Self::Kernel, Self::Error>;

    /// Starts a kernel. Returns only if the kernel does, with its error.
    fn start(&mut self, kernel: Self::Kernel) -> Self::Error;

    /// Puts a line on the console.
    fn say(&mut self, line: fmt::Arguments<'_>);

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
