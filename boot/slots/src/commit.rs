//! The ordered write: the one place that decides what a power cut can leave behind.
//!
//! No two sectors change atomically together, and a header vouches for its entries by a checksum:
//! whoever changes entries in place makes the copy invalid for a moment. For the backup that is
//! harmless, since nobody reads it while the primary is valid. For the primary it isn't: with new
//! entries under the old header Flatcar's GRUB stops ("backup out of sync" with a header that it
//! trusts), and with either kind of torn primary Linux sees no partitions unless `gpt` is on its
//! command line. So the primary is never torn: while its entries change, its header vouches for
//! others, that hold the same: for a [`SpareArray`] in the gap before the first partition, where
//! the disk has one.
//!
//! ```text
//!        primary header        primary entries   spare           backup          who reads what after a cut
//!   0    → own entries (old)   old               zeros           old             everybody the old table
//!   1    → own entries (old)   old               zeros           being written   everybody the old table
//!        ── sync ──
//!        → own entries (old)   old               being written   new             everybody the old table
//!        ── sync ──
//!   2    → SPARE (new)         old               new             new             everybody the new table
//!        ── sync ──
//!   3    → SPARE (new)         being written     new             new             everybody the new table
//!        ── sync ──
//!   4    → own entries (new)   new               new             new             everybody the new table
//!        ── sync ──
//!        → own entries (new)   new               being zeroed    new             everybody the new table
//! ```
//! Everybody reads the primary throughout, wherever the disk ends by then. While the header vouches
//! for the spare array its `first_usable` is raised to the array's end: to GRUB, entries behind it
//! are no primary's.
//!
//! Where that gap is missing or not empty the header vouches for the *backup's* entries instead.
//! Linux and UEFI follow it; GRUB and we take entries at that place for no primary's and use the
//! backup, GRUB the one in the disk's last sector. So there has to be one: on a disk that was
//! enlarged under its table the table is extended first, as `sgdisk -e` does it (a backup at the
//! end, then one header that names it, both with the new `last_usable`, without which
//! systemd-repart and sfdisk would never again see that there is room). Otherwise the backup stays
//! where the primary says: to every tool that is the sign that the disk grew.
//!
//! Between 1 and 2, and between 3 and 4, one sector decides; a sector is written whole or not at
//! all. In each step the header's sector is written within its aligned 4 KiB block, of which
//! nothing else changes in that step: no disk with 4 KiB physical sectors has to read, merge and
//! write back.

use alloc::vec::Vec;
use core::ops::Range;

use crate::copy::WhichCopy;
use crate::disk::Disk;
use crate::error::GptError;
use crate::gpt::{Copies, Gpt, read_copy};
use crate::header::Place;
use crate::spare::SpareArray;
use crate::table::Table;

/// Bytes that are written as one request.
const BLOCK: u64 = 4096;

/// What [`Gpt::commit`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Committed {
    /// Both copies already held the table: nothing was written.
    Unchanged,
    /// The table was there, but one copy was damaged or differed; it was written.
    Repaired,
    /// Both copies were written.
    Written,
}

impl Gpt {
    /// Makes `wanted`, an edited [`Gpt::table`], the table of the disk: nothing is written if it
    /// already is; a damaged primary is repaired first; then the backup, then the primary, each
    /// synced and read back.
    ///
    /// # Errors
    /// Until the backup is on the medium and reads back right, the primary isn't touched: after an
    /// error that names the backup, readers still find the old table. After one that names the
    /// primary, they find the old or the new one.
    pub fn commit<D: Disk>(&self, disk: &mut D, wanted: &Table) -> Result<Committed, GptError<D::Error>> {
        if !self.table().same_shape(wanted) {
            return Err(GptError::Foreign);
        }
        if self.is_sound() && self.table().same_table(wanted) {
            return Ok(Committed::Unchanged);
        }
        let changed = !self.table().same_table(wanted);
        if self.copy(WhichCopy::Primary).is_err() {
            self.repair_primary(disk)?;
            let repaired = Self::read(disk)?;
            repaired.write(disk, &repaired.table().with_entries_of(wanted))?;
        } else {
            self.write(disk, wanted)?;
        }
        Ok(if changed {
            Committed::Written
        } else {
            Committed::Repaired
        })
    }

