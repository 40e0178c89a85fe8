//! Linux: `block/partitions/efi.c`.

use super::{DEFINED, Header, PROTECTIVE, Summed, mbr_is_signed, mbr_partitions, sectors};

/// Whether `gpt` is on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gpt {
    Unforced,
    Forced,
}

pub(super) fn entries(disk: &[u8], sector: usize, gpt: Gpt) -> Option<Vec<u8>> {
    if gpt == Gpt::Unforced {
        let protected = mbr_is_signed(disk) && mbr_partitions(disk).any(|found| found == (PROTECTIVE, 1));
        return protected.then(|| copy(disk, sector, 1)).flatten();
    }
    copy(disk, sector, 1).or_else(|| copy(disk, sector, sectors(disk, sector) - 1))
}

/// One copy, wherever its header says that its entries lie.
fn copy(disk: &[u8], sector: usize, lba: u64) -> Option<Vec<u8>> {
    let header = Header::read(disk, sector, lba, Summed::Length)?;
    let long_enough = header.length >= u32::try_from(DEFINED).unwrap();
    let inside = header.first <= header.last && header.last < sectors(disk, sector);
    (long_enough && inside && header.size == 128)
        .then(|| header.array(disk, sector))
        .flatten()
}
