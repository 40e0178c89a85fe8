//! Models of the programs that decide what boots, each after its own rules and none with our code:
//! what entries they see on a disk, which slot is chosen from them, and what they write before a
//! kernel starts.
//!
//! They are held to `states.txt`, which says what the real programs made of the same disks.

mod firmware;
pub(crate) mod grub;
mod linux;
pub(crate) mod power_on;
mod slot_loader;

pub(crate) use power_on::{Firmware, Outcome, Table, firmware_writes, grub_writes, power_on, put};

use crate::image::{ENTRY, USR, crc32};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Flatcar's GRUB on a BIOS machine, as it comes to the disk: it finds a slot (`gptprio.next`)
    /// and the partition that its kernel lies in (`part_gpt`).
    Grub,
    /// Linux without `gpt` on its command line: the primary or nothing; places aren't checked.
    Linux,
    /// Linux with `gpt`: then the backup to which the primary points, or that the last sector
    /// holds.
    LinuxGpt,
    /// UEFI firmware (EDK2): the primary, else the last sector; places aren't checked.
    Uefi,
    /// The slot loader, by what `docs/gpt.md` says of it: the primary with entries of its own, else
    /// the backup to which its header points, whether or not the two agree.
    SlotLoader,
}

pub(crate) const READERS: [Reader; 5] = [
    Reader::Grub,
    Reader::Linux,
    Reader::LinuxGpt,
    Reader::Uefi,
    Reader::SlotLoader,
];

/// The entries that `reader` works with, [`ENTRY`] bytes of each; `None` if it finds no table.
pub(crate) fn entries(disk: &[u8], sector: usize, reader: Reader) -> Option<Vec<u8>> {
    match reader {
        Reader::Grub => grub::entries(disk, sector),
        Reader::Linux => linux::entries(disk, sector, linux::Gpt::Unforced),
        Reader::LinuxGpt => linux::entries(disk, sector, linux::Gpt::Forced),
        Reader::Uefi => firmware::entries(disk, sector),
        Reader::SlotLoader => slot_loader::entries(disk, sector),
    }
}

/// The slot (3 or 4) that GRUB's rule chooses from `entries`.
pub(crate) fn chosen(entries: &[u8]) -> Option<usize> {
    let mut best: Option<(usize, u64)> = None;
    for (index, entry) in entries
        .chunks(ENTRY)
        .enumerate()
        .filter(|(_, entry)| entry[..16] == USR)
    {
        let word = u64::from_le_bytes(entry[48..56].try_into().unwrap());
        let (priority, bootable) = (word >> 48 & 15, word >> 52 & 31 != 0);
        if bootable && priority > best.map_or(0, |(_, priority)| priority) {
            best = Some((index + 1, priority));
        }
    }
    best.map(|(number, _)| number)
}

fn sectors(disk: &[u8], sector: usize) -> u64 {
    u64::try_from(disk.len() / sector).unwrap()
}

fn at(disk: &[u8], sector: usize, lba: u64, len: usize) -> Option<&[u8]> {
    let offset = usize::try_from(lba).ok()?.checked_mul(sector)?;
    disk.get(offset..offset.checked_add(len)?)
}

/// The fields of a header, whatever they are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    /// Bytes that the header says it has.
    length: u32,
    own: u64,
    other: u64,
    first: u64,
    last: u64,
    guid: [u8; 16],
    entries: u64,
    count: u32,
    size: u32,
    entries_crc: u32,
}

/// Bytes of the header that everybody knows.
const DEFINED: usize = 92;

/// How many bytes of a header its checksum is taken of.
#[derive(Debug, Clone, Copy)]
enum Summed {
    /// As many as it says.
    Length,
    /// The 92 that everybody knows.
    Defined,
}

impl Header {
    /// The header at `lba`, of the right signature, revision and checksum, that says it lies there.
    fn read(disk: &[u8], sector: usize, lba: u64, summed: Summed) -> Option<Self> {
        let bytes = at(disk, sector, lba, sector)?;
        let u32_at = |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
        let u64_at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        let length = u32_at(12);
        let covered = match summed {
            Summed::Length => usize::try_from(length).ok()?,
            Summed::Defined => DEFINED,
        };
        let mut covered = bytes.get(..covered)?.to_vec();
        covered.get_mut(16..20)?.fill(0);
        if &bytes[..8] != b"EFI PART" || crc32(&covered) != u32_at(16) || u64_at(24) != lba {
            return None;
        }
        Some(Self {
            length,
            own: u64_at(24),
            other: u64_at(32),
            first: u64_at(40),
            last: u64_at(48),
            guid: bytes[56..72].try_into().unwrap(),
            entries: u64_at(72),
            count: u32_at(80),
            size: u32_at(84),
            entries_crc: u32_at(88),
        })
    }

    /// The 92 bytes, with a checksum over `summed`, behind which zeros are taken to follow.
    fn bytes(&self, summed: Summed) -> Vec<u8> {
        let mut bytes = b"EFI PART".to_vec();
        bytes.extend(0x0001_0000_u32.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend([0; 8]);
        for value in [self.own, self.other, self.first, self.last] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(self.guid);
        bytes.extend(self.entries.to_le_bytes());
        for value in [self.count, self.size, self.entries_crc] {
            bytes.extend(value.to_le_bytes());
        }
        let mut covered = bytes.clone();
        if let Summed::Length = summed {
            covered.resize(usize::try_from(self.length).unwrap(), 0);
        }
        bytes[16..20].copy_from_slice(&crc32(&covered).to_le_bytes());
        bytes
    }

    fn array_len(&self) -> Option<usize> {
        let bytes = u64::from(self.count).checked_mul(self.size.into())?;
        usize::try_from(bytes).ok()
    }

    /// Whole sectors that the entries take.
    fn array_sectors(&self, sector: usize) -> Option<u64> {
        u64::try_from(self.array_len()?.div_ceil(sector)).ok()
    }

    /// The bytes of the entries, if their checksum is right.
    fn array(&self, disk: &[u8], sector: usize) -> Option<Vec<u8>> {
        let bytes = at(disk, sector, self.entries, self.array_len()?)?;
        (crc32(bytes) == self.entries_crc).then(|| bytes.to_vec())
    }

    /// [`ENTRY`] bytes of each entry in `array`.
    fn known(&self, array: &[u8]) -> Option<Vec<u8>> {
        let entries = array.chunks_exact(usize::try_from(self.size).ok()?);
        let known: Option<Vec<_>> = entries.map(|entry| entry.get(..ENTRY)).collect();
        Some(known?.concat())
    }
}

/// Types and first sectors of the partitions in the first sector of the disk, if it is signed or
/// whatever it says.
fn mbr_partitions(disk: &[u8]) -> impl Iterator<Item = (u8, u32)> + '_ {
    let records = disk.get(446..510).unwrap_or_default().chunks_exact(16);
    records.map(|record| (record[4], u32::from_le_bytes(record[8..12].try_into().unwrap())))
}

fn mbr_is_signed(disk: &[u8]) -> bool {
    disk.get(510..512) == Some(&[0x55, 0xaa])
}

/// The type of a partition that protects a table.
const PROTECTIVE: u8 = 0xee;
