//! The slot loader, by what `docs/gpt.md` says of it.

use super::{Header, Summed, sectors};

pub(super) fn entries(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let last = sectors(disk, sector) - 1;
    let primary = Header::read(disk, sector, 1, Summed::Length);
    let pointed = primary.as_ref().map_or(last, |primary| primary.other);
    let lba = if (2..=last).contains(&pointed) {
        pointed
    } else {
        last
    };
    let own = primary.and_then(|primary| in_place(disk, sector, &primary));
    own.or_else(|| in_place(disk, sector, &Header::read(disk, sector, lba, Summed::Length)?))
}

/// A copy's entries if they lie between its header and the partitions.
fn in_place(disk: &[u8], sector: usize, header: &Header) -> Option<Vec<u8>> {
    let end = header.entries.checked_add(header.array_sectors(sector)?)?;
    let right = if header.own == 1 {
        header.entries > 1 && end <= header.first && header.other > header.last
    } else {
        header.entries > header.last && end <= header.own && header.other == 1
    };
    let usable = 1 < header.first && header.first <= header.last && header.last < sectors(disk, sector);
    let sized = (128..=4096).contains(&header.size) && header.size.is_power_of_two();
    let array = (right && usable && sized)
        .then(|| header.array(disk, sector))
        .flatten()?;
    header.known(&array)
}
