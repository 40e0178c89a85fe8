//! Mount of a freshly written slot to run its postinst: read-only, without changing a byte of it.
//!
//! The slot's file system is tried as each of those that images use, in turn. A read-only mount
//! alone is not enough: ext3, ext4 and btrfs replay their journal even then, into a slot that has
//! just been verified, so they are told not to. (The device should be sealed at block level too.)

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

/// File systems in the order of trial, the original's first, with the option that keeps each from
/// replaying a journal.
const TRIALS: [(&str, Option<&str>); 6] = [
    ("ext2", None),
    ("ext3", Some("noload")),
    ("btrfs", Some("rescue=nologreplay")),
    ("ext4", Some("noload")),
    ("squashfs", None),
    ("erofs", None),
];

/// Error of mounting a slot.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel has this very file system mounted already (`EEXIST`): the slot holds the image that
    /// is running. Its programs are the ones under the running `/usr`.
    #[error("{device} holds the file system that is mounted already")]
    AlreadyMounted {
        /// The device that was to be mounted.
        device: PathBuf,
    },
    /// The kernel has a btrfs of the same identity mounted (`EEXIST`), and mounts only one of them. It
    /// isn't this image: one was made of the other by changing it, or their superblocks can't be read.
    #[error(
        "{device} has the UUID of a btrfs that is mounted and that is not known to be the same image: this kernel mounts only one of them"
    )]
    SameIdentity {
        /// The device that was to be mounted.
        device: PathBuf,
    },
    /// None of the known file systems could be mounted.
    #[error("{device} cannot be mounted: {}", MountAttempts(attempts))]
    Unmountable {
        /// The device that was to be mounted.
        device: PathBuf,
        /// Each file system tried, and the kernel's error.
        attempts: Vec<(&'static str, Errno)>,
    },
    /// The mount point could not be made.
    #[error("cannot make a mount point like {template}")]
    MountPoint {
        /// Pattern of its name.
        template: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The file system could not be unmounted, not even lazily.
    #[error("cannot unmount {path}")]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

struct MountAttempts<'a>(&'a [(&'static str, Errno)]);

impl std::fmt::Display for MountAttempts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (kind, errno)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}as {kind}: {}", errno.desc())?;
        }
        Ok(())
    }
}

/// A mounted slot; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    point: MountPoint,
}

impl Mounted {
    /// Mounts `device` (a device node) read-only on a new directory below the system's temporary
    /// one. Blocks while the device is read.
    ///
    /// # Errors
    /// [`MountError::AlreadyMounted`] when the running system is the same image,
    /// [`MountError::SameIdentity`] when it only has the same UUIDs; otherwise as named.
    pub fn new(device: &Path) -> Result<Self, MountError> {
        let point = MountPoint::new()?;
        let mut attempts = Vec::new();
        for (kind, options) in TRIALS {
            match mount(device, &point.path, kind, options) {
                Ok(()) => {
                    return Ok(Self {
                        point: point.mounted(),
                    });
                }
                Err(Errno::EEXIST) => {
                    let device = device.to_path_buf();
                    return Err(if is_mounted_btrfs(&device) {
                        MountError::AlreadyMounted { device }
                    } else {
                        MountError::SameIdentity { device }
                    });
                }
                Err(errno) => attempts.push((kind, errno)),
            }
        }
        Err(MountError::Unmountable {
            device: device.into(),
            attempts,
        })
    }

    /// Path of the mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }

    /// Leaves it mounted, for a process whose mount namespace ends with it.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        let path = self.point.path.clone();
        std::mem::forget(self);
        path
    }

    /// Unmounts and removes the mount point. A file system that something still uses is detached:
    /// it disappears from the tree now and is let go by its last user.
    ///
    /// # Errors
    /// When even detaching fails.
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.point.unmount()
    }
}

/// Shows this process, and what it starts, one node in place of another: the `.1` of each is seen
/// as its `.0`. Others see nothing of it.
///
/// # Errors
/// The call that the kernel refuses; some may be shown then.
pub fn show_in_place(shown: &[(PathBuf, PathBuf)]) -> Result<(), Errno> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    for (node, place) in shown {
        nix::mount::mount(Some(node), place, none, MsFlags::MS_BIND, none)?;
    }
    Ok(())
}

fn mount(device: &Path, on: &Path, kind: &str, options: Option<&str>) -> Result<(), Errno> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    nix::mount::mount(Some(device), on, Some(kind), flags, options)
}

/// Where btrfs keeps its superblock, and how long that is (btrfs on-disk format, "Superblock"). It
/// holds the generation and the place of the root tree, both of which any change moves.
const SUPERBLOCK: (u64, usize) = (64 * 1024, 4096);

fn superblock(device: &Path) -> io::Result<Vec<u8>> {
    let mut block = vec![0; SUPERBLOCK.1];
    File::open(device)?.read_exact_at(&mut block, SUPERBLOCK.0)?;
    Ok(block)
}

/// Whether a btrfs that is mounted has the superblock of `device`. What can't be read is another
/// one: its image must not be looked at in place of this one's.
fn is_mounted_btrfs(device: &Path) -> bool {
    let (Ok(own), Ok(table)) = (superblock(device), std::fs::read("/proc/self/mountinfo")) else {
        return false;
    };
    // … - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5)). Nobody's device has a blank in its name.
    table.split(|&byte| byte == b'\n').any(|line| {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [.., kind, source, _] = words.as_slice() else {
            return false;
        };
        *kind == b"btrfs" && superblock(Path::new(OsStr::from_bytes(source))).is_ok_and(|block| block == own)
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    FileSystem,
}

/// A directory of our own; removed when dropped, after what is mounted on it.
#[derive(Debug)]
struct MountPoint {
    path: PathBuf,
    holds: Holds,
}

impl MountPoint {
    fn new() -> Result<Self, MountError> {
        // The original's name for it, spelling included: scripts and log filters know it.
        let template = std::env::temp_dir().join("au_postint_mount.XXXXXX");
        let path = nix::unistd::mkdtemp(&template).map_err(|e| MountError::MountPoint {
            template,
            source: e.into(),
        })?;
        Ok(Self {
            path,
            holds: Holds::Nothing,
        })
    }

    fn mounted(mut self) -> Self {
        self.holds = Holds::FileSystem;
        self
    }

    fn unmount(&mut self) -> Result<(), MountError> {
        if std::mem::replace(&mut self.holds, Holds::Nothing) == Holds::Nothing {
            return Ok(());
        }
        nix::mount::umount(&self.path)
            .or_else(|_| nix::mount::umount2(&self.path, MntFlags::MNT_DETACH))
            .map_err(|e| MountError::Unmount {
                path: self.path.clone(),
                source: e.into(),
            })
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            tracing::warn!(%error, "a slot stays mounted");
        }
        // Never recursive: were the file system still there, its files would be the ones removed.
        if let Err(error) = std::fs::remove_dir(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a mount point stays");
        }
    }
}
