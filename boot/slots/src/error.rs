//! Errors: why a table isn't one, and what goes wrong on the way to the medium.

use crate::copy::WhichCopy;
use crate::partition::PartitionNumber;

/// What is wrong with one copy of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The medium doesn't give its sectors.
    #[error("LBA {lba} cannot be read")]
    Unreadable {
        /// First sector asked for.
        lba: u64,
    },
    /// No header where one belongs.
    #[error("no GPT header at LBA {lba}")]
    NoSignature {
        /// Where it should be.
        lba: u64,
    },
    /// A revision other than 1.0.
    #[error("header revision {0:#x}, expected 0x10000")]
    Revision(u32),
    /// Header size outside 92 bytes to one sector.
    #[error("header size {0} is neither 92 nor up to one sector")]
    HeaderSize(u32),
    /// The header was changed without its checksum, or torn.
    #[error("header checksum {stored:#010x}, its bytes give {computed:#010x}")]
    HeaderChecksum {
        /// In the header.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// The header belongs elsewhere.
    #[error("the header at LBA {lba} says that it lies at LBA {says}")]
    HeaderPlace {
        /// Where it was read.
        lba: u64,
        /// Where it says it is.
        says: u64,
    },
    /// Entry size that isn't 128 times a power of two up to 4096.
    #[error("entries of {0} bytes")]
    EntrySize(u32),
    /// No entries, or more than 1 MiB of them.
    #[error("{count} entries of {size} bytes")]
    EntryCount {
        /// Number of entries.
        count: u32,
        /// Bytes of each.
        size: u32,
    },
    /// The usable sectors end before they start, or past the disk.
    #[error("usable sectors {first} to {last} on a disk of {sectors} sectors")]
    Usable {
        /// First usable sector.
        first: u64,
        /// Last usable sector.
        last: u64,
        /// Size of the disk.
        sectors: u64,
    },
    /// The entries don't lie between header and usable sectors on this copy's side of the disk.
    #[error("entries at LBA {lba} ({sectors} sectors) lie outside their place")]
    EntriesPlace {
        /// First sector of the entries.
        lba: u64,
        /// How many.
        sectors: u64,
    },
    /// The other copy can't be where this header says.
    #[error("the other copy cannot lie at LBA {lba}")]
    AlternatePlace {
        /// Where the header says it is.
        lba: u64,
    },
    /// The entries aren't those that the header vouches for.
    #[error("entries checksum {stored:#010x}, their bytes give {computed:#010x}")]
    EntriesChecksum {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

/// Why a partition can't be used as a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFlaw {
    /// The entry is unused or past the end of the table.
    #[error("there is no partition {0}")]
    Missing(PartitionNumber),
    /// It ends before it starts or lies outside the usable sectors.
    #[error("partition {number} (sectors {first} to {last}) lies outside the usable sectors")]
    Outside {
        /// Which partition.
        number: PartitionNumber,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
    },
    /// It shares sectors with another.
    #[error("partition {number} overlaps partition {other}")]
    Overlap {
        /// Which partition.
        number: PartitionNumber,
        /// The other one.
        other: PartitionNumber,
    },
}

/// Why a table can't be read from or written to a disk; `E` is the disk's error.
#[derive(Debug, thiserror::Error)]
pub enum GptError<E: core::error::Error + 'static> {
    /// Neither copy is valid.
    #[error("no valid GPT: primary: {primary}; backup: {backup}")]
    NoTable {
        /// What is wrong with the primary.
        primary: Flaw,
        /// What is wrong with the backup.
        backup: Flaw,
    },
    /// There is no place for a copy between the usable sectors and the end of the disk.
    #[error("no room for the {copy} GPT at LBA {lba}")]
    NoRoom {
        /// Which copy.
        copy: WhichCopy,
        /// Where it would have to lie.
        lba: u64,
    },
    /// A copy reads back differently from what was written and synced.
    #[error("the {0} GPT reads back differently from what was written")]
    NotStored(WhichCopy),
    /// The edited table isn't one of this disk's.
    #[error("the edited table has another shape than the one on the disk")]
    Foreign,
    /// Reading failed.
    #[error("cannot read LBA {lba}")]
    Read {
        /// First sector.
        lba: u64,
        /// The medium's words.
        source: E,
    },
    /// Writing failed.
    #[error("cannot write LBA {lba} ({copy} GPT)")]
    Write {
        /// Which copy was being written.
        copy: WhichCopy,
        /// First sector.
        lba: u64,
        /// The medium's words.
        source: E,
    },
    /// A sync failed.
    #[error("cannot sync the {copy} GPT to the medium")]
    Flush {
        /// Which copy had been written.
        copy: WhichCopy,
        /// The medium's words.
        source: E,
    },
}
