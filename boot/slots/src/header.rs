//! The header of one copy of the table.
//!
//! ```text
//!  0        8         12      16    20  24      32         40      48     56         72       80     84    88    92
//!  +--------+---------+-------+-----+---+-------+----------+-------+------+----------+--------+------+-----+-----+
//!  |EFI PART|revision |length |crc  | 0 |own LBA|other LBA |first  |last  |disk GUID |entries |number|size |crc  |
//!  |        |         |       |     |   |       |          |usable |usable|          |LBA     |of them each|of them
//!  +--------+---------+-------+-----+---+-------+----------+-------+------+----------+--------+------+-----+-----+
//! ```
//! All little-endian. The checksum at 16 covers `length` bytes with itself as zero; the rest of the
//! sector is reserved.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::copy::WhichCopy;
use crate::crc::crc32;
use crate::disk::{Geometry, SectorSize};
use crate::error::Flaw;
use crate::partition::field;

const SIGNATURE: [u8; 8] = *b"EFI PART";
const REVISION: u32 = 0x0001_0000;
/// The part of the header that the specification defines.
const DEFINED: usize = 92;
const CHECKSUM: Range<usize> = 16..20;
/// An array of entries larger than this is an attack on memory: common tables have 16 KiB.
const MAX_ENTRIES_BYTES: usize = 1 << 20;
/// Where every primary header lies.
pub(crate) const PRIMARY_LBA: u64 = 1;

/// Where the primary's entries lie when nothing valid says otherwise.
pub(crate) const DEFAULT_ENTRIES_LBA: u64 = 2;

/// Where a copy of the table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its header.
    pub(crate) own: u64,
    /// The other copy's header.
    pub(crate) other: u64,
    /// Its entries.
    pub(crate) entries: u64,
}

/// What both copies share, and the place of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) place: Place,
    pub(crate) first_usable: u64,
    pub(crate) last_usable: u64,
    pub(crate) disk_guid: [u8; 16],
    pub(crate) entry_count: u32,
    pub(crate) entry_size: u32,
    pub(crate) entries_crc: u32,
    /// Bytes past the defined part that the header's length covers.
    extra: Vec<u8>,
}

impl Header {
    /// The header in `sector`, read at `lba`. Its place is not yet checked against the disk's size.
    pub(crate) fn decode(sector: &[u8], lba: u64) -> Result<Self, Flaw> {
        let defined: &[u8; DEFINED] = sector.first_chunk().ok_or(Flaw::NoSignature { lba })?;
        let u32_at = |offset| u32::from_le_bytes(field(defined, offset));
        let u64_at = |offset| u64::from_le_bytes(field(defined, offset));
        if field(defined, 0) != SIGNATURE {
            return Err(Flaw::NoSignature { lba });
        }
        let covered = checksummed(sector, u32_at(12), u32_at(CHECKSUM.start))?;
        if u32_at(8) != REVISION {
            return Err(Flaw::Revision(u32_at(8)));
        }
        if u64_at(24) != lba {
            return Err(Flaw::HeaderPlace {
                lba,
                says: u64_at(24),
            });
        }
        Ok(Self {
            place: Place {
                own: lba,
                other: u64_at(32),
                entries: u64_at(72),
            },
            first_usable: u64_at(40),
            last_usable: u64_at(48),
            disk_guid: field(defined, 56),
            entry_count: u32_at(80),
            entry_size: u32_at(84),
            entries_crc: u32_at(88),
            extra: covered[DEFINED..].to_vec(),
        })
    }

