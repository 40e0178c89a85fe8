//! The disk: Flatcar's partition numbers on a table built byte by byte, without the code under
//! test.

use std::ops::Range;
use std::sync::LazyLock;

pub(crate) const USR: [u8; 16] = [
    0xf4, 0xf5, 0xfb, 0x5d, 0x48, 0x28, 0xac, 0x4b, 0xaa, 0x5e, 0x0d, 0x9a, 0x20, 0xb7, 0x45, 0xa6,
];
pub(crate) const ENTRY: usize = 128;
const COUNT: usize = 128;

/// Bytes of a slot: an image and a tail that no image reaches.
pub(crate) const SLOT_LEN: usize = 272 << 10;
const SMALL: usize = 8 << 10;
/// Number and bytes of each partition, from `FIRST` on without a gap.
const PARTITIONS: [(u8, usize); 7] = [
    (1, SMALL),
    (2, SMALL),
    (3, SLOT_LEN),
    (4, SLOT_LEN),
    (6, SMALL),
    (7, SMALL),
    (9, SMALL),
];
const FIRST: usize = 32 << 10;
const BACKUP: usize = 24 << 10;

/// CRC-32 by a table of its own.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        std::array::from_fn(|byte| (0..8).fold(u32::try_from(byte).unwrap(), |crc, _| step(crc)))
    });
    let table = &*TABLE;
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
    })
}

/// Priority, tries and successful as an attribute word, with a foreign bit set.
pub(crate) const fn word(priority: u64, tries: u64, successful: u64) -> u64 {
    (priority << 48) | (tries << 52) | (successful << 56) | 4
}

/// Where partition `number` lies on the disk, in bytes.
pub(crate) fn place(number: u8) -> Range<usize> {
    let mut start = FIRST;
    for (other, len) in PARTITIONS {
        if other == number {
            return start..start + len;
        }
        start += len;
    }
    panic!("there is no partition {number}")
}

/// A disk whose slots hold `a` and `b`, with these attribute words; everything else is noise.
pub(crate) fn disk(sector: usize, words: (u64, u64), a: &[u8], b: &[u8]) -> Vec<u8> {
    let len = place(9).end + BACKUP;
    let mut disk: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
    for (number, image) in [(3, a), (4, b)] {
        let start = place(number).start;
        disk[start..start + image.len()].copy_from_slice(image);
    }
    protect(&mut disk);
    write_table(&mut disk, sector, &entries(sector, words));
    disk
}

/// Puts a protective MBR into the first sector.
fn protect(disk: &mut [u8]) {
    let mut records = [0; 64];
    records[1..8].copy_from_slice(&[0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    records[8..12].copy_from_slice(&1u32.to_le_bytes());
    records[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    disk[446..510].copy_from_slice(&records);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}

/// Writes both copies of a table with these entries.
fn write_table(disk: &mut [u8], sector: usize, entries: &[u8]) {
    let last = disk.len() / sector - 1;
    let array = entries.len().div_ceil(sector);
    for (own, other, at) in [(1, last, 2), (last, 1, last - array)] {
        let header = header(sector, [own, other, at], entries, last);
        disk[own * sector..][..sector].copy_from_slice(&header);
        disk[at * sector..][..entries.len()].copy_from_slice(entries);
    }
}

fn header(sector: usize, [own, other, at]: [usize; 3], entries: &[u8], last: usize) -> Vec<u8> {
    let array = entries.len().div_ceil(sector);
    let mut bytes = b"EFI PART".to_vec();
    bytes.extend(0x0001_0000_u32.to_le_bytes());
    bytes.extend(92u32.to_le_bytes());
    bytes.extend([0; 8]);
    for value in [own, other, 2 + array, last - array - 1] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0xd1; 16]);
    bytes.extend(at.to_le_bytes());
    for value in [COUNT, ENTRY] {
        bytes.extend(u32::try_from(value).unwrap().to_le_bytes());
    }
    bytes.extend(crc32(entries).to_le_bytes());
    let checksum = crc32(&bytes);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(sector, 0);
    bytes
}

fn entries(sector: usize, words: (u64, u64)) -> Vec<u8> {
    let mut entries = vec![0; COUNT * ENTRY];
    for (number, _) in PARTITIONS {
        let (kind, label, word) = match number {
            3 => (USR, "USR-A", words.0),
            4 => (USR, "USR-B", words.1),
            _ => ([0x11; 16], "OTHER", 0),
        };
        let Range { start, end } = place(number);
        let mut entry = kind.to_vec();
        entry.extend([number; 16]);
        entry.extend((start / sector).to_le_bytes());
        entry.extend((end / sector - 1).to_le_bytes());
        entry.extend(word.to_le_bytes());
        entry.extend(label.encode_utf16().flat_map(u16::to_le_bytes));
        let offset = (usize::from(number) - 1) * ENTRY;
        entries[offset..offset + entry.len()].copy_from_slice(&entry);
    }
    entries
}

/// The attribute word of partition `number`.
pub(crate) fn word_of(entries: &[u8], number: u8) -> u64 {
    let offset = (usize::from(number) - 1) * ENTRY + 48;
    u64::from_le_bytes(entries[offset..offset + 8].try_into().unwrap())
}

/// Whether a loader may choose a slot of this word.
pub(crate) fn is_selectable(word: u64) -> bool {
    word >> 48 & 15 != 0 && word >> 52 & 31 != 0
}

/// Whether a slot of this word is a fallback: no trial.
pub(crate) fn is_good(word: u64) -> bool {
    word >> 48 & 15 != 0 && word >> 56 & 1 != 0
}
