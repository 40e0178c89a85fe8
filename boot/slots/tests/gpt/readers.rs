//! Models of the programs that decide what boots, each after its own rules and none with our code: what
//! entries they see on a disk, and which slot is chosen from them.

use crate::image::{ENTRY, USR, crc32};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Flatcar's GRUB: places are checked; a backup that contradicts a trusted primary header is refused.
    Grub,
    /// Linux without `gpt` on its command line: the primary or nothing; places aren't checked.
    Linux,
    /// Linux with `gpt`: then the backup that the last sector holds.
    LinuxGpt,
    /// UEFI firmware (EDK2): the primary, else the last sector; places aren't checked.
    Uefi,
    /// The slot loader, by what `docs/gpt.md` says of it: the primary with entries of its own, else the backup
    /// to which its header points, whether or not the two agree.
    SlotLoader,
}

pub(crate) const READERS: [Reader; 5] = [
    Reader::Grub,
    Reader::Linux,
    Reader::LinuxGpt,
    Reader::Uefi,
    Reader::SlotLoader,
];

struct Header {
    own: u64,
    other: u64,
    first: u64,
    last: u64,
    entries: u64,
    count: u64,
    size: u64,
    entries_crc: u32,
    shared: Vec<u8>,
}

impl Header {
    fn array_sectors(&self, sector: usize) -> u64 {
        (self.count * self.size).div_ceil(u64::try_from(sector).unwrap())
    }
}

/// The entries that `reader` works with; `None` if it finds no table.
pub(crate) fn entries(disk: &[u8], sector: usize, reader: Reader) -> Option<Vec<u8>> {
    match reader {
        Reader::Grub => grub(disk, sector),
        Reader::Linux => plain(disk, sector, 1),
        Reader::LinuxGpt | Reader::Uefi => {
            plain(disk, sector, 1).or_else(|| plain(disk, sector, last_lba(disk, sector)))
        }
        Reader::SlotLoader => slot_loader(disk, sector),
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

fn last_lba(disk: &[u8], sector: usize) -> u64 {
    u64::try_from(disk.len() / sector - 1).unwrap()
}

fn at(disk: &[u8], sector: usize, lba: u64, len: usize) -> Option<&[u8]> {
    let offset = usize::try_from(lba).ok()?.checked_mul(sector)?;
    disk.get(offset..offset.checked_add(len)?)
}

fn header(disk: &[u8], sector: usize, lba: u64) -> Option<Header> {
    let bytes = at(disk, sector, lba, sector)?;
    let u32_at = |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
    let u64_at = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    let mut covered = bytes.get(..usize::try_from(u32_at(12)).ok()?)?.to_vec();
    covered.get_mut(16..20)?.fill(0);
    if &bytes[..8] != b"EFI PART" || crc32(&covered) != u32_at(16) || u64_at(24) != lba {
        return None;
    }
    let shared = [&bytes[8..16], &bytes[40..72], &bytes[80..92]].concat();
    Some(Header {
        own: u64_at(24),
        other: u64_at(32),
        first: u64_at(40),
        last: u64_at(48),
        entries: u64_at(72),
        count: u32_at(80).into(),
        size: u32_at(84).into(),
        entries_crc: u32_at(88),
        shared,
    })
}

fn array(disk: &[u8], sector: usize, header: &Header) -> Option<Vec<u8>> {
    let len = usize::try_from(header.count * header.size).ok()?;
    let bytes = at(disk, sector, header.entries, len)?;
    (crc32(bytes) == header.entries_crc).then(|| bytes.to_vec())
}

/// One copy, wherever its header says that its entries lie.
fn plain(disk: &[u8], sector: usize, lba: u64) -> Option<Vec<u8>> {
    let header = header(disk, sector, lba)?;
    if header.first > header.last || header.last > last_lba(disk, sector) || header.size != 128 {
        return None;
    }
    array(disk, sector, &header)
}

/// A copy's entries if they lie between its header and the partitions.
fn in_place(disk: &[u8], sector: usize, header: &Header) -> Option<Vec<u8>> {
    let end = header.entries.checked_add(header.array_sectors(sector))?;
    let right = if header.own == 1 {
        header.entries > 1 && end <= header.first && header.other > header.last
    } else {
        header.entries > header.last && end <= header.own && header.other == 1
    };
    let usable = 1 < header.first && header.first <= header.last && header.last <= last_lba(disk, sector);
    (right && usable && header.size == 128)
        .then(|| array(disk, sector, header))
        .flatten()
}

fn slot_loader(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let last = last_lba(disk, sector);
    let primary = header(disk, sector, 1);
    let pointed = primary.as_ref().map_or(last, |primary| primary.other);
    let lba = if (2..=last).contains(&pointed) {
        pointed
    } else {
        last
    };
    let own = primary.and_then(|primary| in_place(disk, sector, &primary));
    own.or_else(|| in_place(disk, sector, &header(disk, sector, lba)?))
}

fn grub(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let trusted = header(disk, sector, 1).filter(|primary| {
        let end = primary.entries + primary.array_sectors(sector);
        primary.entries > 1 && end <= primary.first && primary.other > primary.last
    });
    if let Some(entries) = trusted.as_ref().and_then(|primary| array(disk, sector, primary)) {
        return Some(entries);
    }
    let lba = trusted
        .as_ref()
        .map_or(last_lba(disk, sector), |primary| primary.other);
    let backup = header(disk, sector, lba)?;
    let placed = backup.other == 1
        && backup.entries > backup.last
        && backup.entries + backup.array_sectors(sector) <= backup.own;
    let in_sync = trusted.is_none_or(|primary| primary.shared == backup.shared);
    (placed && in_sync)
        .then(|| array(disk, sector, &backup))
        .flatten()
}
