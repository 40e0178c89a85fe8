//! The chunk map: from btrfs' logical addresses to places in the image.

use super::field::DiskStructure;
use super::tree::{Item, Key};

/// `CHUNK_ITEM`, the type of its items.
const CHUNK_ITEM: u8 = 228;

/// Bits of a profile that spreads one copy over several places: RAID 0, 10, 5 and 6.
const SPREAD: u64 = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8;

/// Chunks that are known at a time; one has 8 MiB and more.
const MAX: usize = 1 << 14;

/// Runs of logical addresses, each in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct ChunkMap {
    /// Sorted by their logical addresses, which all differ.
    runs: Vec<MappedRun>,
}

#[derive(Debug, Clone, Copy)]
struct MappedRun {
    address: u64,
    len: u64,
    place: u64,
}

impl ChunkMap {
    /// The chunks in the superblock: keys, each followed by its item.
    pub(super) fn of_superblock(mut bytes: &[u8]) -> Self {
        let mut map = Self::default();
        while let Some((key, rest)) = bytes.split_at_checked(Key::LEN) {
            let Some(key) = Key::parse(DiskStructure(key)) else {
                break;
            };
            let content = DiskStructure(rest);
            map.add(Item { key, content });
            let stripes = content.u16(44).map_or(0, usize::from);
            let Some(next) = rest.get(48 + 32 * stripes..).filter(|_| stripes > 0) else {
                break;
            };
            bytes = next;
        }
        map
    }

    /// Adds a chunk, if the item is one that is understood.
    pub(super) fn add(&mut self, item: Item<'_>) {
        let Some(run) = run(item).filter(|_| self.runs.len() < MAX) else {
            return;
        };
        let at = self.runs.partition_point(|other| other.address < run.address);
        // Those of the superblock come again.
        if self.runs.get(at).is_none_or(|other| other.address != run.address) {
            self.runs.insert(at, run);
        }
    }

    /// Where so many bytes at an address lie, all in one chunk.
    pub(super) fn place(&self, address: u64, len: u64) -> Option<u64> {
        let at = self.runs.partition_point(|run| run.address <= address);
        let run = self.runs.get(at.checked_sub(1)?)?;
        let within = address - run.address;
        let end = within.checked_add(len)?;
        (end <= run.len).then(|| run.place.checked_add(within)).flatten()
    }
}

fn run(item: Item<'_>) -> Option<MappedRun> {
    let Item { key, content } = item;
    let (len, profile, stripes) = (content.u64(0)?, content.u64(24)?, content.u16(44)?);
    if key.kind != CHUNK_ITEM || profile & SPREAD != 0 || stripes == 0 {
        return None;
    }
    Some(MappedRun {
        address: key.offset,
        len,
        // Of the first copy.
        place: content.u64(48 + 8)?,
    })
}
