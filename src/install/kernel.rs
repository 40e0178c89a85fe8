//! The kernels on the boot partition: one file per slot, `vmlinuz-a` and `vmlinuz-b`.
//!
//! Legacy boot partitions have 128 MiB and no place for a third kernel, so that the target's file
//! is rewritten in place and nothing temporary is made. That is safe because its slot is unbootable
//! by then, and because the space is checked before: a full boot partition refuses an update, it
//! doesn't break one. The running slot's file is only ever opened for reading.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

/// Why a kernel can't be put on the boot partition.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It doesn't fit beside the running slot's.
    #[error(
        "{} needs {needed} blocks of {block_size} bytes and has {available}",
        path.display()
    )]
    NoSpace {
        /// The file that would be written.
        path: PathBuf,
        /// Blocks that the new kernel takes.
        needed: u64,
        /// Blocks that are free, with those of the file that it replaces.
        available: u64,
        /// Bytes per block of the file system.
        block_size: u64,
    },
    /// Reading or writing one of the files.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried: `reading`, `writing` …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl KernelError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Room on the file system that holds a kernel file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FreeSpace {
    /// Bytes per block, above 0.
    block_size: u64,
    /// Free blocks, with those of the file to be replaced.
    blocks: u64,
}

impl FreeSpace {
    /// The room for `path`, whose present content is given up.
    fn around(path: &Path) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let stat = statvfs(parent)?;
        let block_size = stat.fragment_size().max(1);
        let replaced = match fs::metadata(path) {
            Ok(meta) => meta.len().div_ceil(block_size),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        Ok(Self {
            block_size,
            blocks: stat.blocks_available().saturating_add(replaced),
        })
    }

    fn holds(self, size: u64) -> bool {
        size.div_ceil(self.block_size) <= self.blocks
    }
}

/// Checks that a kernel of `size` bytes fits at `path`, in place of what is there.
///
/// # Errors
/// [`KernelError::NoSpace`], or the file system can't be asked.
pub(super) fn require_space(path: &Path, size: u64) -> Result<(), KernelError> {
    let room = FreeSpace::around(path).map_err(KernelError::io("looking at the space for", path))?;
    if room.holds(size) {
        return Ok(());
    }
    Err(KernelError::NoSpace {
        path: path.to_owned(),
        needed: size.div_ceil(room.block_size),
        available: room.blocks,
        block_size: room.block_size,
    })
}

/// Checks that a kernel can be written at `path`, by permissions and by how its file system is mounted
/// now. Changes nothing.
///
/// # Errors
/// If not, or that can't be told.
pub(super) fn require_writable(path: &Path) -> Result<(), KernelError> {
    let writable = match access(path, AccessFlags::W_OK) {
        Err(Errno::ENOENT) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            access(parent, AccessFlags::W_OK | AccessFlags::X_OK)
        }
        writable => writable,
    };
    writable.map_err(|errno| KernelError::io("writing", path)(errno.into()))
}

/// Bytes of the largest kernel that fits at `path`, in place of what is there.
///
/// # Errors
/// The file system can't be asked.
pub(super) fn room(path: &Path) -> Result<u64, KernelError> {
    let room = FreeSpace::around(path).map_err(KernelError::io("looking at the space for", path))?;
    Ok(room.blocks.saturating_mul(room.block_size))
}

/// Size in bytes of the kernel at `path`; none if there is no such file.
///
/// # Errors
/// Any other reason why it can't be looked at.
pub(super) fn size(path: &Path) -> Result<Option<u64>, KernelError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(KernelError::io("looking at", path)(e)),
    }
}

/// Size in bytes of the kernel at `path`, which has to be there.
///
/// # Errors
/// If it isn't, or can't be looked at.
pub(super) fn require_size(path: &Path) -> Result<u64, KernelError> {
    fs::metadata(path)
        .map(|meta| meta.len())
        .map_err(KernelError::io("looking at", path))
}

/// Copies the running slot's kernel over the other slot's, for payloads that bring none: the file
/// of an older version would boot otherwise.
///
/// A cut leaves a partial file, under a slot that is unbootable.
///
/// # Errors
/// Reading, writing or syncing fails.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), KernelError> {
    let mut source = File::open(from).map_err(KernelError::io("reading", from))?;
    let mut target = rewritten(to, require_size(from)?)?;
    io::copy(&mut source, &mut target)
        .and_then(|_| sync_with_directory(&target, to))
        .map_err(KernelError::io("writing", to))
}

/// Opens `path` to be rewritten in place, `size` bytes long: made if missing, private to root as
/// the original leaves it.
///
/// # Errors
/// If it can't be opened or made as long.
pub(super) fn rewritten(path: &Path, size: u64) -> Result<File, KernelError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(KernelError::io("opening", path))?;
    file.set_len(size).map_err(KernelError::io("resizing", path))?;
    Ok(file)
}

/// Makes a file and its name durable.
pub(super) fn sync_with_directory(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Starts writing back and drops the pages of a part of `file`. A hint: a file system that keeps
/// them all the same is no reason to stop.
pub(super) fn forget(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return;
    };
    let _ = posix_fadvise(file, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}
