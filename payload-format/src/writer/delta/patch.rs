//! Patches: from a source that some threads compared with, to the parts of it that nodes must read.

use std::collections::BTreeSet;
use std::io;

use super::blocks::BlockList;
use super::encoder::{Encoded, Encoder};
use crate::bsdiff::{Container, Parts, Similar, Suffixes, similar};
use crate::digest::Sha256Digest;
use crate::operation::PatchKind;
use crate::wire;
use crate::writer::section::BLOCK_LEN;

/// Blocks with nothing similar that are better packed by themselves, by what packs better than a
/// patch can.
const NOVEL: usize = 8;

/// A patch this many times smaller than what it makes is not held against other ways.
const CLEARLY: usize = 16;

/// What a source costs in the manifest, in bytes: its hash, and each extent.
const HASH: usize = 34;
const EXTENT: usize = 9;

/// A source that was read.
pub(super) struct Patcher<'a> {
    encoder: &'a Encoder<'a>,
    /// Numbers of its blocks.
    blocks: Vec<u64>,
    content: Vec<u8>,
}

impl<'a> Patcher<'a> {
    pub(super) fn read(encoder: &'a Encoder<'a>, source: &BlockList) -> io::Result<Self> {
        let content = match &encoder.old {
            Some(old) => source.read(old)?,
            None => Vec::new(),
        };
        Ok(Self {
            encoder,
            blocks: source.iter().collect(),
            content,
        })
    }

    /// The operations of each part.
    pub(super) fn encode(&self, parts: &[BlockList]) -> io::Result<Vec<Encoded>> {
        let suffixes = Suffixes::of(&self.content)?;
        let mut encoded = Vec::new();
        for part in parts {
            self.part(&suffixes, part, &mut encoded)?;
        }
        Ok(encoded)
    }

    fn part(&self, suffixes: &Suffixes<'_>, part: &BlockList, to: &mut Vec<Encoded>) -> io::Result<()> {
        let content = part.read(&self.encoder.new)?;
        let pieces = similar(suffixes, &content);
        let (known, novel) = separate(part, &pieces);
        if known.is_empty() || novel.count() < NOVEL as u64 {
            to.push(self.smallest(part, content, &pieces)?);
            return Ok(());
        }
        let content = known.read(&self.encoder.new)?;
        let pieces = similar(suffixes, &content);
        to.push(self.smallest(&known, content, &pieces)?);
        let content = novel.read(&self.encoder.new)?;
        to.push(self.encoder.packed(&novel, content)?);
        Ok(())
    }

    /// The smallest of all patches, and of all ways to pack.
    fn smallest(&self, part: &BlockList, content: Vec<u8>, pieces: &[Similar]) -> io::Result<Encoded> {
        let Some(patch) = self.patch(part, &content, pieces)? else {
            return self.encoder.packed(part, content);
        };
        if patch.data.len() * CLEARLY < content.len() {
            return Ok(patch);
        }
        let packed = self.encoder.packed(part, content)?;
        let source = HASH + EXTENT * patch.operation.src_extents.len();
        let is_smaller = patch.data.len() + source < packed.data.len();
        Ok(if is_smaller { patch } else { packed })
    }

    fn patch(&self, part: &BlockList, content: &[u8], pieces: &[Similar]) -> io::Result<Option<Encoded>> {
        let used = Used::of(pieces, self.blocks.len());
        if used.indices.is_empty() {
            return Ok(None);
        }
        let source: BlockList = used.indices.iter().map(|index| self.blocks[*index]).collect();
        if !self.encoder.granularity.allows(source.ranges().len()) {
            return Ok(None);
        }
        let parts = Parts::new(&self.content, content, pieces, |place| used.place(place));
        let containers = self.encoder.patches.iter().map(|kind| container(*kind).1);
        let packed = parts.pack(&containers.collect::<Vec<_>>())?;
        let patches = self.encoder.patches.iter().map(|kind| {
            let (number, container) = container(*kind);
            (number, packed.patch(container))
        });
        let smallest = patches.min_by_key(|(_, patch)| patch.len());
        let blocks = used.indices.iter();
        let bytes: Vec<u8> = blocks
            .flat_map(|index| &self.content[index * BLOCK_LEN..][..BLOCK_LEN])
            .copied()
            .collect();
        Ok(smallest.map(|(number, patch)| {
            Encoded::new(number, part, patch).with_source(&source, &Sha256Digest::of(&bytes))
        }))
    }
}

/// The operation that applies such a patch, and how the patch is laid out.
fn container(kind: PatchKind) -> (i32, Container) {
    match kind {
        PatchKind::Bsdiff | PatchKind::SourceBsdiff => (wire::SOURCE_BSDIFF, Container::Bsdiff40),
        PatchKind::BrotliBsdiff => (wire::BROTLI_BSDIFF, Container::Bsdf2),
    }
}

/// Blocks of a source that a patch reads, which are all that a node must have.
struct Used {
    /// In ascending order.
    indices: Vec<usize>,
    /// How many of them come before each block of the source.
    ranks: Vec<usize>,
}

impl Used {
    fn of(pieces: &[Similar], blocks: usize) -> Self {
        let touched = pieces
            .iter()
            .flat_map(|piece| piece.old / BLOCK_LEN..piece.old_end().div_ceil(BLOCK_LEN));
        let touched: BTreeSet<usize> = touched.collect();
        let mut ranks = vec![0; blocks];
        for (rank, index) in touched.iter().enumerate() {
            ranks[*index] = rank;
        }
        Self {
            indices: touched.into_iter().collect(),
            ranks,
        }
    }

    /// Where a place of the source is when all other blocks are left out. A piece lies in
    /// neighbouring blocks, all of them used, so it stays in one piece.
    fn place(&self, place: usize) -> usize {
        self.ranks[place / BLOCK_LEN] * BLOCK_LEN + place % BLOCK_LEN
    }
}

/// The blocks that some piece reaches into, and the others.
fn separate(part: &BlockList, pieces: &[Similar]) -> (BlockList, BlockList) {
    let touched: BTreeSet<usize> = pieces
        .iter()
        .flat_map(|piece| piece.new / BLOCK_LEN..piece.new_end().div_ceil(BLOCK_LEN))
        .collect();
    let (mut known, mut novel) = (BlockList::default(), BlockList::default());
    for (index, block) in part.iter().enumerate() {
        let list = if touched.contains(&index) {
            &mut known
        } else {
            &mut novel
        };
        list.push_block(block);
    }
    (known, novel)
}
