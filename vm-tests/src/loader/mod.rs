//! Who picks the slot: the boundary between a machine that is switched on and its kernel.

mod model;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use self::model::Model;

use crate::disk::{Disk, Slot};

/// How QEMU is to start a machine.
pub(crate) enum Start {
    /// This kernel, right away: a loader's work has been done outside.
    Kernel {
        /// Linux.
        kernel: PathBuf,
        /// Its initrd.
        initrd: PathBuf,
        /// Its command line.
        command_line: String,
        /// The slot it belongs to.
        slot: Slot,
    },
}

/// A boot loader: called each time the machine is switched on or reset.
pub(crate) trait Loader {
    /// Does what happens between power-on and the kernel, as far as that is not the machine's own work. Files
    /// go to `scratch`.
    ///
    /// # Errors
    /// When no slot can be booted.
    fn start(&self, disk: &Disk, scratch: &Path) -> Result<Start>;
}

/// What every kernel is told besides its slot. `panic=-1`: a panic is a reset, not a machine that stands still.
pub(crate) const COMMAND_LINE: &str = "console=ttyS0 panic=-1 loglevel=5 net.ifnames=0 systemd.show_status=0";
