//! Regions of fresh blocks, each with what it is likely to be made from.

use std::collections::BTreeSet;
use std::io;

use super::blocks::{BlockList, Snapshot};
use super::ext::Files;
use super::origin::{self, Origin};
use super::sketch::Sketch;

/// Blocks of a region at most: 16 MiB.
const LARGEST: u64 = 4096;

/// Copied blocks between fresh ones of a file up to which all are made by one patch: naming their
/// place costs as much as a patch that leaves them as they are.
const GAP: usize = 4;

/// Unknown blocks between fresh ones up to which they are one region, where there are no files.
const DISTANCE: u64 = 16;

/// Blocks around one with something in common that are compared, too.
const MARGIN: u64 = 8;

/// Blocks from which on nothing in common means that there is nothing.
const TELLING: u64 = 16;

/// Blocks of the new image that belong together.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) blocks: BlockList,
    /// The same file of the old image, or the same blocks where there are no files.
    counterpart: BlockList,
}

/// All files of both images, where both are readable.
pub(super) struct Both {
    pub(super) old: Files,
    pub(super) new: Files,
}

/// The regions of all fresh blocks, those of files first.
pub(super) fn regions(origins: &mut [Origin], files: Option<&Both>) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut taken = vec![false; origins.len()];
    if let Some(both) = files {
        for (path, blocks) in &both.new {
            let counterpart = both.old.get(path);
            let blocks = of_file(blocks, counterpart.is_some(), origins, &mut taken);
            for blocks in blocks.split(LARGEST) {
                let counterpart = counterpart.cloned().unwrap_or_default();
                regions.push(Region { blocks, counterpart });
            }
        }
    }
    let mut rest = BlockList::default();
    for block in origin::fresh(origins).iter() {
        let free = usize::try_from(block).is_ok_and(|block| !taken[block]);
        let last = rest.ranges().last().map(|range| range.end());
        if last.is_some_and(|last| block > last + DISTANCE) || rest.count() == LARGEST {
            regions.push(Region::of_place(std::mem::take(&mut rest)));
        }
        if free {
            rest.push_block(block);
        }
    }
    if !rest.is_empty() {
        regions.push(Region::of_place(rest));
    }
    regions
}

impl Region {
    fn of_place(blocks: BlockList) -> Self {
        let counterpart = blocks.clone();
        Self { blocks, counterpart }
    }

    /// Where its content may come from: blocks of the old image in ascending order. Empty if
    /// nowhere.
    pub(super) fn source(
        &self,
        old: &Snapshot<'_>,
        new: &Snapshot<'_>,
        sketch: &Sketch,
    ) -> io::Result<BlockList> {
        let votes = sketch.votes(&self.blocks.read(new)?);
        let len = self.blocks.count();
        if votes.is_empty() && len >= TELLING {
            return Ok(BlockList::default());
        }
        let mut chosen = Chosen {
            blocks: BTreeSet::new(),
            end: old.blocks(),
        };
        if self.counterpart.count() <= LARGEST {
            self.counterpart.iter().for_each(|block| chosen.add(block));
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|(block, count)| (std::cmp::Reverse(*count), *block));
        let enough = chosen.blocks.len() as u64 + 2 * len + 8 * MARGIN;
        for (block, _) in votes {
            if chosen.blocks.len() as u64 >= enough {
                break;
            }
            (block.saturating_sub(MARGIN)..=block + MARGIN).for_each(|block| chosen.add(block));
        }
        Ok(chosen.blocks.into_iter().collect())
    }
}

/// Blocks of the old image.
struct Chosen {
    blocks: BTreeSet<u64>,
    end: u64,
}

impl Chosen {
    fn add(&mut self, block: u64) {
        if block < self.end {
            self.blocks.insert(block);
        }
    }
}

/// The fresh blocks of a file that nobody took; with short runs of copied ones between them, which
/// become fresh, if there is a file to patch.
fn of_file(blocks: &BlockList, patched: bool, origins: &mut [Origin], taken: &mut [bool]) -> BlockList {
    let (mut own, mut gap) = (BlockList::default(), Vec::new());
    for block in blocks.iter() {
        let Some(index) = usize::try_from(block).ok().filter(|index| *index < origins.len()) else {
            continue;
        };
        if taken[index] {
            continue;
        }
        match origins[index] {
            Origin::Zeros | Origin::Whole => {}
            Origin::Old(_) => gap.push((index, block)),
            Origin::Fresh => {
                let joins = patched && !own.is_empty() && gap.len() <= GAP;
                for (index, block) in gap.drain(..).filter(|_| joins) {
                    origins[index] = Origin::Fresh;
                    taken[index] = true;
                    own.push_block(block);
                }
                taken[index] = true;
                own.push_block(block);
            }
        }
    }
    own
}
