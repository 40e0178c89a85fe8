//! The boot partition, on which the kernels lie, where it is not mounted yet.

use std::error::Error;
use std::fs;
use std::io;
use std::iter::successors;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::disk::{self, SlotDisk, SlotName};
use crate::host::{Host, Unreadable};
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

/// The kernel of the slot that is to boot after a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernel {
    /// It is there.
    There,
    /// It isn't, in a sentence.
    Missing(String),
    /// That can't be told.
    Unknown {
        /// Why not.
        why: String,
        /// Whether that was no answer of the medium: this machine had nothing left to look with.
        is_silence: bool,
    },
    /// Nobody has looked.
    NotLookedAt,
}

impl Kernel {
    fn of(found: Result<Option<String>, Unreadable>) -> Self {
        match found {
            Ok(None) => Self::There,
            Ok(Some(missing)) => Self::Missing(missing),
            Err(error) => Self::unknown(&error, None),
        }
    }

    /// Whether nothing has answered.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self, Self::Unknown { is_silence: true, .. })
    }

    /// For `error`, of a look at `partition`.
    fn unknown(error: &(dyn Error + 'static), partition: Option<&Path>) -> Self {
        let why = match partition {
            Some(partition) => format!("{} can't be looked at: {}", partition.display(), chain(error)),
            None => chain(error),
        };
        let is_silence = is_exhaustion(error);
        Self::Unknown { why, is_silence }
    }
}

/// The kernel of `slot`. Where `/boot` isn't mounted the disk's EFI system partition is, read-only and
/// for this look alone: nobody can mount it for writing until it is unmounted again.
pub(super) fn kernel(host: &Host, disk: &SlotDisk, slot: SlotName) -> Kernel {
    let boot = boot(host);
    if boot != Boot::OnDemand {
        let found = Kernel::of(disk::absent_kernel(host, slot));
        if boot == Boot::FileSystem || found == Kernel::There {
            return found;
        }
    }
    let partition = match disk.efi_partition() {
        Ok(Some(partition)) => partition,
        Ok(None) => {
            return Kernel::Missing(format!(
                "{BOOT} is not mounted, and the disk has no EFI system partition"
            ));
        }
        Err(error) => return Kernel::unknown(&error, None),
    };
    std::thread::scope(|scope| {
        // The mount namespace of a thread ends with it.
        let looking = std::thread::Builder::new().spawn_scoped(scope, || look_into(host, &partition, slot));
        match looking.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(Ok(found))) => Kernel::of(found),
            Ok(Ok(Err(error))) => Kernel::unknown(&error, Some(&partition)),
            // Whatever its code: the machine has no thread to look with.
            Err(error) => Kernel::Unknown {
                why: format!("no thread can be started: {error}"),
                is_silence: true,
            },
            Ok(Err(_)) => Kernel::unknown(&io::Error::other("the look ended early"), Some(&partition)),
        }
    })
}

/// The same for a caller that only asks, and mounts nothing: if `/boot` isn't mounted, the kernel counts
/// as there.
pub(super) fn kernel_if_mounted(host: &Host, _: &SlotDisk, slot: SlotName) -> Kernel {
    if boot(host) == Boot::FileSystem {
        Kernel::of(disk::absent_kernel(host, slot))
    } else {
        Kernel::There
    }
}

/// Looks for the kernel of `slot` on `partition`, mounted for this thread.
fn look_into(
    host: &Host,
    partition: &Path,
    slot: SlotName,
) -> io::Result<Result<Option<String>, Unreadable>> {
    let point = host.path(BOOT);
    mount_for_this_thread(&point, partition)?;
    let found = disk::absent_kernel(host, slot);
    // The end of the namespace would unmount it as well, a while after the thread's.
    if umount2(&point, MntFlags::empty()).is_err() {
        let _ = umount2(&point, MntFlags::MNT_DETACH);
    }
    Ok(found)
}

/// What is mounted on the boot directory of `host`; of a directory that stands for a machine all is.
fn boot(host: &Host) -> Boot {
    if host.is_real() {
        on_boot(&fs::read_to_string(host.path("/proc/self/mountinfo")).unwrap_or_default())
    } else {
        Boot::FileSystem
    }
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

/// Whether memory or file descriptors have run out, by the error or one of its causes.
pub(super) fn is_exhaustion(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| {
        let of_system = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        let errno = of_system
            .map(Errno::from_raw)
            .or_else(|| error.downcast_ref().copied());
        matches!(errno, Some(Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE))
    })
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
    fn who_has_nothing_left_to_look_with_has_seen_no_error_of_the_medium() {
        let found = |errno: Errno| {
            let path = "/boot/flatcar/vmlinuz-a".to_owned();
            let source = errno.into();
            Kernel::of(Err(Unreadable { path, source }))
        };
        assert!(found(Errno::ENOMEM).is_silence());
        assert!(found(Errno::EMFILE).is_silence());
        assert!(!found(Errno::EIO).is_silence());
        assert!(!Kernel::NotLookedAt.is_silence());
    }

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