    /// Writes what doesn't hold `wanted`. The primary is valid.
    fn write<D: Disk>(&self, disk: &mut D, wanted: &Table) -> Result<(), GptError<D::Error>> {
        let mut writer = Writer { disk, gpt: self };
        let stand_in = if self.holds(WhichCopy::Primary, wanted) {
            None
        } else if self.spare.is_some() {
            Some(StandIn::InUse)
        } else if let Some(spare) = SpareArray::find(self, writer.disk) {
            writer.clear(&spare)?;
            Some(StandIn::Spare(spare.sectors))
        } else {
            if self.is_enlarged()
                && let Ok(backup) = writer.backup_at_the_end()
            {
                writer.name_backup(&backup)?;
                let extended = Self::read(writer.disk)?;
                return extended.write(writer.disk, &extended.table().with_entries_of(wanted));
            }
            // Firmware may be wrong about the disk's size: the backup that the primary names is
            // there.
            Some(StandIn::Backup)
        };
        if !self.holds(WhichCopy::Backup, wanted) {
            writer.backup(wanted)?;
        }
        match stand_in {
            Some(stand_in) => writer.primary(wanted, stand_in),
            None => Ok(()),
        }
    }

    /// Whether readers that don't trust the primary find no backup in the last sector.
    fn is_enlarged(&self) -> bool {
        self.place(WhichCopy::Backup).own != self.last()
    }

    /// Gives the primary what the backup, the only valid copy, holds. That copy isn't touched.
    fn repair_primary<D: Disk>(&self, disk: &mut D) -> Result<(), GptError<D::Error>> {
        let spare = SpareArray::find(self, disk);
        let mut writer = Writer { disk, gpt: self };
        if let Some(spare) = spare {
            writer.clear(&spare)?;
            return writer.primary(self.table(), StandIn::Spare(spare.sectors));
        }
        if !self.is_enlarged() {
            return writer.primary(self.table(), StandIn::Backup);
        }
        let extended = self.extended()?;
        let (found, place) = (self.table().header.place.own, extended.header.place);
        if found >= place.entries {
            return Err(GptError::NoRoom {
                copy: WhichCopy::Backup,
                lba: place.entries,
            });
        }
        writer.store_backup(&extended)?;
        let gpt = self.with_backup(extended);
        Writer { disk, gpt: &gpt }.primary(gpt.table(), StandIn::Backup)
    }

    /// The table, made for the disk as large as it is now, as its backup: without it readers that
    /// look in the last sector find none.
    fn extended<E: core::error::Error>(&self) -> Result<Table, GptError<E>> {
        let header = &self.table().header;
        let own = self.last();
        let entries = own.saturating_sub(header.entries_sectors(self.geometry.sector_size));
        let place = Place {
            own,
            entries,
            ..self.place(WhichCopy::Backup)
        };
        let extended = self.table().ending_at(entries.saturating_sub(1)).at(place);
        let is_free = self.table().partitions().all(|found| found.last_lba < entries);
        if is_free && extended.fits(WhichCopy::Backup, self.geometry) {
            Ok(extended)
        } else {
            Err(GptError::NoRoom {
                copy: WhichCopy::Backup,
                lba: entries,
            })
        }
    }

    fn with_backup(&self, backup: Table) -> Self {
        let copies = match &self.copies {
            Copies::Both { primary, .. } | Copies::OnlyPrimary { primary, .. } => Copies::Both {
                primary: primary.clone(),
                backup,
            },
            Copies::OnlyBackup { flaw, .. } => Copies::OnlyBackup { backup, flaw: *flaw },
        };
        Self {
            copies,
            ..self.clone()
        }
    }

