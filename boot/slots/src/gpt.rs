//! Both copies of the table on a disk.
//!
//! ```text
//!  LBA 0      1        2 …            first usable                last usable       …        last LBA
//!  +-----+---------+----------------+---------------------------------+----------------+---------+
//!  | MBR | primary | its entries    | partitions                      | its entries    | backup  |
//!  |     | header  |                |                                 |                | header  |
//!  +-----+---------+----------------+---------------------------------+----------------+---------+
//! ```
//! The primary counts while it is valid; the backup only when it isn't. That is what GRUB, firmware
//! and ourselves do. Linux looks at the backup only with `gpt` on its command line.

use core::ops::Range;

use crate::copy::WhichCopy;
use crate::disk::{Disk, Geometry};
use crate::error::{Flaw, GptError};
use crate::header::{DEFAULT_ENTRIES_LBA, Header, PRIMARY_LBA, Place};
use crate::spare::is_of_a_copy;
use crate::table::Table;

/// What was found on a disk: at least one valid copy.
#[derive(Debug, Clone)]
pub struct Gpt {
    pub(crate) geometry: Geometry,
    pub(crate) copies: Copies,
    /// Where the primary's entries lie for as long as a commit takes; one that was cut left them
    /// there.
    pub(crate) spare: Option<Range<u64>>,
    /// Where the primary's entries belong if its header doesn't say.
    pub(crate) home: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Copies {
    Both { primary: Table, backup: Table },
    OnlyPrimary { primary: Table, flaw: Flaw },
    OnlyBackup { backup: Table, flaw: Flaw },
}

impl Gpt {
    /// Reads and checks both copies. A copy that the medium doesn't give counts as damaged.
    ///
    /// # Errors
    /// [`GptError::NoTable`] when neither is valid.
    pub fn read<D: Disk>(disk: &mut D) -> Result<Self, GptError<D::Error>> {
        let geometry = disk.geometry();
        let header = read_header(disk, PRIMARY_LBA);
        let named = header.as_ref().ok().map(|header| header.place.other);
        let primary = header.and_then(|header| Table::read(disk, header, WhichCopy::Primary));
        let backup = read_backup(disk, named, primary.is_ok());
        let mut spare = None;
        let copies = match (primary, backup) {
            (Ok(primary), Ok(backup)) => {
                let whole = primary.header.without_spare(&backup.header, geometry.sector_size);
                spare = whole
                    .is_some()
                    .then(|| primary.header.entries_range(geometry.sector_size));
                let header = whole.unwrap_or_else(|| primary.header.clone());
                let primary = Table { header, ..primary };
                Copies::Both { primary, backup }
            }
            (Ok(primary), Err(flaw)) => Copies::OnlyPrimary { primary, flaw },
            (Err(flaw), Ok(backup)) => Copies::OnlyBackup { backup, flaw },
            (Err(primary), Err(backup)) => return Err(GptError::NoTable { primary, backup }),
        };
        let mut gpt = Self {
            geometry,
            copies,
            spare,
            home: DEFAULT_ENTRIES_LBA,
        };
        if gpt.spare.is_some() || matches!(gpt.copies, Copies::OnlyBackup { .. }) {
            gpt.home = gpt.find_home(disk);
        }
        Ok(gpt)
    }

    /// The table that counts.
    #[must_use]
    pub fn table(&self) -> &Table {
        match &self.copies {
            Copies::Both { primary, .. } | Copies::OnlyPrimary { primary, .. } => primary,
            Copies::OnlyBackup { backup, .. } => backup,
        }
    }

    /// One of the copies, or what is wrong with it.
    ///
    /// # Errors
    /// The flaw that makes it invalid.
    pub fn copy(&self, which: WhichCopy) -> Result<&Table, Flaw> {
        match (which, &self.copies) {
            (WhichCopy::Primary, Copies::Both { primary, .. } | Copies::OnlyPrimary { primary, .. }) => {
                Ok(primary)
            }
            (WhichCopy::Backup, Copies::Both { backup, .. } | Copies::OnlyBackup { backup, .. }) => {
                Ok(backup)
            }
            (WhichCopy::Primary, Copies::OnlyBackup { flaw, .. })
            | (WhichCopy::Backup, Copies::OnlyPrimary { flaw, .. }) => Err(*flaw),
        }
    }

    /// Whether both copies are valid, alike, and where each says that the other is: nothing to
    /// repair. A disk that was enlarged under its table has its backup before the end, which is no
    /// damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        [WhichCopy::Primary, WhichCopy::Backup]
            .into_iter()
            .all(|which| self.holds(which, self.table()))
    }

