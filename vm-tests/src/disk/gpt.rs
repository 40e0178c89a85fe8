//! Independent implementation of partition tables, without any code of the daemon's.
//!
//! Source: UEFI specification, chapter "GUID Partition Table". A copy counts if its signature, its
//! place and both checksums are right. Sectors of 512 bytes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::{SECTOR, Slot, Standing};

const HEADER_LEN: usize = 92;
const ENTRY_LEN: usize = 128;
const ENTRIES: usize = 128;
const ENTRY_SECTORS: u64 = 32;
/// Type of a slot, as it lies on the disk.
const USR: [u8; 16] = [
    0xf4, 0xf5, 0xfb, 0x5d, 0x48, 0x28, 0xac, 0x4b, 0xaa, 0x5e, 0x0d, 0x9a, 0x20, 0xb7, 0x45, 0xa6,
];

/// Copy of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Sectors 1 to 33.
    Primary,
    /// The last 33 sectors.
    Backup,
}

/// A copy of the table that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
}

/// The sectors of a copy's header and entries.
pub(crate) fn sectors(disk: &File, which: Which) -> Result<(u64, u64)> {
    let sectors = disk.metadata()?.len() / SECTOR;
    ensure!(sectors > 67, "a disk of {sectors} sectors holds no table");
    Ok(match which {
        Which::Primary => (1, 2),
        Which::Backup => (sectors - 1, sectors - 1 - ENTRY_SECTORS),
    })
}

impl Table {
    /// Reads and checks a copy.
    pub(crate) fn read(disk: &File, which: Which) -> Result<Self> {
        let (at, _) = sectors(disk, which)?;
        let mut header = vec![0; HEADER_LEN];
        disk.read_exact_at(&mut header, at * SECTOR)?;
        ensure!(&header[..8] == b"EFI PART", "no signature");
        ensure!(
            u64_at(&header, 24) == at,
            "the header belongs to sector {}",
            u64_at(&header, 24)
        );
        let shape = (u32_at(&header, 12), u32_at(&header, 80), u32_at(&header, 84));
        ensure!(
            shape == (92, 128, 128),
            "header, entries and entry have unusual sizes: {shape:?}"
        );
        let sum = u32_at(&header, 16);
        let mut blank = header.clone();
        blank[16..20].fill(0);
        ensure!(crc32(&blank) == sum, "the header's checksum is wrong");
        let mut entries = vec![0; ENTRY_LEN * ENTRIES];
        disk.read_exact_at(&mut entries, u64_at(&header, 72) * SECTOR)?;
        ensure!(
            crc32(&entries) == u32_at(&header, 88),
            "the entries' checksum is wrong"
        );
        Ok(Self { header, entries })
    }

    /// Writes the table as a copy, with the addresses and checksums that go with it.
    pub(crate) fn write(&self, disk: &File, which: Which) -> Result<()> {
        let (at, entries_at) = sectors(disk, which)?;
        let other = match which {
            Which::Primary => Which::Backup,
            Which::Backup => Which::Primary,
        };
        let (other_at, _) = sectors(disk, other)?;
        let mut header = self.header.clone();
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[32..40].copy_from_slice(&other_at.to_le_bytes());
        header[72..80].copy_from_slice(&entries_at.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&self.entries).to_le_bytes());
        header[16..20].fill(0);
        let sum = crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk.write_all_at(&self.entries, entries_at * SECTOR)?;
        disk.write_all_at(&header, at * SECTOR)?;
        disk.sync_all().context("cannot sync the disk")
    }

    /// Whether both describe the same partitions.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.entries == other.entries
    }

    /// Attributes of `slot`; `None` if its partition is no slot.
    pub(crate) fn standing(&self, slot: Slot) -> Option<Standing> {
        let entry = &self.entries[self.entry(slot)..][..ENTRY_LEN];
        // The three fields are the low nine bits of the seventh and eighth byte.
        let (low, high) = (entry[54], entry[55]);
        (entry[..16] == USR).then_some(Standing {
            priority: low & 0xf,
            tries: low >> 4,
            successful: high & 1 == 1,
        })
    }

    /// Sets the attributes of `slot`.
    pub(crate) fn set_standing(&mut self, slot: Slot, standing: Standing) {
        let at = self.entry(slot);
        self.entries[at + 54] = standing.priority | standing.tries << 4;
        self.entries[at + 55] = self.entries[at + 55] & !1 | u8::from(standing.successful);
    }

    #[allow(clippy::unused_self)]
    fn entry(&self, slot: Slot) -> usize {
        let before = match slot {
            Slot::A => 2,
            Slot::B => 3,
        };
        before * ENTRY_LEN
    }
}

/// The table of a disk: the primary, or else the backup.
pub(crate) fn read(disk: &File) -> Result<Table> {
    match (
        Table::read(disk, Which::Primary),
        Table::read(disk, Which::Backup),
    ) {
        (Ok(table), _) | (Err(_), Ok(table)) => Ok(table),
        (Err(primary), Err(backup)) => bail!("no partition table: primary: {primary}; backup: {backup}"),
    }
}

/// Writes both copies, the backup first.
pub(crate) fn write(disk: &File, table: &Table) -> Result<()> {
    table.write(disk, Which::Backup)?;
    table.write(disk, Which::Primary)
}

/// Sets the attributes of a slot of the disk at `path`.
pub(crate) fn set_standing(path: &Path, slot: Slot, standing: Standing) -> Result<()> {
    let disk = File::options().read(true).write(true).open(path)?;
    let mut table = read(&disk)?;
    table.set_standing(slot, standing);
    write(&disk, &table)
}

/// Makes a copy unreadable: header and entries are overwritten.
pub(crate) fn destroy(path: &Path, which: Which) -> Result<()> {
    let disk = File::options().read(true).write(true).open(path)?;
    let (header, entries) = sectors(&disk, which)?;
    for (at, count) in [(header, 1), (entries, 32)] {
        disk.write_all_at(&vec![0xa5; 512 * count], at * SECTOR)?;
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The checksum of the specification: CRC-32 of Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
