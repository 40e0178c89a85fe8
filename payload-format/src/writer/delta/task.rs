//! Tasks of a delta's generator: the work in pieces that can be done side by side: each becomes
//! some operations.

use std::collections::BTreeSet;

use super::blocks::BlockList;
use super::origin::Origin;
use crate::writer::section::BLOCK;

/// Blocks that one operation copies: 8 MiB, so that nodes can share the work among cores.
const COPIED: u64 = 2048;

/// Blocks that one operation zeroes.
const ZEROED: u64 = 8192;

/// Blocks that one operation unpacks: 2 MiB. Larger ones compress little better, and nodes hold all
/// of it.
pub(super) const UNPACKED: u64 = 512;

/// Blocks of sources that are compared at a time: 16 MiB, unless one region wants more.
const COMPARED: usize = 4096;

/// Bytes of memory for a part and its compressors.
const COMPRESSORS: u64 = 80 << 20;

/// Blocks of the new image, and how to get them.
#[derive(Debug)]
pub(super) enum Task {
    Zero(BlockList),
    Copy {
        source: BlockList,
        destination: BlockList,
    },
    /// In the smallest form there is.
    Pack(BlockList),
    /// Each part by a patch from some of the source.
    Patch {
        source: BlockList,
        parts: Vec<BlockList>,
    },
}

impl Task {
    /// Memory that it takes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Self::Zero(_) => 0,
            Self::Copy { .. } => 16 << 20,
            Self::Pack(_) => COMPRESSORS,
            // The source and the order of its endings.
            Self::Patch { source, .. } => COMPRESSORS + source.count() * BLOCK * 5,
        }
    }

    /// Extents that its operations take at least.
    pub(super) fn extents(&self) -> usize {
        match self {
            Self::Zero(blocks) | Self::Pack(blocks) => blocks.ranges().len(),
            Self::Copy { source, destination } => source.ranges().len() + destination.ranges().len(),
            Self::Patch { parts, .. } => parts.iter().map(|part| part.ranges().len()).sum(),
        }
    }

    /// Bytes of the new image that it makes.
    pub(super) fn result(&self) -> u64 {
        let blocks = match self {
            Self::Zero(blocks) | Self::Pack(blocks) => blocks.count(),
            Self::Copy { destination, .. } => destination.count(),
            Self::Patch { parts, .. } => parts.iter().map(BlockList::count).sum(),
        };
        blocks * BLOCK
    }
}

/// What is copied and what is zeros.
pub(super) fn unchanged(origins: &[Origin]) -> Vec<Task> {
    let mut tasks = Vec::new();
    let (mut source, mut destination, mut zeros) = Default::default();
    for (origin, block) in origins.iter().zip(0..) {
        match origin {
            Origin::Zeros => push(&mut zeros, block, ZEROED, |blocks| tasks.push(Task::Zero(blocks))),
            Origin::Old(old) => {
                BlockList::push_block(&mut source, *old);
                push(&mut destination, block, COPIED, |destination| {
                    let source = std::mem::take(&mut source);
                    tasks.push(Task::Copy { source, destination });
                });
            }
            Origin::Fresh | Origin::Whole => {}
        }
    }
    if !destination.is_empty() {
        tasks.push(Task::Copy { source, destination });
    }
    if !zeros.is_empty() {
        tasks.push(Task::Zero(zeros));
    }
    tasks
}

/// What is packed whole, chunk by chunk.
pub(super) fn whole(origins: &[Origin]) -> impl Iterator<Item = Task> {
    let numbered = origins.iter().zip(0..);
    let whole = numbered.filter(|(origin, _)| **origin == Origin::Whole);
    let blocks: BlockList = whole.map(|(_, block)| block).collect();
    let ranges = blocks.ranges().to_vec();
    ranges.into_iter().flat_map(|range| {
        let blocks: BlockList = (range.start()..range.end()).collect();
        blocks.split(UNPACKED).into_iter().map(Task::Pack)
    })
}

/// What is fresh: patches, and what has nothing in common with the old image.
pub(super) fn fresh(regions: impl IntoIterator<Item = (BlockList, BlockList)>) -> Vec<Task> {
    let (mut tasks, mut novel, mut pool) = (Vec::new(), BlockList::default(), Pool::default());
    for (blocks, source) in regions {
        if source.is_empty() {
            novel.extend(&blocks);
            continue;
        }
        pool.blocks.extend(&blocks);
        pool.source.extend(source.iter());
        if pool.blocks.count() >= UNPACKED || pool.source.len() >= COMPARED {
            tasks.push(std::mem::take(&mut pool).task());
        }
    }
    if !pool.blocks.is_empty() {
        tasks.push(pool.task());
    }
    tasks.extend(novel.split(UNPACKED).into_iter().map(Task::Pack));
    tasks
}

/// Small regions that share an operation: each costs some two hundred bytes.
#[derive(Default)]
struct Pool {
    blocks: BlockList,
    source: BTreeSet<u64>,
}

impl Pool {
    fn task(self) -> Task {
        Task::Patch {
            source: self.source.into_iter().collect(),
            parts: self.blocks.split(UNPACKED),
        }
    }
}

/// Adds a block to what is taken away when there are `enough`.
fn push(blocks: &mut BlockList, block: u64, enough: u64, take: impl FnOnce(BlockList)) {
    blocks.push_block(block);
    if blocks.count() == enough {
        take(std::mem::take(blocks));
    }
}
