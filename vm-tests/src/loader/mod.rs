//! Boot loaders: everything between the power-on of a machine and its kernel.

mod model;
mod slot_loader;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use self::model::{Model, choose};
pub(crate) use self::slot_loader::SlotLoader;

use crate::architecture::Architecture;
use crate::disk::Disk;

/// What the loader replaces by the slot's PARTUUID.
const PARTUUID: &str = "@PARTUUID@";
/// What it replaces by the root hash in the slot's kernel.
const USRHASH: &str = "@USRHASH@";

/// Start of a machine by QEMU.
pub(crate) enum Start {
    /// Direct start of this kernel: the runner has done the loader's work.
    Kernel {
        /// Linux.
        kernel: PathBuf,
        /// Its initrd.
        initrd: PathBuf,
        /// Its command line.
        command_line: String,
    },
    /// UEFI firmware, which starts the loader on the disk.
    Firmware {
        /// The firmware's code.
        code: PathBuf,
        /// Its variables; written to.
        variables: PathBuf,
    },
}

/// A boot loader: called each time the machine is switched on or reset.
pub(crate) trait Loader: Sync {
    /// Writes the loader's files to a new disk.
    fn install(&self, disk: &Disk, scratch: &Path, architecture: Architecture) -> Result<()>;

    /// Whether it arms watchdogs.
    fn arms_watchdogs(&self) -> bool {
        false
    }

    /// Does the loader's work between power-on and the kernel, as far as the machine doesn't do it
    /// itself. Files go to `scratch`.
    ///
    /// # Errors
    /// If no slot can be booted, and that is found out here.
    fn start(&self, disk: &Disk, scratch: &Path, architecture: Architecture) -> Result<Start>;
}

/// The kernel's command line as the loader finds it. Where slots are mounted through dm-verity it has places for what
/// differs between them; else the loader puts the slot at its end.
///
/// `panic=-1`: a panic is a reset, not a machine that stands still. `no_timer_check`: on a busy host an emulated timer may
/// come too late for the kernel's check that it works, which ends in a panic of that kernel.
fn command_line(architecture: Architecture, disk: &Disk) -> String {
    let usr = if disk.is_guarded() {
        format!(" mount.usr=/dev/mapper/usr verity.usr=PARTUUID={PARTUUID} verity.usrhash={USRHASH}")
    } else {
        String::new()
    };
    format!(
        "console={} panic=-1 no_timer_check loglevel=5 net.ifnames=0 systemd.show_status=0{usr}",
        architecture.console()
    )
}
