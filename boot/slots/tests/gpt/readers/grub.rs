//! Flatcar's GRUB: `gptprio.next`, which chooses a slot and spends its try, and `part_gpt`, by
//! which a partition is found. They read the disk each for itself.

use super::power_on::{Write, whole_sector};
use super::{DEFINED, Header, PROTECTIVE, Summed, at, chosen, mbr_is_signed, mbr_partitions, sectors};
use crate::image::{ENTRY, crc32, word_of};

/// The partition in which the kernels and everything else of GRUB's lie.
const SYSTEM: usize = 1;
/// An array of entries has at least so many bytes, or isn't taken for one.
const ENTRIES_LEN: usize = 16 << 10;

/// A table whose copies both are in order, after a repair in memory.
struct Repaired {
    primary: Header,
    backup: Header,
    array: Vec<u8>,
}

/// The entries of the slot's choice, if `part_gpt` finds the partition with the kernels where they
/// say.
pub(super) fn entries(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let entries = chooses_from(disk, sector)?;
    finds(disk, sector, &system(&entries)?).then_some(entries)
}

/// The entries of the slot's choice, whether or not a partition will be found.
pub(crate) fn chooses_from(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let table = read(disk, sector)?;
    table.primary.known(&table.array)
}

/// Whether `part_gpt` finds this system partition.
pub(super) fn finds(disk: &[u8], sector: usize, wanted: &[u8]) -> bool {
    let found = partitions(disk, sector).and_then(|entries| system(&entries));
    found.as_deref() == Some(wanted)
}

/// Type, GUID and place of the system partition.
fn system(entries: &[u8]) -> Option<Vec<u8>> {
    let entry = entries.chunks_exact(ENTRY).nth(SYSTEM - 1)?;
    Some(entry[..48].to_vec())
}

/// What `part_gpt` takes for the entries: whatever the header of a protected disk points to. No
/// checksum is looked at, and no backup.
pub(crate) fn partitions(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    if !mbr_is_signed(disk) || !mbr_partitions(disk).any(|(kind, _)| kind == PROTECTIVE) {
        return None;
    }
    // It looks for the header where it lies for each size of a sector.
    let found = (0..7).map(|log| 512 << log).find(|&sector| {
        let header = at(disk, sector, 1, DEFINED);
        header.is_some_and(|header| header.starts_with(b"EFI PART"))
    });
    if found != Some(sector) {
        return None;
    }
    let header = at(disk, sector, 1, DEFINED)?;
    let u32_at = |offset: usize| u32::from_le_bytes(header[offset..offset + 4].try_into().unwrap());
    let lba = u64::from_le_bytes(header[72..80].try_into().unwrap());
    let (count, size) = (u32_at(80) as usize, u32_at(84) as usize);
    let array = at(disk, sector, lba, count.checked_mul(size)?)?;
    let entries = array.chunks_exact(size);
    Some(
        entries
            .filter_map(|entry| entry.get(..ENTRY))
            .collect::<Vec<_>>()
            .concat(),
    )
}

fn read(disk: &[u8], sector: usize) -> Option<Repaired> {
    let primary = Header::read(disk, sector, 1, Summed::Defined).filter(|header| is_primary(header, sector));
    let first = primary.as_ref().and_then(|header| header.array(disk, sector));
    let second = backup(disk, sector, primary.as_ref());
    let repaired = match (primary, first, second) {
        (Some(primary), Some(array), Some((backup, same))) if same == array => Repaired {
            primary,
            backup,
            array,
        },
        (Some(primary), Some(array), _) => made_of_primary(primary, array, sectors(disk, sector), sector)?,
        // A header that is trusted is equal to the backup's by now.
        (_, None, Some((backup, array))) => made_of_backup(backup, array),
        _ => return None,
    };
    let right = is_primary(&repaired.primary, sector) && is_backup(&repaired.backup, sector);
    right.then_some(repaired)
}

