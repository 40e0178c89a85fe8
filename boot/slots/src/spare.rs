//! A spare array: room for entries that belong to nobody, so that the primary can be changed
//! without its header ever vouching for sectors that change.
//!
//! ```text
//!  1        2 … first usable                first partition
//!  +--------+---------------+--------------+---------------
//!  | header | its entries   | nobody's     |
//!  +--------+---------------+--------------+---------------
//!                             ▲ spare array, if this begins with zeros
//! ```
//! Boot firmware of small boards lies in that gap: it is used only if nothing but zeros is at its
//! start (or what a commit that was cut left of its spare array), and is zero again afterwards.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::copy::WhichCopy;
use crate::disk::Disk;
use crate::gpt::Gpt;
use crate::partition::ATTRIBUTES;

/// Spare arrays start where a physical sector does.
const ALIGNMENT: u64 = 4096;
/// A wider gap is left alone.
const MAX_GAP: u64 = 4 << 20;
/// How much of the gap has to be zeros, from its start: firmware that reaches into the spare array
/// begins before it or right behind it. More would be read at every commit for nothing.
const SEARCHED: u64 = 512 << 10;
/// How much of it is read at once.
const CHUNK: u64 = 64 << 10;

/// Sectors of no partition that hold nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpareArray {
    pub(crate) sectors: Range<u64>,
    /// Whether a commit that was cut left something there.
    pub(crate) is_dirty: bool,
}

impl SpareArray {
    /// The gap's first aligned sectors that hold the entries of this table, if there is such a gap.
    pub(crate) fn find<D: Disk>(gpt: &Gpt, disk: &mut D) -> Option<Self> {
        let size = gpt.geometry.sector_size;
        let bytes = u64::from(size.bytes());
        let header = &gpt.table().header;
        let len = header.entries_sectors(size);
        let home = gpt.place(WhichCopy::Primary).entries.checked_add(len)?;
        let end = gpt.table().partitions().map(|found| found.first_lba).min()?;
        let start = home.checked_next_multiple_of(ALIGNMENT / bytes)?;
        let sectors = start..start.checked_add(len)?;
        if sectors.end > end || end > header.last_usable || (end - home) * bytes > MAX_GAP {
            return None;
        }
        let mut is_dirty = false;
        let end = end.min(home + SEARCHED / bytes).max(sectors.end);
        for lba in (home..end).step_by(usize::try_from(CHUNK / bytes).ok()?) {
            let chunk = lba..end.min(lba + CHUNK / bytes);
            let mut found = vec![0; usize::try_from((chunk.end - chunk.start) * bytes).ok()?];
            disk.read(lba, &mut found).ok()?;
            for (lba, sector) in chunk.zip(found.chunks_exact(size.in_memory())) {
                if sector.iter().all(|&byte| byte == 0) {
                    continue;
                }
                if !sectors.contains(&lba) || !is_of_a_copy(gpt, lba - sectors.start, sector) {
                    return None;
                }
                is_dirty = true;
            }
        }
        Some(Self { sectors, is_dirty })
    }
}

/// Whether `sector` is the `index`-th of the entries of either copy, with any attributes.
pub(crate) fn is_of_a_copy(gpt: &Gpt, index: u64, sector: &[u8]) -> bool {
    let Ok(index) = usize::try_from(index) else {
        return false;
    };
    [WhichCopy::Primary, WhichCopy::Backup].into_iter().any(|which| {
        gpt.copy(which).is_ok_and(|table| {
            let size = usize::try_from(table.header.entry_size).unwrap_or(usize::MAX);
            let own = table.entries.chunks_exact(sector.len()).nth(index);
            own.is_some_and(|own| without_attributes(own, size) == without_attributes(sector, size))
        })
    })
}

/// The entries in a sector, attribute words blanked. An entry may be larger than a sector: its
/// attributes lie in the first.
fn without_attributes(sector: &[u8], entry_size: usize) -> Vec<u8> {
    let mut bytes = sector.to_vec();
    for entry in bytes.chunks_mut(entry_size) {
        if let Some(word) = entry.get_mut(ATTRIBUTES) {
            word.fill(0);
        }
    }
    bytes
}
