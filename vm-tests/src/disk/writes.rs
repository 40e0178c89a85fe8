//! Recording of all writes to a disk, in order: QEMU's `blklogwrites`, whose format is that
//! of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
//!
//! Applied one by one to the disk as it was at the beginning, the writes give every state that a
//! power cut could have left on a disk that keeps their order.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::SECTOR;

const MAGIC: u64 = 0x006a_7366_7773_6872;
/// Flag of a discard, which has no data.
const DISCARD: u64 = 4;

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// The sectors written, none for a mere flush.
    pub(crate) sectors: Range<u64>,
    /// Offset of the data in the recording; `None` for a discard.
    data: Option<u64>,
}

impl Write {
    /// Whether it changes any of these sectors.
    pub(crate) fn touches(&self, sectors: &Range<u64>) -> bool {
        self.sectors.start < sectors.end && sectors.start < self.sectors.end
    }
}

/// A finished recording.
pub(crate) struct Recording {
    file: File,
    /// What was written, first to last.
    pub(crate) writes: Vec<Write>,
}

impl Recording {
    /// Reads the headers; the data stays where it is.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (len, mut at, mut writes) = (file.metadata()?.len(), SECTOR, Vec::new());
        let [magic, version, ..] = words(&file, 0)?;
        ensure!(
            magic == MAGIC && version == 1,
            "{} is no recording",
            path.display()
        );
        while at + SECTOR <= len {
            let [start, count, flags, _] = words(&file, at)?;
            let data = (flags & DISCARD == 0).then_some(at + SECTOR);
            writes.push(Write {
                sectors: start..start + count,
                data,
            });
            at += SECTOR + data.map_or(0, |_| count * SECTOR);
        }
        Ok(Self { file, writes })
    }

    /// Carries a write out on `disk`.
    pub(crate) fn apply(&self, write: &Write, disk: &File) -> Result<()> {
        let Some(data) = write.data else { return Ok(()) };
        let len = (write.sectors.end - write.sectors.start) * SECTOR;
        let mut bytes = vec![0; usize::try_from(len)?];
        self.file.read_exact_at(&mut bytes, data)?;
        Ok(disk.write_all_at(&bytes, write.sectors.start * SECTOR)?)
    }
}

fn words(file: &File, at: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at)?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    Ok(words)
}
