//! Both copies of the table on a disk.
//!
//! ```text
//!  LBA 0      1        2 …            first usable                last usable       …        last LBA
//!  +-----+---------+----------------+---------------------------------+----------------+---------+
//!  | MBR | primary | its entries    | partitions                      | its entries    | backup  |
//!  |     | header  |                |                                 |                | header  |
//!  +-----+---------+----------------+---------------------------------+----------------+---------+
//! ```
//! The primary counts while it is valid; the backup only when it isn't. That is what GRUB, firmware and
//! ourselves do. Linux looks at the backup only with `gpt` on its command line.

use crate::copy::WhichCopy;
use crate::disk::{Disk, Geometry};
use crate::error::{Flaw, GptError};
use crate::header::{Header, PRIMARY_LBA, Place};
use crate::table::Table;

/// Where the primary's entries lie when nothing valid says otherwise.
const DEFAULT_ENTRIES_LBA: u64 = 2;

/// What was found on a disk: at least one valid copy.
#[derive(Debug, Clone)]
pub struct Gpt {
    pub(crate) geometry: Geometry,
    pub(crate) copies: Copies,
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
        let backup_lba = match &header {
            Ok(header) if (PRIMARY_LBA + 1..geometry.sectors).contains(&header.place.other) => {
                header.place.other
            }
            _ => geometry.sectors.saturating_sub(1),
        };
        let primary = header.and_then(|header| Table::read(disk, header, WhichCopy::Primary));
        let backup =
            read_header(disk, backup_lba).and_then(|header| Table::read(disk, header, WhichCopy::Backup));
        let copies = match (primary, backup) {
            (Ok(primary), Ok(backup)) => Copies::Both { primary, backup },
            (Ok(primary), Err(flaw)) => Copies::OnlyPrimary { primary, flaw },
            (Err(flaw), Ok(backup)) => Copies::OnlyBackup { backup, flaw },
            (Err(primary), Err(backup)) => return Err(GptError::NoTable { primary, backup }),
        };
        Ok(Self { geometry, copies })
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

    /// Whether both copies are valid, alike, and at the two ends of the disk: nothing to repair.
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

    /// Where a copy belongs: the headers in the second and in the last sector. A disk that was enlarged under
    /// its table has its backup elsewhere.
    pub(crate) fn place(&self, which: WhichCopy) -> Place {
        let last = self.geometry.sectors.saturating_sub(1);
        let sectors = self.table().header.entries_sectors(self.geometry.sector_size);
        let found = self.copy(which).ok().map(|table| table.header.place);
        match which {
            WhichCopy::Primary => Place {
                own: PRIMARY_LBA,
                other: last,
                entries: found.map_or(DEFAULT_ENTRIES_LBA, |place| place.entries),
            },
            WhichCopy::Backup => Place {
                own: last,
                other: PRIMARY_LBA,
                entries: match found {
                    Some(place) if place.own == last => place.entries,
                    _ => last.saturating_sub(sectors),
                },
            },
        }
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