    /// `table` at a copy's place.
    fn placed<E: core::error::Error>(&self, table: &Table, copy: WhichCopy) -> Result<Table, GptError<E>> {
        let placed = table.at(self.place(copy));
        if placed.fits(copy, self.geometry) {
            Ok(placed)
        } else {
            Err(GptError::NoRoom {
                copy,
                lba: placed.header.place.own,
            })
        }
    }
}

/// What the primary's header vouches for while its entries change.
#[derive(Debug)]
enum StandIn {
    /// These sectors, which are nobody's.
    Spare(Range<u64>),
    /// What it vouches for already.
    InUse,
    /// The backup's entries.
    Backup,
}

struct Writer<'a, D> {
    disk: &'a mut D,
    gpt: &'a Gpt,
}

impl<D: Disk> Writer<'_, D> {
    /// Step 1. Another valid copy must exist.
    fn backup(&mut self, table: &Table) -> Result<(), GptError<D::Error>> {
        let placed = self.gpt.placed(table, WhichCopy::Backup)?;
        self.store_backup(&placed)
    }

    fn store_backup(&mut self, table: &Table) -> Result<(), GptError<D::Error>> {
        let copy = WhichCopy::Backup;
        self.put(copy, table.header.place.entries, &table.entries)?;
        self.put_header(copy, table)?;
        self.flush(copy)?;
        self.read_back(copy, table)
    }

    /// Puts a backup of what there is at the end of an enlarged disk. Nothing names it yet.
    fn backup_at_the_end(&mut self) -> Result<Table, GptError<D::Error>> {
        let extended = self.gpt.extended()?;
        self.store_backup(&extended)?;
        Ok(extended)
    }

    /// Has the primary, whose entries stay, name `backup` and end where it does.
    fn name_backup(&mut self, backup: &Table) -> Result<(), GptError<D::Error>> {
        let copy = WhichCopy::Primary;
        let primary = backup.at(Place {
            other: backup.header.place.own,
            ..self.gpt.place(copy)
        });
        self.put_header(copy, &primary)?;
        self.flush(copy)?;
        self.read_back(copy, &primary)
    }

    /// Steps 2 to 4. The backup must hold `table`.
    fn primary(&mut self, table: &Table, stand_in: StandIn) -> Result<(), GptError<D::Error>> {
        let copy = WhichCopy::Primary;
        let table = self.gpt.placed(table, copy)?;
        let mut used = self.gpt.spare.clone();
        match stand_in {
            StandIn::InUse => {}
            StandIn::Backup => {
                let entries = self.gpt.place(WhichCopy::Backup).entries;
                self.vouch(&table, entries)?;
            }
            StandIn::Spare(sectors) => {
                self.put_within(&sectors, copy, sectors.start, &table.entries)?;
                self.flush(copy)?;
                self.vouch(&table.starting_at(sectors.end), sectors.start)?;
                used = Some(sectors);
            }
        }
        self.put(copy, table.header.place.entries, &table.entries)?;
        self.flush(copy)?;
        self.put_header(copy, &table)?;
        self.flush(copy)?;
        self.read_back(copy, &table)?;
        match used {
            // The table is on the medium. The next commit recognizes what stays in the spare array.
            Some(sectors) => self.zero(&sectors).or(Ok(())),
            None => Ok(()),
        }
    }

    /// Step 2: has the primary's header vouch for the entries at `entries`.
    fn vouch(&mut self, table: &Table, entries: u64) -> Result<(), GptError<D::Error>> {
        let vouching = table.at(Place {
            entries,
            ..table.header.place
        });
        self.put_header(WhichCopy::Primary, &vouching)?;
        self.flush(WhichCopy::Primary)
    }

    /// Takes away what a commit that was cut left, while it can still be told from what is
    /// somebody's.
    fn clear(&mut self, spare: &SpareArray) -> Result<(), GptError<D::Error>> {
        if !spare.is_dirty {
            return Ok(());
        }
        self.zero(&spare.sectors)?;
        self.flush(WhichCopy::Primary)
    }

    fn zero(&mut self, sectors: &Range<u64>) -> Result<(), GptError<D::Error>> {
        let zeros = alloc::vec![0; self.gpt.table().entries.len()];
        self.put_within(sectors, WhichCopy::Primary, sectors.start, &zeros)
    }

    fn put_header(&mut self, copy: WhichCopy, table: &Table) -> Result<(), GptError<D::Error>> {
        let sector = table.header.encode(self.gpt.geometry.sector_size);
        self.put(copy, table.header.place.own, &sector)
    }

    /// Puts `bytes` at `lba`: block by block, those that differ, never outside the sectors that
    /// belong to the table (what lies beside them in a block may be a mounted partition).
    fn put(&mut self, copy: WhichCopy, lba: u64, bytes: &[u8]) -> Result<(), GptError<D::Error>> {
        let own = self.gpt.table().header.own_sectors(copy, self.gpt.geometry);
        self.put_within(&own, copy, lba, bytes)
    }

    fn put_within(
        &mut self,
        own: &Range<u64>,
        copy: WhichCopy,
        lba: u64,
        bytes: &[u8],
    ) -> Result<(), GptError<D::Error>> {
        let sector = self.gpt.geometry.sector_size.in_memory();
        let mut next = lba;
        let mut rest = bytes;
        while !rest.is_empty() {
            let block = self.block_of(next);
            let block = block.start.max(own.start)..block.end.min(own.end);
            let sectors = usize::try_from(block.end.saturating_sub(next))
                .unwrap_or(0)
                .max(1);
            let (now, later) = rest.split_at(rest.len().min(sectors * sector));
            self.overlay(copy, &block, next, now)?;
            next += u64::try_from(now.len() / sector).unwrap_or(u64::MAX);
            rest = later;
        }
        Ok(())
    }

    /// Replaces the part of `block` from `lba` on by `bytes`, as one write.
    fn overlay(
        &mut self,
        copy: WhichCopy,
        block: &Range<u64>,
        lba: u64,
        bytes: &[u8],
    ) -> Result<(), GptError<D::Error>> {
        let sector = self.gpt.geometry.sector_size.in_memory();
        let sectors = usize::try_from(block.end - block.start).unwrap_or(0);
        let mut found = alloc::vec![0; sectors * sector];
        self.disk
            .read(block.start, &mut found)
            .map_err(|source| GptError::Read {
                lba: block.start,
                source,
            })?;
        let offset = usize::try_from(lba - block.start).unwrap_or(0) * sector;
        let mut wanted: Vec<u8> = found.clone();
        wanted[offset..offset + bytes.len()].copy_from_slice(bytes);
        if wanted == found {
            return Ok(());
        }
        let lba = block.start;
        self.disk
            .write(lba, &wanted)
            .map_err(|source| GptError::Write { copy, lba, source })
    }

    /// The aligned block in which `lba` lies.
    fn block_of(&self, lba: u64) -> Range<u64> {
        let sectors = BLOCK / u64::from(self.gpt.geometry.sector_size.bytes());
        let start = lba - lba % sectors;
        start..start + sectors
    }

    fn flush(&mut self, copy: WhichCopy) -> Result<(), GptError<D::Error>> {
        self.disk
            .flush()
            .map_err(|source| GptError::Flush { copy, source })
    }

    fn read_back(&mut self, copy: WhichCopy, expected: &Table) -> Result<(), GptError<D::Error>> {
        match read_copy(self.disk, copy, expected.header.place.own) {
            Ok(found) if found == *expected => Ok(()),
            _ => Err(GptError::NotStored(copy)),
        }
    }
}
