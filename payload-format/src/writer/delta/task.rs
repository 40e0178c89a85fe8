//! The work that a delta is, in pieces that can be done side by side: each becomes some operations.

use super::blocks::BlockList;
use super::origin::Origin;
use crate::writer::press::BLOCK;

/// Blocks that one operation copies: 8 MiB, so that nodes can share the work among cores.
const COPIED: u64 = 2048;

/// Blocks that one operation zeroes.
const ZEROED: u64 = 8192;

/// Blocks that one operation unpacks: 2 MiB. Larger ones compress little better, and nodes hold all of it.
const UNPACKED: u64 = 512;

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
}

impl Task {
    /// Memory that it takes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Self::Zero(_) => 0,
            Self::Copy { .. } => 16 << 20,
            Self::Pack(_) => 80 << 20,
        }
    }

    /// Bytes of the new image that it makes.
    pub(super) fn result(&self) -> u64 {
        let (Self::Zero(blocks)
        | Self::Pack(blocks)
        | Self::Copy {
            destination: blocks, ..
        }) = self;
        blocks.count() * BLOCK
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
            Origin::Fresh => {}
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

/// What has nothing in common with the old image.
pub(super) fn novel(blocks: &BlockList) -> Vec<Task> {
    let (mut tasks, mut chunk) = (Vec::new(), BlockList::default());
    for block in blocks.iter() {
        push(&mut chunk, block, UNPACKED, |chunk| tasks.push(Task::Pack(chunk)));
    }
    if !chunk.is_empty() {
        tasks.push(Task::Pack(chunk));
    }
    tasks
}

/// Adds a block to what is taken away when there are `enough`.
fn push(blocks: &mut BlockList, block: u64, enough: u64, take: impl FnOnce(BlockList)) {
    blocks.push_block(block);
    if blocks.count() == enough {
        take(std::mem::take(blocks));
    }
}
