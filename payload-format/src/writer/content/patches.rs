//! Patches from predecessors: sections of chunks that an old image doesn't have, made of what it has
//! that is similar.
//!
//! ```text
//!  old image ─▶ sketch ─▶ chunks that it lacks ─▶ sections ─▶ sources, by votes ─▶ bsdiff ─▶ spool
//!                                                     │              all cores        │
//!  new image ───────── content of each ◀──────────────┘                 not smaller: left out
//! ```
//!
//! What has nothing similar is left to its packed chunks.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::Range;

use super::old_sketch::OldSketch;
use super::{Input, WriteError};
use crate::bsdiff::{Container, Parts, Suffixes, similar};
use crate::content::{ContentPieces, ContentTables, PatchSection, PieceReader, Predecessor, apply};
use crate::writer::Snapshot;
use crate::writer::delta::WorkerPool;

/// Bytes of content that a section makes, about: more of it shares sources and their costs.
const SECTION: u64 = 1 << 20;

/// Bytes of sources of a section.
const SOURCES: u64 = 4 << 20;

/// Bytes of chunks that are there, which a section makes all the same to go on behind them.
const GAP: u64 = 32 << 10;

/// Bytes of memory for all that is worked on at a time, and of one section: the order of its sources'
/// endings, and what compresses the patch.
const MEMORY: u64 = 512 << 20;
const NEED: u64 = 64 << 20;

/// Content that packs as badly as this, in per cent, has been compressed before.
const COMPRESSED: u64 = 97;

/// A new image whose packed chunks are there.
pub(super) struct PackedImage<'a> {
    pub(super) image: Snapshot<'a>,
    pub(super) tables: &'a ContentTables,
    pieces: ContentPieces,
}

/// A section, before its patch is made.
struct SectionDraft {
    chunks: Range<usize>,
    /// Its content.
    content: Range<u64>,
    /// Bytes of the packed chunks that it takes the place of.
    packed_len: u64,
}

/// A patch and what it is made from.
struct SectionPatch {
    patch: Vec<u8>,
    sources: Vec<Range<u64>>,
}

impl<'a> PackedImage<'a> {
    pub(super) fn new(image: Snapshot<'a>, tables: &'a ContentTables) -> Self {
        let mut pieces = ContentPieces::default();
        for segment in tables.segments() {
            pieces.push(segment.blocks, segment.encoder.is_some(), segment.len.into());
        }
        Self {
            image,
            tables,
            pieces,
        }
    }

    /// Makes the patches that lead from an old image to this one, and appends them to the spool, where
    /// they are at `place` of the content's data.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(super) fn patches(
        &self,
        old: Snapshot<'_>,
        (threads, place): (NonZeroUsize, &mut u64),
        spool: &mut impl Write,
    ) -> Result<Predecessor, WriteError> {
        let input = Input::Predecessor;
        let sketch = OldSketch::of(old, self.tables.chunker());
        let sketch = sketch.map_err(|source| WriteError::Read { input, source })?;
        let drafts = self.drafts(&sketch);
        let workers = WorkerPool {
            threads,
            memory: MEMORY,
        };
        let mut patches: Vec<Option<SectionPatch>> = Vec::new();
        patches.resize_with(drafts.len(), || None);
        let make = |number: usize| self.patch(old, &sketch, &drafts[number]);
        workers.run(&vec![NEED; drafts.len()], make, |number, patched| {
            patches[number] = patched.map_err(|source| WriteError::Compress { input, source })?;
            Ok(())
        })?;
        let mut predecessor = Predecessor::of(sketch.mark);
        for (draft, patched) in drafts.into_iter().zip(patches) {
            let Some(SectionPatch { patch, sources }) = patched else {
                continue;
            };
            // Invariant: 32 bits hold either, by `SECTION`.
            let len = |len: u64| u32::try_from(len).unwrap_or(u32::MAX);
            let packed_len = len(patch.len() as u64);
            let content_len = len(draft.content.end - draft.content.start);
            let section = PatchSection::new(draft.chunks, content_len, (*place, packed_len));
            predecessor.push(section, sources);
            *place += u64::from(packed_len);
            spool.write_all(&patch).map_err(WriteError::Spool)?;
        }
        Ok(predecessor)
    }

    /// Runs of chunks that the old image lacks.
    fn drafts(&self, old: &OldSketch) -> Vec<SectionDraft> {
        let (mut drafts, mut at): (Vec<SectionDraft>, u64) = (Vec::new(), 0);
        for (number, chunk) in self.tables.chunks().iter().enumerate() {
            let end = at + u64::from(chunk.len);
            if !old.has(chunk.hash) {
                let packed_len = u64::from(chunk.packed_len);
                match drafts.last_mut() {
                    Some(last) if at - last.content.end <= GAP && end - last.content.start <= SECTION => {
                        last.chunks.end = number + 1;
                        last.content.end = end;
                        last.packed_len += packed_len;
                    }
                    _ => drafts.push(SectionDraft {
                        chunks: number..number + 1,
                        content: at..end,
                        packed_len,
                    }),
                }
            }
            at = end;
        }
        drafts
    }

    /// The patch of a section, if that makes it and is smaller than what it takes the place of.
    fn patch(
        &self,
        old: Snapshot<'_>,
        sketch: &OldSketch,
        draft: &SectionDraft,
    ) -> io::Result<Option<SectionPatch>> {
        let (image, old) = (self.image.parts(), old.parts());
        let Some(new) = read(image, &self.pieces, &draft.content)? else {
            return Err(changed());
        };
        let sources = sketch.sources(&new, SOURCES);
        if sources.is_empty() && draft.is_compressed() {
            return Ok(None);
        }
        let mut content = Vec::new();
        for source in &sources {
            let bytes = read(old, &sketch.pieces, source)?;
            content.extend(bytes.ok_or_else(changed)?);
        }
        let suffixes = Suffixes::of(&content)?;
        let parts = Parts::new(&content, &new, &similar(&suffixes, &new), |place| place);
        let patch = parts.pack(&[Container::Bsdf2])?.patch(Container::Bsdf2);
        let is_smaller = (patch.len() as u64) < draft.packed_len && patch.len() < new.len();
        // Tried, as encoders are: a node that is given a wrong one fetches the payload besides.
        let is_right = is_smaller && apply(&patch, &content, new.len()).is_ok_and(|made| made == new);
        Ok(is_right.then_some(SectionPatch { patch, sources }))
    }
}

impl SectionDraft {
    /// Whether no compressor finds anything in it.
    fn is_compressed(&self) -> bool {
        self.packed_len * 100 > (self.content.end - self.content.start) * COMPRESSED
    }
}

fn read(
    image: (&dyn crate::apply::ReadBlocks, u64),
    pieces: &ContentPieces,
    range: &Range<u64>,
) -> io::Result<Option<Vec<u8>>> {
    let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
    PieceReader::new()?.read(image, pieces, range.start, len)
}

/// What was read a moment ago is not there any more.
fn changed() -> io::Error {
    io::Error::other("the image has changed meanwhile")
}
