//! GPT tables and the boot attributes of A/B slots, without std: the daemon and the EFI slot loader
//! read, choose and write by the same code.
//!
//! | topic | where |
//! |---|---|
//! | priority, tries, successful in an entry's attribute word | [`SlotAttributes`] |
//! | which slot a loader boots; who gets which priority | [`choose`], [`prioritize`] |
//! | one copy of a table: header and entries, checked | [`Table`] |
//! | both copies on a disk, and the ordered write | [`Gpt`] |
//! | the disk itself | [`Disk`] |
//!
//! The format is that of the UEFI specification, chapter 5 ("GUID Partition Table"); the attribute
//! bits are those of `ChromiumOS`'s `cgpt`. Everything read is hostile: a [`Table`] exists only
//! after both its checksums, its bounds and its size were checked; reading never panics.
//!
//! Only attributes are ever edited here: partitions are not created, moved or renumbered, and every
//! byte that an edit doesn't name is written back as it was read.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod attributes;
mod choice;
mod commit;
mod copy;
mod crc;
mod disk;
mod error;
mod gpt;
mod guid;
mod header;
mod partition;
mod spare;
mod table;

pub use attributes::{Priority, SlotAttributes, Tries};
pub use choice::{Choice, choose, is_alone_at_the_top, prioritize};
pub use commit::Committed;
pub use copy::WhichCopy;
pub use disk::{Disk, Geometry, SectorSize};
pub use error::{Flaw, GptError, LayoutFlaw};
pub use gpt::Gpt;
pub use guid::Guid;
pub use partition::{Partition, PartitionNumber};
pub use table::{Shape, Table};
