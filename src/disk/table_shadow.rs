//! A shadow of a disk's partition table, for programs that switch slots by themselves: a loop
//! device that looks like the disk, with both copies of its table and nothing between them, and
//! whose writes go nowhere.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::ioctl::{self, LoopKind};
use super::sealed::loop_over;

/// Bytes at either end of the disk that are copied: both copies of a table, whatever its sectors.
const ENDS: u64 = 2 << 20;

/// A loop device in the likeness of a disk. The kernel frees it when its last user has closed it.
#[derive(Debug)]
pub struct TableShadow {
    disk: PathBuf,
    device: PathBuf,
    _device: File,
}

impl TableShadow {
    /// A shadow of `disk`, whose bytes are kept in memory: `scratch` is a path on a tmpfs.
    pub(super) fn of(disk: &Path, scratch: &Path) -> io::Result<Self> {
        let source = File::open(disk)?;
        let len = io::Seek::seek(&mut &source, io::SeekFrom::End(0))?;
        let sector = ioctl::sector_size(&source)?;
        if let Some(directory) = scratch.parent() {
            fs::create_dir_all(directory)?;
        }
        let copy = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(scratch)?;
        // Nobody needs its name, and nothing of it is to stay.
        fs::remove_file(scratch)?;
        copy.set_len(len)?;
        let ends = ENDS.min(len / 2);
        for start in [0, len - ends] {
            copy_range(&source, &copy, start, ends)?;
        }
        let (device, file) = loop_over(&copy, 0, len, LoopKind::Writable { sector })?;
        Ok(Self {
            disk: disk.to_path_buf(),
            device,
            _device: file,
        })
    }

    /// The disk in whose place it is to be seen.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// The loop device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }
}

fn copy_range(from: &File, to: &File, start: u64, len: u64) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    let mut done = 0;
    while done < len {
        let left = usize::try_from(len - done)
            .unwrap_or(piece.len())
            .min(piece.len());
        from.read_exact_at(&mut piece[..left], start + done)?;
        to.write_all_at(&piece[..left], start + done)?;
        done += left as u64;
    }
    Ok(())
}
