//! Disk images with Flatcar's partition numbers, built byte by byte without the crate under test.

use std::sync::LazyLock;

use slots::SlotAttributes;

pub(crate) const USR: [u8; 16] = [
    0xf4, 0xf5, 0xfb, 0x5d, 0x48, 0x28, 0xac, 0x4b, 0xaa, 0x5e, 0x0d, 0x9a, 0x20, 0xb7, 0x45, 0xa6,
];
pub(crate) const ENTRY: usize = 128;
pub(crate) const COUNT: usize = 128;
const PARTITIONS: [u32; 7] = [1, 2, 3, 4, 6, 7, 9];
const PARTITION_SECTORS: u64 = 8;
const FIRST_PARTITION: u64 = 72;
pub(crate) const SECTORS: u64 = 256;

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

/// `priority`, `tries`, `successful` as an attribute word, with a foreign bit set.
pub(crate) fn word(priority: u64, tries: u64, successful: u64) -> u64 {
    (priority << 48) | (tries << 52) | (successful << 56) | 4
}

pub(crate) fn attributes(priority: u64, tries: u64, successful: u64) -> SlotAttributes {
    SlotAttributes::from_word(word(priority, tries, successful))
}

/// How large headers and entries are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) header: usize,
    pub(crate) count: usize,
    pub(crate) size: usize,
}

/// As everybody makes them.
pub(crate) const USUAL: Shape = Shape {
    header: 92,
    count: COUNT,
    size: ENTRY,
};

/// A whole disk: slots are partitions 3 (A, as given) and 4 (B, as given); every other byte is
/// noise.
pub(crate) fn build(sector: usize, a: u64, b: u64) -> Vec<u8> {
    shaped(sector, USUAL, a, b)
}

/// The same with headers and entries of this shape.
pub(crate) fn shaped(sector: usize, shape: Shape, a: u64, b: u64) -> Vec<u8> {
    let mut disk: Vec<u8> = (0..usize::try_from(SECTORS).unwrap() * sector)
        .map(|i| (i % 251).to_le_bytes()[0])
        .collect();
    protect(&mut disk);
    let entries: Vec<u8> = entries(a, b)
        .chunks(ENTRY)
        .take(shape.count)
        .flat_map(|entry| [entry, &vec![0; shape.size - ENTRY]].concat())
        .collect();
    place_shaped(&mut disk, sector, shape, &entries, 1, SECTORS - 1);
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

/// The same disk with nothing but zeros between the primary's entries and the first partition.
pub(crate) fn with_gap(disk: &[u8], sector: usize) -> Vec<u8> {
    let mut disk = disk.to_vec();
    // As many entries of whatever size as the header says.
    let header = &disk[sector..];
    let [count, size] = [80, 84].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()));
    let array = usize::try_from(count * size).unwrap().next_multiple_of(sector);
    let first = usize::try_from(FIRST_PARTITION).unwrap();
    disk[2 * sector + array..first * sector].fill(0);
    disk
}

/// Writes both copies; the backup's header at `backup`.
pub(crate) fn place(disk: &mut [u8], sector: usize, entries: &[u8], primary: u64, backup: u64) {
    place_shaped(disk, sector, USUAL, entries, primary, backup);
}

fn place_shaped(disk: &mut [u8], sector: usize, shape: Shape, entries: &[u8], primary: u64, backup: u64) {
    let array = u64::try_from(entries.len().div_ceil(sector)).unwrap();
    let usable = (2 + array, SECTORS - 2 - array);
    let backup_entries = backup - array;
    for (own, other, at) in [(primary, backup, primary + 1), (backup, primary, backup_entries)] {
        let header = header(sector, shape, (own, other, at), usable, crc32(entries));
        put(disk, sector, own, &header);
        put(disk, sector, at, entries);
    }
}

pub(crate) fn put(disk: &mut [u8], sector: usize, lba: u64, bytes: &[u8]) {
    let offset = usize::try_from(lba).unwrap() * sector;
    disk[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn header(
    sector: usize,
    shape: Shape,
    place: (u64, u64, u64),
    usable: (u64, u64),
    entries_crc: u32,
) -> Vec<u8> {
    let mut bytes = b"EFI PART".to_vec();
    bytes.extend(0x0001_0000_u32.to_le_bytes());
    bytes.extend(u32::try_from(shape.header).unwrap().to_le_bytes());
    bytes.extend([0; 8]);
    for value in [place.0, place.1, usable.0, usable.1] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0xd1; 16]);
    bytes.extend(place.2.to_le_bytes());
    for value in [shape.count, shape.size] {
        bytes.extend(u32::try_from(value).unwrap().to_le_bytes());
    }
    bytes.extend(entries_crc.to_le_bytes());
    bytes.resize(shape.header, 0);
    let checksum = crc32(&bytes);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(sector, 0);
    bytes
}

pub(crate) fn entries(a: u64, b: u64) -> Vec<u8> {
    let mut entries = vec![0; COUNT * ENTRY];
    for (index, number) in PARTITIONS.into_iter().enumerate() {
        let first = FIRST_PARTITION + PARTITION_SECTORS * u64::try_from(index).unwrap();
        let (kind, label, word) = match number {
            3 => (USR, "USR-A", a),
            4 => (USR, "USR-B", b),
            _ => ([0x11; 16], "OTHER", 0),
        };
        let mut entry = kind.to_vec();
        entry.extend([number.to_le_bytes()[0]; 16]);
        for value in [first, first + PARTITION_SECTORS - 1, word] {
            entry.extend(value.to_le_bytes());
        }
        entry.extend(label.encode_utf16().flat_map(u16::to_le_bytes));
        let offset = (usize::try_from(number).unwrap() - 1) * ENTRY;
        entries[offset..offset + entry.len()].copy_from_slice(&entry);
    }
    entries
}

/// The attribute word of partition `number`.
pub(crate) fn word_of(entries: &[u8], number: u8) -> u64 {
    let offset = (usize::from(number) - 1) * ENTRY + 48;
    u64::from_le_bytes(entries[offset..offset + 8].try_into().unwrap())
}
