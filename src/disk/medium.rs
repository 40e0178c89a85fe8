//! The medium of the `slots` crate: a disk image or a whole-disk device.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use slots::{Disk, Geometry, SectorSize};

use super::ioctl;
use super::lock::OpenDisk;
use super::target::forget;

/// The page cache drops nothing of a page that a range only touches, and a sector is less than a
/// page, a table's entries less than a page of 64 KiB. It may also hold some MiB in one piece.
const PIECE: u64 = 4 << 20;

/// What a path named as disk turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediumKind {
    /// A regular file.
    Image,
    /// A block device.
    Device,
}

/// An open disk. Reads bypass what the page cache remembers, so that after a failed sync we see
/// what the medium holds: each drops all of [`PIECE`] around what it reads.
#[derive(Debug)]
pub(super) struct Medium {
    file: OpenDisk,
    kind: MediumKind,
    geometry: Geometry,
}

impl Medium {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::measured(OpenDisk::Unlocked(File::open(path)?))
    }

    /// A disk that was opened for editing.
    pub(super) fn measured(file: OpenDisk) -> io::Result<Self> {
        let kind = kind_of(&file)?;
        let bytes = (&*file).seek(SeekFrom::End(0))?;
        let sector_size = match kind {
            MediumKind::Device => ioctl::sector_size(&file)?,
            MediumKind::Image => sector_size_of_image(&file, bytes),
        };
        let sector_size = SectorSize::new(sector_size)
            .ok_or_else(|| io::Error::other(format!("sectors of {sector_size} bytes")))?;
        let sectors = bytes / u64::from(sector_size.bytes());
        Ok(Self {
            file,
            kind,
            geometry: Geometry { sector_size, sectors },
        })
    }

    pub(super) fn kind(&self) -> MediumKind {
        self.kind
    }

    fn offset(&self, lba: u64) -> io::Result<u64> {
        lba.checked_mul(u64::from(self.geometry.sector_size.bytes()))
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("LBA {lba} is past every disk"),
                )
            })
    }
}

fn kind_of(file: &File) -> io::Result<MediumKind> {
    let kind = file.metadata()?.file_type();
    if kind.is_block_device() {
        Ok(MediumKind::Device)
    } else if kind.is_file() {
        Ok(MediumKind::Image)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither a block device nor a regular file",
        ))
    }
}

/// An image doesn't say how large its sectors are: the first header found in LBA 1 or the last LBA
/// does.
fn sector_size_of_image(file: &File, bytes: u64) -> u32 {
    let header_at = |offset: u64| {
        let mut signature = [0; 8];
        file.read_exact_at(&mut signature, offset).is_ok() && signature == *b"EFI PART"
    };
    let sizes = [512, 4096];
    let primary = sizes.into_iter().find(|&size| header_at(size));
    let backup = || {
        sizes
            .into_iter()
            .find(|&size| bytes.checked_sub(size).is_some_and(header_at))
    };
    match primary.or_else(backup) {
        Some(4096) => 4096,
        _ => 512,
    }
}

impl Disk for Medium {
    type Error = io::Error;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = self.offset(lba)?;
        let end = offset.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
        let start = offset - offset % PIECE;
        forget(
            &self.file,
            start,
            end.div_ceil(PIECE).saturating_mul(PIECE) - start,
        );
        self.file.read_exact_at(buf, offset)
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.offset(lba)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}