/// The backup at the place where the primary says, if that is trusted, else in the last sector.
fn backup(disk: &[u8], sector: usize, primary: Option<&Header>) -> Option<(Header, Vec<u8>)> {
    let lba = primary.map_or(sectors(disk, sector) - 1, |primary| primary.other);
    let backup = Header::read(disk, sector, lba, Summed::Defined)?;
    let in_sync = primary.is_none_or(|primary| {
        let expected = Header {
            own: primary.other,
            other: primary.own,
            entries: backup.entries,
            ..primary.clone()
        };
        backup == expected
    });
    if !is_backup(&backup, sector) || !in_sync {
        return None;
    }
    let array = backup.array(disk, sector)?;
    Some((backup, array))
}

/// The backup comes to the end of the disk if that has grown.
fn made_of_primary(mut primary: Header, array: Vec<u8>, sectors: u64, sector: usize) -> Option<Repaired> {
    primary.other = primary.other.max(sectors - 1);
    let backup = Header {
        own: primary.other,
        other: primary.own,
        entries: primary.other.checked_sub(primary.array_sectors(sector)?)?,
        ..primary
    };
    Some(Repaired {
        primary,
        backup,
        array,
    })
}

fn made_of_backup(backup: Header, array: Vec<u8>) -> Repaired {
    let primary = Header {
        own: backup.other,
        other: backup.own,
        entries: 2,
        ..backup
    };
    Repaired {
        primary,
        backup,
        array,
    }
}

/// What holds of a header of either copy.
fn is_header(header: &Header, sector: usize) -> bool {
    let length = usize::try_from(header.length).unwrap();
    let size = header.size;
    (DEFINED..=sector).contains(&length)
        && size >= 128
        && size.is_multiple_of(128)
        && (size / 128).is_power_of_two()
        && header.array_len().is_some_and(|len| len >= ENTRIES_LEN)
        && header.first <= header.last
}

fn array_end(header: &Header, sector: usize) -> Option<u64> {
    header.entries.checked_add(header.array_sectors(sector)?)
}

fn is_primary(header: &Header, sector: usize) -> bool {
    is_header(header, sector)
        && header.own == 1
        && header.entries > 1
        && array_end(header, sector).is_some_and(|end| end <= header.first)
        && header.other > header.last
}

fn is_backup(header: &Header, sector: usize) -> bool {
    is_header(header, sector)
        && header.other == 1
        && header.entries > header.last
        && array_end(header, sector).is_some_and(|end| end <= header.own)
}

/// What `gptprio.next` decides.
pub(super) struct Choice {
    pub(super) slot: usize,
    /// What it writes for that: nothing unless a try is spent, however damaged the table is; then
    /// backup header, backup entries, primary header and primary entries, in this order, each over
    /// what is there, without a flush.
    pub(super) writes: Vec<Write>,
    /// The partition that its kernel is looked for in.
    pub(super) system: Vec<u8>,
}

pub(super) fn choose(disk: &[u8], sector: usize) -> Option<Choice> {
    let table = read(disk, sector)?;
    let entries = table.primary.known(&table.array)?;
    let slot = chosen(&entries)?;
    let number = u8::try_from(slot).unwrap();
    let word = word_of(&entries, number);
    let tries = word >> 52 & 15;
    let writes = if tries > 0 {
        spend(disk, sector, table, slot, word - (1 << 52))
    } else {
        Vec::new()
    };
    Some(Choice {
        slot,
        writes,
        system: system(&entries)?,
    })
}

fn spend(disk: &[u8], sector: usize, mut table: Repaired, slot: usize, word: u64) -> Vec<Write> {
    let size = usize::try_from(table.primary.size).unwrap();
    table.array[(slot - 1) * size..][48..56].copy_from_slice(&word.to_le_bytes());
    let mut writes = Vec::new();
    for mut header in [table.backup, table.primary] {
        header.length = u32::try_from(DEFINED).unwrap();
        header.entries_crc = crc32(&table.array);
        if header.own < sectors(disk, sector) {
            let bytes = header.bytes(Summed::Defined);
            writes.push(whole_sector(disk, sector, header.own, &bytes));
            writes.push(whole_sector(disk, sector, header.entries, &table.array));
        }
    }
    writes
}
