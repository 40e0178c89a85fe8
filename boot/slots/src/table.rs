//! One checked copy of the table.

use alloc::vec::Vec;

use crate::attributes::SlotAttributes;
use crate::choice::{Choice, choose};
use crate::copy::WhichCopy;
use crate::crc::crc32;
use crate::disk::{Disk, Geometry};
use crate::error::{Flaw, LayoutFlaw};
use crate::guid::Guid;
use crate::header::{Header, Place};
use crate::partition::{ATTRIBUTES, Partition, PartitionNumber};

/// A partition table whose checksums, bounds and sizes are right. Edits stay in memory until
/// [`Gpt::commit`](crate::Gpt::commit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(crate) header: Header,
    /// Whole sectors; what follows the last entry is kept.
    pub(crate) entries: Vec<u8>,
}

/// How long the parts of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the header that its checksum covers.
    pub header_bytes: u32,
    /// Number of entries, used or not.
    pub entry_count: u32,
    /// Bytes of each.
    pub entry_bytes: u32,
}

impl Table {
    /// The table whose header was read, with its entries.
    pub(crate) fn read<D: Disk>(disk: &mut D, header: Header, copy: WhichCopy) -> Result<Self, Flaw> {
        let geometry = disk.geometry();
        header.check(copy, geometry)?;
        let sectors = header.entries_sectors(geometry.sector_size);
        // Bounded by the header's check.
        let len = usize::try_from(sectors).unwrap_or(0) * geometry.sector_size.in_memory();
        let mut entries = alloc::vec![0; len];
        let lba = header.place.entries;
        disk.read(lba, &mut entries)
            .map_err(|_| Flaw::Unreadable { lba })?;
        let table = Self { header, entries };
        let (stored, computed) = (table.header.entries_crc, crc32(table.used()));
        if stored == computed {
            Ok(table)
        } else {
            Err(Flaw::EntriesChecksum { stored, computed })
        }
    }

    /// The bytes that the checksum covers.
    fn used(&self) -> &[u8] {
        &self.entries[..self.header.entries_len().min(self.entries.len())]
    }

    /// The disk's GUID.
    #[must_use]
    pub fn disk_guid(&self) -> Guid {
        Guid::from_bytes(self.header.disk_guid)
    }

    /// How long header and entries are. We take all that the specification allows; not all other
    /// readers do.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            header_bytes: self.header.length(),
            entry_count: self.header.entry_count,
            entry_bytes: self.header.entry_size,
        }
    }

    /// Every used entry, in order.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let size = usize::try_from(self.header.entry_size).unwrap_or(usize::MAX);
        self.used()
            .chunks_exact(size)
            .zip(1..)
            .filter_map(|(bytes, number)| Partition::parse(PartitionNumber::new(number)?, bytes))
    }

    /// The partition `number`, if it is used.
    #[must_use]
    pub fn partition(&self, number: PartitionNumber) -> Option<Partition> {
        Partition::parse(number, self.entry(number)?)
    }

    fn entry(&self, number: PartitionNumber) -> Option<&[u8]> {
        let size = usize::try_from(self.header.entry_size).ok()?;
        self.used().chunks_exact(size).nth(number.index())
    }

    /// The partition `number`, if it lies inside the usable sectors and shares none of them: safe
    /// to write to.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn slot(&self, number: PartitionNumber) -> Result<Partition, LayoutFlaw> {
        let slot = self.partition(number).ok_or(LayoutFlaw::Missing(number))?;
        let (first, last) = (slot.first_lba, slot.last_lba);
        if first > last || first < self.header.first_usable || last > self.header.last_usable {
            return Err(LayoutFlaw::Outside { number, first, last });
        }
        match self
            .partitions()
            .find(|other| other.number != number && other.overlaps(&slot))
        {
            Some(other) => Err(LayoutFlaw::Overlap {
                number,
                other: other.number,
            }),
            None => Ok(slot),
        }
    }

    /// What a loader boots among the partitions of type `kind`: see [`choose`].
    #[must_use]
    pub fn choose(&self, kind: Guid) -> Option<Choice<PartitionNumber>> {
        let slots = self.partitions().filter(|partition| partition.kind == kind);
        choose(slots.map(|slot| (slot.number, slot.attributes)))
    }

    /// Replaces the attribute word of partition `number`, and nothing else.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn set_attributes(
        &mut self,
        number: PartitionNumber,
        attributes: SlotAttributes,
    ) -> Result<(), LayoutFlaw> {
        if self.partition(number).is_none() {
            return Err(LayoutFlaw::Missing(number));
        }
        let size = usize::try_from(self.header.entry_size).unwrap_or(usize::MAX);
        let entry = self
            .entries
            .chunks_exact_mut(size)
            .nth(number.index())
            .ok_or(LayoutFlaw::Missing(number))?;
        entry[ATTRIBUTES].copy_from_slice(&attributes.word().to_le_bytes());
        self.header.entries_crc = crc32(self.used());
        Ok(())
    }

    /// Whether both hold the same partitions, wherever they lie.
    pub(crate) fn same_table(&self, other: &Self) -> bool {
        self.header.same_table(&other.header) && self.used() == other.used()
    }

    /// Whether `other` could be this table with other attributes: the shape of disk and array is
    /// the same.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        let vouched = self.header.vouching_for(other.header.entries_crc);
        vouched.same_table(&other.header) && self.entries.len() == other.entries.len()
    }

    /// The same table with its first usable sector elsewhere.
    pub(crate) fn starting_at(&self, first_usable: u64) -> Self {
        Self {
            header: self.header.starting_at(first_usable),
            ..self.clone()
        }
    }

    /// The same table with its last usable sector elsewhere.
    pub(crate) fn ending_at(&self, last_usable: u64) -> Self {
        Self {
            header: self.header.ending_at(last_usable),
            ..self.clone()
        }
    }

    /// This table's shape with the entries of `other`, one of the same number and size.
    pub(crate) fn with_entries_of(&self, other: &Self) -> Self {
        Self {
            header: self.header.vouching_for(other.header.entries_crc),
            entries: other.entries.clone(),
        }
    }

    /// The same table, to be written at another place.
    pub(crate) fn at(&self, place: Place) -> Self {
        Self {
            header: self.header.at(place),
            entries: self.entries.clone(),
        }
    }

    /// Whether this copy may lie where it says.
    pub(crate) fn fits(&self, copy: WhichCopy, disk: Geometry) -> bool {
        self.header.check(copy, disk).is_ok()
    }
}
