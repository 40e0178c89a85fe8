//! From power on to Linux, on a machine whose loader is Flatcar's GRUB.

use super::grub::Choice;
use super::{Reader, entries, firmware, grub};

/// Which firmware the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// It reads no table.
    Bios,
    /// It repairs the table before GRUB looks.
    Uefi,
}

/// Where Linux looks for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `gpt` isn't on the command line: in the primary.
    Primary,
    /// It is: in either copy.
    Either,
}

/// How a power-on ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Linux starts from this slot, and finds its partitions.
    Boots(usize),
    /// Linux starts, and finds no partitions: no root, at this boot and at every one after it.
    NoPartitions,
    /// `gptprio.next` finds no table that it trusts, or no slot in it.
    GrubStops,
    /// `part_gpt` doesn't find the partition with GRUB's configuration and the kernels.
    NoKernel,
    /// The firmware finds no table, and so no loader.
    NoLoader,
}

/// Bytes that a program writes, as whole sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// In bytes.
    pub(crate) at: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Write {
    pub(super) fn at(lba: u64, sector: usize, bytes: Vec<u8>) -> Self {
        // A place that no memory has lies past every disk's end.
        let at = usize::try_from(lba).ok().and_then(|lba| lba.checked_mul(sector));
        Self {
            at: at.unwrap_or(usize::MAX),
            bytes,
        }
    }

    pub(super) fn end(&self) -> usize {
        self.at.saturating_add(self.bytes.len())
    }
}

/// `bytes` from `lba` on, and what is there up to the next border of a sector.
pub(super) fn whole_sector(disk: &[u8], sector: usize, lba: u64, bytes: &[u8]) -> Write {
    let mut write = Write::at(lba, sector, bytes.to_vec());
    let end = write.at.saturating_add(bytes.len().next_multiple_of(sector));
    write.bytes.extend(disk.get(write.end()..end).unwrap_or_default());
    write
}

pub(crate) fn put(disk: &mut [u8], write: &Write) {
    disk[write.at..write.end()].copy_from_slice(&write.bytes);
}

/// See [`firmware::writes`].
pub(crate) fn firmware_writes(disk: &[u8], sector: usize) -> Vec<Write> {
    firmware::writes(disk, sector)
}

/// What GRUB writes between the choice of a slot and its kernel; nothing if it stops.
pub(crate) fn grub_writes(disk: &[u8], sector: usize) -> Vec<Write> {
    if grub::partitions(disk, sector).is_none() {
        return Vec::new();
    }
    grub::choose(disk, sector).map_or_else(Vec::new, |choice| choice.writes)
}

/// Powers a machine with this disk on.
pub(crate) fn power_on(disk: &mut [u8], sector: usize, firmware: Firmware, table: Table) -> Outcome {
    if firmware == Firmware::Uefi {
        if entries(disk, sector, Reader::Uefi).is_none() {
            return Outcome::NoLoader;
        }
        for write in firmware_writes(disk, sector) {
            put(disk, &write);
        }
    }
    if grub::partitions(disk, sector).is_none() {
        return Outcome::NoKernel;
    }
    let Some(Choice { slot, writes, system }) = grub::choose(disk, sector) else {
        return Outcome::GrubStops;
    };
    if !grub::finds(disk, sector, &system) {
        return Outcome::NoKernel;
    }
    for write in writes {
        put(disk, &write);
    }
    let linux = match table {
        Table::Primary => Reader::Linux,
        Table::Either => Reader::LinuxGpt,
    };
    match entries(disk, sector, linux) {
        Some(_) => Outcome::Boots(slot),
        None => Outcome::NoPartitions,
    }
}
