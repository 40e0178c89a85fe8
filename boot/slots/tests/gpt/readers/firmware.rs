//! UEFI firmware: EDK2's `PartitionDxe`, as in OVMF.

use super::power_on::{Write, whole_sector};
use super::{Header, PROTECTIVE, Summed, mbr_partitions, sectors};
use crate::image::ENTRY;

pub(super) fn entries(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let (header, array) = table(disk, sector)?;
    header.known(&array)
}

fn table(disk: &[u8], sector: usize) -> Option<(Header, Vec<u8>)> {
    // Its signature isn't asked for.
    if !mbr_partitions(disk).any(|found| found == (PROTECTIVE, 1)) {
        return None;
    }
    copy(disk, sector, 1).or_else(|| copy(disk, sector, sectors(disk, sector) - 1))
}

fn copy(disk: &[u8], sector: usize, lba: u64) -> Option<(Header, Vec<u8>)> {
    let header = Header::read(disk, sector, lba, Summed::Length)?;
    if usize::try_from(header.size).ok()? < ENTRY {
        return None;
    }
    let array = header.array(disk, sector)?;
    Some((header, array))
}

/// What it writes when it finds the disk: a copy that is damaged is made anew from the other one,
/// header first. Two valid ones are left alone, whether or not they agree.
pub(super) fn writes(disk: &[u8], sector: usize) -> Vec<Write> {
    let Some((good, array)) = table(disk, sector) else {
        return Vec::new();
    };
    if good.own == 1 && copy(disk, sector, good.other).is_some() {
        return Vec::new();
    }
    let made = Header {
        own: good.other,
        other: good.own,
        entries: if good.own == 1 { good.last + 1 } else { 2 },
        ..good
    };
    let mut header = made.bytes(Summed::Length);
    header.resize(sector, 0);
    let header = Write::at(made.own, sector, header);
    let entries = whole_sector(disk, sector, made.entries, &array);
    // It gives up at a write past the disk's end.
    [header, entries]
        .into_iter()
        .take_while(|write| write.end() <= disk.len())
        .collect()
}
