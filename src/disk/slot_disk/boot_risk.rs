//! Boot risks: shapes of a valid table that some loaders can't boot. Not all who read the table at
//! boot take the same ones, and GRUB writes it in a way that no order of ours makes safe. See
//! `docs/boot.md`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::SlotDisk;
use crate::disk::DiskError;
use crate::host::{Host, Unreadable};

const COMMAND_LINE: &str = "/proc/cmdline";
/// There on machines that UEFI firmware started.
const EFI: &str = "/sys/firmware/efi";

/// Bytes of entries below which GRUB takes no table.
const ENTRIES_FOR_GRUB: u32 = 16 << 10;
/// Bytes of the header that GRUB sums, whatever the header says.
const HEADER_FOR_GRUB: u32 = 92;
/// Bytes of an entry that Linux takes.
const ENTRY_FOR_LINUX: u32 = 128;

/// Why the node may not come up one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BootRisk {
    /// The firmware repairs nothing, and Linux looks at the primary alone.
    #[error(
        "BIOS firmware, GRUB, and no gpt on the kernel's command line: a power cut while GRUB spends a try can leave a \
         table in which Linux finds no partitions; set linux_append=\"$linux_append gpt\" in the grub.cfg of the OEM \
         partition"
    )]
    NoGptOption,
    /// A short array of entries.
    #[error("GRUB takes no partition table with less than 16384 bytes of entries, and this one has {0}")]
    FewEntries(u32),
    /// A header longer than the specification's.
    #[error("GRUB takes no partition table whose header is not 92 bytes long, and this one's has {0}")]
    LongHeader(u32),
    /// Entries longer than the specification's smallest.
    #[error("Linux takes no partition table whose entries are not 128 bytes long, and this one's have {0}")]
    LongEntries(u32),
    /// The first sector doesn't say that the disk has a GPT.
    #[error(
        "the disk has no valid protective MBR: GRUB finds no partition on it, nor does Linux unless gpt is on its \
         command line"
    )]
    NoProtectiveMbr,
}

/// What started this Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    /// GRUB says so on the command line.
    by_grub: bool,
    /// No UEFI firmware.
    by_bios: bool,
    /// Linux looks for the backup where the primary is damaged.
    with_gpt: bool,
}

impl Start {
    /// None where nobody says how Linux was started.
    fn of(host: &Host) -> Result<Option<Self>, Unreadable> {
        let Some(line) = host.read(COMMAND_LINE)? else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&line);
        // What follows is the first program's.
        let words = || line.split_ascii_whitespace().take_while(|word| *word != "--");
        Ok(Some(Self {
            by_grub: words().any(|word| word.starts_with("BOOT_IMAGE=")),
            by_bios: !host.is_there(EFI)?,
            with_gpt: words().any(|word| word == "gpt"),
        }))
    }
}

impl SlotDisk {
    /// What could keep this disk from booting on the machine that `host` is.
    ///
    /// # Errors
    /// When the table, the first sector or the command line can't be read.
    pub fn boot_risks(&self, host: &Host) -> Result<Vec<BootRisk>, DiskError> {
        let start = Start::of(host).map_err(|Unreadable { path, source }| DiskError::Open {
            path: path.into(),
            source,
        })?;
        let shape = self.read()?.gpt.table().shape();
        let entries = shape.entry_count.saturating_mul(shape.entry_bytes);
        let by_grub = start.is_some_and(|start| start.by_grub);
        let may_strand = start.is_some_and(|start| start.by_bios && !start.with_gpt);
        let is_protected = self.is_protected().map_err(|source| DiskError::Open {
            path: self.disk.clone(),
            source,
        })?;
        let risks = [
            (by_grub && may_strand, BootRisk::NoGptOption),
            (
                by_grub && entries < ENTRIES_FOR_GRUB,
                BootRisk::FewEntries(entries),
            ),
            (
                by_grub && shape.header_bytes != HEADER_FOR_GRUB,
                BootRisk::LongHeader(shape.header_bytes),
            ),
            (
                shape.entry_bytes != ENTRY_FOR_LINUX,
                BootRisk::LongEntries(shape.entry_bytes),
            ),
            (!is_protected, BootRisk::NoProtectiveMbr),
        ];
        let there = risks.into_iter().filter(|(is_there, _)| *is_there);
        Ok(there.map(|(_, risk)| risk).collect())
    }

    /// Whether the first sector is signed and has a partition of type 0xee that begins at the
    /// second.
    fn is_protected(&self) -> io::Result<bool> {
        let mut sector = [0; 512];
        File::open(&self.disk)?.read_exact_at(&mut sector, 0)?;
        let protects = |record: &[u8]| record[4] == 0xee && record[8..12] == [1, 0, 0, 0];
        Ok(sector.ends_with(&[0x55, 0xaa]) && sector[446..510].chunks_exact(16).any(protects))
    }
}
