//! The ordered write: the one place that decides what a power cut can leave behind.
//!
//! No two sectors change atomically together, and a header vouches for its entries by a checksum: whoever
//! changes entries in place makes the copy invalid for a moment. For the backup that is harmless, since nobody
//! reads it while the primary is valid. For the primary it isn't: with new entries under the old header
//! Flatcar's GRUB stops ("backup out of sync" with a header that it trusts), and with either kind of torn
//! primary Linux sees no partitions unless `gpt` is on its command line. So the primary is never torn: while
//! its entries change, its header vouches for the backup's.
//!
//! ```text
//!        primary header        primary entries   backup          who reads what after a cut
//!   0    → own entries (old)   old               old             everybody the old table
//!   1    → own entries (old)   old               being written   everybody the old table, from the primary
//!        ── sync ──
//!   2    → BACKUP's (new)      old               new             everybody the new table, from the backup's
//!        ── sync ──                                              entries: Linux and UEFI through the primary
//!   3    → BACKUP's (new)      being written     new             header, GRUB and we through the backup
//!        ── sync ──                                              header (entries at that place are no primary)
//!   4    → own entries (new)   new               new             everybody the new table
//!        ── sync ──
//! ```
//! Between 1 and 2, and between 3 and 4, one sector decides; a sector is written whole or not at all. In each
//! step the header's sector is written within its aligned 4 KiB block, of which nothing else changes in that
//! step: no disk with 4 KiB physical sectors has to read, merge and write back.
//!
//! Step 2 needs a backup in the disk's last sector, where GRUB and firmware look when they don't trust the
//! primary. On a disk that was enlarged under its table step 1 puts the backup there, and step 2 makes the
//! primary point to it; the old backup stays valid until then.

use alloc::vec::Vec;
use core::ops::Range;

use crate::copy::WhichCopy;
use crate::disk::Disk;
use crate::error::GptError;
use crate::gpt::{Gpt, read_copy};
use crate::header::Place;
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
    /// Makes `wanted`, an edited [`Gpt::table`], the table of the disk: nothing is written if it already is;
    /// a damaged primary is repaired first; then the backup, then the primary, each synced and read back.
    ///
    /// # Errors
    /// Until the backup is on the medium and reads back right, the primary isn't touched: after an error that
    /// names the backup, readers still find the old table. After one that names the primary, they find the
    /// old or the new one.
    pub fn commit<D: Disk>(&self, disk: &mut D, wanted: &Table) -> Result<Committed, GptError<D::Error>> {
        if !self.table().same_shape(wanted) {
            return Err(GptError::Foreign);
        }
        if self.is_sound() && self.table().same_table(wanted) {
            return Ok(Committed::Unchanged);
        }
        if self.copy(WhichCopy::Primary).is_err() {
            self.repair_primary(disk)?;
            let committed = Self::read(disk)?.commit(disk, wanted)?;
            return Ok(committed.max(Committed::Repaired));
        }
        let mut writer = Writer { disk, gpt: self };
        if !self.holds(WhichCopy::Backup, wanted) {
            writer.backup(wanted)?;
        }
        if !self.holds(WhichCopy::Primary, wanted) {
            writer.primary(wanted)?;
        }
        let changed = !self.table().same_table(wanted);
        Ok(if changed {
            Committed::Written
        } else {
            Committed::Repaired
        })
    }

    /// Gives the primary what the backup, the only valid copy, holds. The backup isn't touched.
    fn repair_primary<D: Disk>(&self, disk: &mut D) -> Result<(), GptError<D::Error>> {
        let mut writer = Writer { disk, gpt: self };
        let (found, place) = (self.table().header.place, self.place(WhichCopy::Backup));
        if found.own != place.own {
            // An enlarged disk: the valid backup lies before its place.
            if found.own >= place.entries {
                return Err(GptError::NoRoom {
                    copy: WhichCopy::Backup,
                    lba: place.entries,
                });
            }
            writer.backup(self.table())?;
        }
        writer.primary(self.table())
    }
}

struct Writer<'a, D> {
    disk: &'a mut D,
    gpt: &'a Gpt,
}

impl<D: Disk> Writer<'_, D> {
    /// Step 1. Another valid copy must exist.
    fn backup(&mut self, table: &Table) -> Result<(), GptError<D::Error>> {
        let copy = WhichCopy::Backup;
        let table = self.placed(table, copy)?;
        self.put(copy, table.header.place.entries, &table.entries)?;
        self.put_header(copy, &table)?;
        self.flush(copy)?;
        self.read_back(copy, &table)
    }

    /// Steps 2 to 4. The backup must hold `table`.
    fn primary(&mut self, table: &Table) -> Result<(), GptError<D::Error>> {
        let copy = WhichCopy::Primary;
        let table = self.placed(table, copy)?;
        let backup = self.gpt.place(WhichCopy::Backup);
        let vouching_for_backup = table.at(Place {
            entries: backup.entries,
            ..table.header.place
        });
        self.put_header(copy, &vouching_for_backup)?;
        self.flush(copy)?;
        self.put(copy, table.header.place.entries, &table.entries)?;
        self.flush(copy)?;
        self.put_header(copy, &table)?;
        self.flush(copy)?;
        self.read_back(copy, &table)
    }

    fn placed(&self, table: &Table, copy: WhichCopy) -> Result<Table, GptError<D::Error>> {
        let placed = table.at(self.gpt.place(copy));
        if placed.fits(copy, self.gpt.geometry) {
            Ok(placed)
        } else {
            Err(GptError::NoRoom {
                copy,
                lba: placed.header.place.own,
            })
        }
    }

    fn put_header(&mut self, copy: WhichCopy, table: &Table) -> Result<(), GptError<D::Error>> {
        let sector = table.header.encode(self.gpt.geometry.sector_size);
        self.put(copy, table.header.place.own, &sector)
    }

    /// Puts `bytes` at `lba`: block by block, those that differ, never outside the sectors that belong to the
    /// table (what lies beside them in a block may be a mounted partition).
    fn put(&mut self, copy: WhichCopy, lba: u64, bytes: &[u8]) -> Result<(), GptError<D::Error>> {
        let sector = self.gpt.geometry.sector_size.in_memory();
        let own = self.gpt.table().header.own_sectors(copy, self.gpt.geometry);
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