    /// Whether a copy is valid, where it belongs, and says the same as `table`.
    pub(crate) fn holds(&self, which: WhichCopy, table: &Table) -> bool {
        let right = |copy: &Table| copy.header.place == self.place(which) && copy.same_table(table);
        self.copy(which).is_ok_and(right)
    }

    /// The disk's last sector: where readers that don't trust the primary look for the backup.
    pub(crate) fn last(&self) -> u64 {
        self.geometry.sectors.saturating_sub(1)
    }

    /// Where a copy belongs: the primary's header in the second sector, the backup's where a valid
    /// primary says, be that the disk's end or not.
    pub(crate) fn place(&self, which: WhichCopy) -> Place {
        match which {
            WhichCopy::Primary => Place {
                own: PRIMARY_LBA,
                other: self.backup_place().own,
                entries: self.primary_entries(),
            },
            WhichCopy::Backup => self.backup_place(),
        }
    }

    fn backup_place(&self) -> Place {
        let table = self.table();
        let sectors = table.header.entries_sectors(self.geometry.sector_size);
        let at = |own: u64| Place {
            own,
            other: PRIMARY_LBA,
            entries: own.saturating_sub(sectors),
        };
        match &self.copies {
            Copies::OnlyBackup { backup, .. } => backup.header.place,
            Copies::Both { primary, backup } if backup.header.place.own == primary.header.place.other => {
                backup.header.place
            }
            Copies::Both { primary, .. } | Copies::OnlyPrimary { primary, .. } => {
                let named = at(primary.header.place.other);
                let fits = named.own <= self.last() && named.entries > primary.header.last_usable;
                if fits { named } else { at(self.last()) }
            }
        }
    }

    /// Where the primary's entries belong: where they lie, unless that is a spare array.
    fn primary_entries(&self) -> u64 {
        let found = self.copy(WhichCopy::Primary).ok();
        found
            .filter(|_| self.spare.is_none())
            .map_or(self.home, |table| table.header.place.entries)
    }

    /// Where this table's entries lie that no header vouches for: where everybody puts them, or
    /// right before the first usable sector, where `sgdisk -j` moves them out of the way of boot
    /// firmware. A commit that was cut changes attributes alone.
    fn find_home<D: Disk>(&self, disk: &mut D) -> u64 {
        let size = self.geometry.sector_size;
        let header = &self.table().header;
        let moved = header.first_usable.checked_sub(header.entries_sectors(size));
        let is_spare = |lba: u64| self.spare.as_ref().is_some_and(|spare| spare.contains(&lba));
        let mut holds_entries = |start: u64| {
            let mut found = alloc::vec![0; size.in_memory()];
            let mut sectors = (start..).zip(0..header.entries_sectors(size));
            sectors
                .all(|(lba, index)| disk.read(lba, &mut found).is_ok() && is_of_a_copy(self, index, &found))
        };
        [Some(DEFAULT_ENTRIES_LBA), moved]
            .into_iter()
            .flatten()
            .filter(|&lba| lba >= DEFAULT_ENTRIES_LBA && !is_spare(lba))
            .find(|&lba| holds_entries(lba))
            .unwrap_or(DEFAULT_ENTRIES_LBA)
    }
}

/// The backup to which the primary's header points. Where that is past the disk's end, or the
/// primary is damaged and so is what it points to: the one in the last sector.
fn read_backup<D: Disk>(disk: &mut D, named: Option<u64>, primary_is_valid: bool) -> Result<Table, Flaw> {
    let sectors = disk.geometry().sectors;
    let last = sectors.saturating_sub(1);
    let at_the_end = |disk: &mut D| read_copy(disk, WhichCopy::Backup, last);
    match named {
        Some(lba) if lba > PRIMARY_LBA && lba != last => {
            let found = read_copy(disk, WhichCopy::Backup, lba);
            if found.is_err() && (lba >= sectors || !primary_is_valid) {
                at_the_end(disk).or(found)
            } else {
                found
            }
        }
        _ => at_the_end(disk),
    }
}

/// Reads and checks one copy at a place of its own.
pub(crate) fn read_copy<D: Disk>(disk: &mut D, which: WhichCopy, lba: u64) -> Result<Table, Flaw> {
    let header = read_header(disk, lba)?;
    Table::read(disk, header, which)
}

fn read_header<D: Disk>(disk: &mut D, lba: u64) -> Result<Header, Flaw> {
    let mut sector = alloc::vec![0; disk.geometry().sector_size.in_memory()];
    disk.read(lba, &mut sector)
        .map_err(|_| Flaw::Unreadable { lba })?;
    Header::decode(&sector, lba)
}
