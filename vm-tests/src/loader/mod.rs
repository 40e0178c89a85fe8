//! Who picks the slot: the boundary between a machine that is switched on and its kernel.

mod model;
mod slot_loader;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use self::model::{Model, choose};
pub(crate) use self::slot_loader::SlotLoader;

use crate::disk::Disk;

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
    },
    /// UEFI firmware, which starts what it finds on the disk.
    Firmware {
        /// The firmware's code.
        code: PathBuf,
        /// Its variables; written to.
        variables: PathBuf,
    },
}

/// A boot loader: called each time the machine is switched on or reset.
pub(crate) trait Loader: Sync {
    /// Puts what the loader needs on a new disk.
    fn install(&self, disk: &Disk, scratch: &Path) -> Result<()>;

    /// Does what happens between power-on and the kernel, as far as that is not the machine's own
    /// work. Files go to `scratch`.
    ///
    /// # Errors
    /// When it is found out here that no slot can be booted.
    fn start(&self, disk: &Disk, scratch: &Path) -> Result<Start>;
}

/// What every kernel is told besides its slot. `panic=-1`: a panic is a reset, not a machine that
/// stands still. `no_timer_check`: on a busy host an emulated timer may come too late for the
/// kernel's check that it works, which ends in a panic of that kernel.
const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 no_timer_check loglevel=5 net.ifnames=0 systemd.show_status=0";
