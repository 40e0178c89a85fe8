//! A sealed slot: read-only, for everybody, until it is dropped.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::ioctl::{self, LoopKind, WriteAccess};

/// How often a loop device is asked for: between learning its number and taking it, others may have
/// been faster.
const ATTEMPTS: usize = 16;

/// A slot made read-only at block level, so that not even mounting it can change it (a read-only
/// ext3 mount replays its journal). Undone on drop; unmount first.
#[derive(Debug)]
pub struct Sealed {
    device: PathBuf,
    held: ReadOnlyDevice,
}

#[derive(Debug)]
enum ReadOnlyDevice {
    /// A partition whose read-only flag we set.
    Partition(File),
    /// A read-only loop device: the kernel frees it when the last user closes it, be it after our
    /// death.
    Loop { _device: File },
}

impl Sealed {
    /// The partition `device`, made read-only. Whoever has it open for writing can still write.
    pub(super) fn partition(device: &Path) -> io::Result<Self> {
        let file = File::open(device)?;
        ioctl::set_access(&file, WriteAccess::ReadOnly)?;
        Ok(Self {
            device: device.to_path_buf(),
            held: ReadOnlyDevice::Partition(file),
        })
    }

    /// A read-only loop device over `len` bytes of `disk` from `start` on.
    pub(super) fn window(disk: &Path, start: u64, len: u64) -> io::Result<Self> {
        let image = File::open(disk)?;
        let (device, file) = loop_over(&image, (start, len), LoopKind::ReadOnly, |_| Ok(()))?;
        Ok(Self {
            device,
            held: ReadOnlyDevice::Loop { _device: file },
        })
    }

    /// Device node to mount: the partition itself, or a read-only loop device over an image.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if let ReadOnlyDevice::Partition(file) = &self.held
            && let Err(error) = ioctl::set_access(file, WriteAccess::ReadWrite)
        {
            tracing::warn!(device = %self.device.display(), %error, "slot stays read-only");
        }
    }
}

/// A loop device over so many bytes of `file`, from an offset on, and its node. Its number is told
/// `announce` before it is a device of anything.
pub(super) fn loop_over(
    file: &File,
    window: (u64, u64),
    kind: LoopKind,
    announce: impl Fn(u32) -> io::Result<()>,
) -> io::Result<(PathBuf, File)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    let mut taken = io::Error::other("no loop device");
    for _ in 0..ATTEMPTS {
        let number = ioctl::free_loop(&control)?;
        announce(number)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let writes = kind != LoopKind::ReadOnly;
        let device = OpenOptions::new().read(true).write(writes).open(&path)?;
        match ioctl::attach_loop(&device, file, window, kind) {
            Ok(()) => return Ok((path, device)),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

/// Takes back a read-only flag that a killed engine left on `device`.
pub(super) fn unseal(device: &Path) -> io::Result<()> {
    ioctl::set_access(&File::open(device)?, WriteAccess::ReadWrite)
}