    /// The whole sector, checksum included; reserved bytes are zero.
    pub(crate) fn encode(&self, sector: SectorSize) -> Vec<u8> {
        let length = DEFINED + self.extra.len();
        let mut bytes = vec![0; sector.in_memory()];
        let mut put =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &SIGNATURE);
        put(8, &REVISION.to_le_bytes());
        // At most one sector: checked when it was decoded.
        put(12, &u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        put(24, &self.place.own.to_le_bytes());
        put(32, &self.place.other.to_le_bytes());
        put(40, &self.first_usable.to_le_bytes());
        put(48, &self.last_usable.to_le_bytes());
        put(56, &self.disk_guid);
        put(72, &self.place.entries.to_le_bytes());
        put(80, &self.entry_count.to_le_bytes());
        put(84, &self.entry_size.to_le_bytes());
        put(88, &self.entries_crc.to_le_bytes());
        put(DEFINED, &self.extra);
        let checksum = crc32(&bytes[..length]);
        bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Bytes that the checksum covers.
    pub(crate) fn length(&self) -> u32 {
        // At most one sector: checked when it was decoded.
        u32::try_from(DEFINED + self.extra.len()).unwrap_or(u32::MAX)
    }

    /// Refuses sizes that would cost memory and places that aren't this copy's.
    pub(crate) fn check(&self, copy: WhichCopy, disk: Geometry) -> Result<(), Flaw> {
        self.check_entries_size()?;
        self.check_usable(disk)?;
        let own = self.own_sectors(copy, disk);
        let entries = self.place.entries;
        let sectors = self.entries_sectors(disk.sector_size);
        let end = entries.checked_add(sectors).ok_or(Flaw::EntriesPlace {
            lba: entries,
            sectors,
        })?;
        let limits = match copy {
            WhichCopy::Primary => PRIMARY_LBA + 1..own.end,
            WhichCopy::Backup => own.start..self.place.own,
        };
        if entries < limits.start || end > limits.end {
            return Err(Flaw::EntriesPlace {
                lba: entries,
                sectors,
            });
        }
        let other = self.place.other;
        let plausible = match copy {
            WhichCopy::Primary => other > self.last_usable,
            WhichCopy::Backup => other == PRIMARY_LBA,
        };
        if plausible {
            Ok(())
        } else {
            Err(Flaw::AlternatePlace { lba: other })
        }
    }

    fn check_entries_size(&self) -> Result<(), Flaw> {
        let (count, size) = (self.entry_count, self.entry_size);
        if !(128..=4096).contains(&size) || !size.is_power_of_two() {
            return Err(Flaw::EntrySize(size));
        }
        if self.entries_len() == 0 || self.entries_len() > MAX_ENTRIES_BYTES {
            return Err(Flaw::EntryCount { count, size });
        }
        Ok(())
    }

    fn check_usable(&self, disk: Geometry) -> Result<(), Flaw> {
        let (first, last, sectors) = (self.first_usable, self.last_usable, disk.sectors);
        if first <= PRIMARY_LBA || first > last || last >= sectors {
            return Err(Flaw::Usable { first, last, sectors });
        }
        Ok(())
    }

    /// Bytes of the entries; `usize::MAX` if they don't fit memory.
    pub(crate) fn entries_len(&self) -> usize {
        let bytes = u64::from(self.entry_count) * u64::from(self.entry_size);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Whole sectors that the entries take.
    pub(crate) fn entries_sectors(&self, sector: SectorSize) -> u64 {
        (u64::from(self.entry_count) * u64::from(self.entry_size)).div_ceil(u64::from(sector.bytes()))
    }

    /// The sectors that belong to the table on this copy's side of the disk: no partition may lie
    /// there.
    pub(crate) fn own_sectors(&self, copy: WhichCopy, disk: Geometry) -> Range<u64> {
        match copy {
            WhichCopy::Primary => 0..self.first_usable,
            WhichCopy::Backup => self.last_usable.saturating_add(1)..disk.sectors,
        }
    }

    /// The same table at another place.
    pub(crate) fn at(&self, place: Place) -> Self {
        Self {
            place,
            ..self.clone()
        }
    }

    /// The same table with other entries.
    pub(crate) fn vouching_for(&self, entries_crc: u32) -> Self {
        Self {
            entries_crc,
            ..self.clone()
        }
    }

    /// The same table with more room before its partitions, or as much as before.
    pub(crate) fn starting_at(&self, first_usable: u64) -> Self {
        Self {
            first_usable,
            ..self.clone()
        }
    }

    /// The same table with more room for its partitions.
    pub(crate) fn ending_at(&self, last_usable: u64) -> Self {
        Self {
            last_usable,
            ..self.clone()
        }
    }

    /// This primary as it was before a commit that was cut put its entries into a spare array, if
    /// one did: the header then ends its own sectors right behind that array, and the backup's says
    /// where they really end.
    pub(crate) fn without_spare(&self, backup: &Self, sector: SectorSize) -> Option<Self> {
        let whole = self.starting_at(backup.first_usable);
        let entries = self.entries_range(sector);
        let is_spare = entries.start >= DEFAULT_ENTRIES_LBA + self.entries_sectors(sector)
            && self.first_usable == entries.end
            && self.first_usable != backup.first_usable
            && whole.vouching_for(backup.entries_crc).same_table(backup);
        is_spare.then_some(whole)
    }

    /// The sectors in which the entries lie.
    pub(crate) fn entries_range(&self, sector: SectorSize) -> Range<u64> {
        let start = self.place.entries;
        start..start.saturating_add(self.entries_sectors(sector))
    }

    /// Whether both describe the same table, wherever they lie.
    pub(crate) fn same_table(&self, other: &Self) -> bool {
        self.at(other.place) == *other
    }
}

/// The bytes that the header's checksum covers, once it is right.
fn checksummed(sector: &[u8], length: u32, stored: u32) -> Result<&[u8], Flaw> {
    let covered = usize::try_from(length)
        .ok()
        .filter(|&length| length >= DEFINED)
        .and_then(|length| sector.get(..length))
        .ok_or(Flaw::HeaderSize(length))?;
    let mut zeroed = covered.to_vec();
    zeroed[CHECKSUM].fill(0);
    let computed = crc32(&zeroed);
    if stored == computed {
        Ok(covered)
    } else {
        Err(Flaw::HeaderChecksum { stored, computed })
    }
}
