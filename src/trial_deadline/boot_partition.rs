//! The boot partition, on which the kernels lie, where it is not mounted yet.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::disk::{self, SlotDisk, SlotName};
use crate::host::Host;
use crate::journal::chain;

const BOOT: &str = "/boot";
/// Options of the mount in the order of trial: by default the kernel wants a character set that
/// small initrds lack.
const OPTIONS: [Option<&str>; 2] = [None, Some("iocharset=ascii")];

/// What is mounted on `/boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Nothing,
    /// A file system would be mounted by whoever looks into it, with the help of systemd.
    OnDemand,
    FileSystem,
}

/// Why the kernel of `slot` can't be relied on, if it can't. Where `/boot` isn't mounted the disk's
/// EFI system partition is, read-only and for this look alone.
pub(super) fn missing_kernel(host: &Host, disk: &SlotDisk, slot: SlotName) -> Option<String> {
    let boot = if host.is_real() {
        on_boot(&fs::read_to_string(host.path("/proc/self/mountinfo")).unwrap_or_default())
    } else {
        Boot::FileSystem
    };
    if boot != Boot::OnDemand {
        let missing = disk::missing_kernel(host, slot);
        if missing.is_none() || boot == Boot::FileSystem {
            return missing;
        }
    }
    let partition = match disk.efi_partition() {
        Ok(Some(partition)) => partition,
        Ok(None) => {
            return Some(format!(
                "{BOOT} is not mounted, and the disk has no EFI system partition"
            ));
        }
        Err(error) => return Some(chain(&error)),
    };
    std::thread::scope(|scope| {
        // The mount namespace of a thread ends with it.
        let looking = scope.spawn(|| {
            mount_for_this_thread(&host.path(BOOT), &partition).map(|()| disk::missing_kernel(host, slot))
        });
        match looking.join() {
            Ok(Ok(missing)) => missing,
            Ok(Err(error)) => Some(format!("{} can't be mounted: {error}", partition.display())),
            Err(_) => Some(format!("{} can't be looked at", partition.display())),
        }
    })
}

/// What the topmost line of `/boot` in this mount table is.
fn on_boot(mountinfo: &str) -> Boot {
    let mut lines = mountinfo.lines().rev();
    let line = lines.find(|line| line.split(' ').nth(4) == Some(BOOT));
    let kind = line.and_then(|line| line.split_once(" - ")?.1.split(' ').next());
    match kind {
        None => Boot::Nothing,
        Some("autofs") => Boot::OnDemand,
        Some(_) => Boot::FileSystem,
    }
}

fn mount_for_this_thread(point: &Path, partition: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_PRIVATE | MsFlags::MS_REC,
        nothing,
    )?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let mut outcome = Ok(());
    for options in OPTIONS {
        outcome = mount(Some(partition), point, Some("vfat"), flags, options);
        if outcome.is_ok() {
            break;
        }
    }
    Ok(outcome?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_on_demand_is_none() {
        let on_demand = "30 22 0:27 / /boot rw,relatime shared:9 - autofs systemd-1 rw,fd=41\n";
        let mounted = "40 30 254:1 / /boot rw,relatime shared:11 - vfat /dev/vda1 rw\n";
        let other = "41 22 254:9 / /boot/other rw - ext4 /dev/vda9 rw\n";
        assert_eq!(on_boot(other), Boot::Nothing);
        assert_eq!(on_boot(on_demand), Boot::OnDemand);
        assert_eq!(on_boot(&format!("{on_demand}{mounted}{other}")), Boot::FileSystem);
    }
}
