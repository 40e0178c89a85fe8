//! The chunks that patches make, for who has the predecessor that they are of.

use std::ops::Range;
use std::sync::Arc;

use super::{ContentError, ContentTables, OldContent, PatchSection, Predecessor};
use crate::bsdiff::{Container, Patch, PatchError};

/// Bytes of a source that are read at a time.
const READ: usize = 128 << 10;

/// The chunks that a predecessor's sections make, in order. Memory: one section, its sources and its
/// patch, 6 MiB at most, and three decoders that unpack that, 16 MiB.
pub struct PatchedChunks {
    tables: Arc<ContentTables>,
    /// An index of [`ContentTables::predecessors`]; it may be any where there are no sections.
    predecessor: usize,
    sections: Vec<PatchSection>,
    /// The section that is due, as an index.
    next: usize,
    /// What the last one has made.
    made: MadeChunks,
}

/// Content of chunks that follow each other.
#[derive(Debug, Default)]
struct MadeChunks {
    numbers: Range<usize>,
    content: Vec<u8>,
    /// Where the content of the next one begins.
    at: usize,
}

impl PatchedChunks {
    /// What the predecessor that the old image is has patches for; nothing if it is another image.
    /// Sections that take more bytes than the packed chunks that `has` doesn't have are left out.
    #[must_use]
    pub fn new(tables: &Arc<ContentTables>, old: &OldContent, mut has: impl FnMut(usize) -> bool) -> Self {
        let known = old.predecessor();
        let predecessor = known.and_then(|number| tables.predecessors().get(number));
        let sections = predecessor.map_or(&[][..], Predecessor::sections).iter();
        let packed_len = |chunk: usize| {
            tables
                .chunks()
                .get(chunk)
                .map_or(0, |chunk| chunk.packed_len.into())
        };
        let wanted = sections.filter(|section| {
            let missing = section.chunks.clone().filter(|chunk| !has(*chunk));
            u64::from(section.packed_len) < missing.map(packed_len).sum()
        });
        Self {
            sections: wanted.cloned().collect(),
            tables: Arc::clone(tables),
            predecessor: known.unwrap_or(0),
            next: 0,
            made: MadeChunks::default(),
        }
    }

    /// How many chunks are made.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sections.iter().map(|section| section.chunks.len()).sum()
    }

    /// The chunks that each patch makes, and its range among the packed chunks and patches, in bytes.
    pub fn patches(&self) -> impl Iterator<Item = (Range<usize>, Range<u64>)> {
        let sections = self.sections.iter();
        sections.map(|section| (section.chunks.clone(), section.range()))
    }

    /// The ranges of packed chunks and patches that hold what `has` doesn't, counted from the first
    /// packed chunk, in bytes: in the order in which they are taken. Those with little between them are
    /// joined.
    pub fn missing(&self, has: impl FnMut(usize) -> bool) -> Vec<Range<u64>> {
        self.tables.missing_beside(&self.sections, has)
    }

    /// The content of a chunk, if a section makes it; not yet held against its hash. Chunks are asked
    /// for in order. `fetch` gives bytes of the payload: so many from a place on, which counts from the
    /// first packed chunk.
    ///
    /// # Errors
    /// [`ContentError`], and those of `fetch`.
    pub fn take<E: From<ContentError>>(
        &mut self,
        chunk: usize,
        old: &mut OldContent,
        fetch: impl FnOnce(u64, u32) -> Result<Vec<u8>, E>,
    ) -> Result<Option<&[u8]>, E> {
        let due = self.sections.get(self.next);
        if let Some(section) = due.filter(|section| section.chunks.start == chunk) {
            // Its memory is free before the next one is made.
            self.made = MadeChunks::default();
            let source = self.source(section, old)?;
            let patch = fetch(section.place, section.packed_len)?;
            let content = apply(&patch, &source, section.len as usize);
            self.made = MadeChunks {
                numbers: section.chunks.clone(),
                content: content.map_err(|source| ContentError::Patch { chunk, source })?,
                at: 0,
            };
            self.next += 1;
        }
        if !self.made.numbers.contains(&chunk) {
            return Ok(None);
        }
        let start = self.made.at;
        // Invariant: the section was made of chunks that there are.
        self.made.at += self.tables.chunks()[chunk].len as usize;
        Ok(self.made.content.get(start..self.made.at))
    }

    /// What a section is made from, as it is now.
    fn source(&self, section: &PatchSection, old: &mut OldContent) -> Result<Vec<u8>, ContentError> {
        let predecessor = self.tables.predecessors().get(self.predecessor);
        let sources = predecessor.map_or(&[][..], |predecessor| predecessor.sources(section));
        let len_of = |range: &Range<u64>| usize::try_from(range.end - range.start).unwrap_or(0);
        // Invariant: 4 MiB at most, by the tables' check. One that grows may take twice as much, and
        // what is read at a time comes on top.
        let mut source = Vec::with_capacity(sources.iter().map(len_of).sum());
        for range in sources {
            for start in range.clone().step_by(READ) {
                let len = len_of(&(start..range.end)).min(READ);
                let bytes = old.read_at(start, len).map_err(ContentError::Old)?;
                let chunk = section.chunks.start;
                source.extend_from_slice(&bytes.ok_or(ContentError::Source { chunk })?);
            }
        }
        Ok(source)
    }
}

impl std::fmt::Debug for PatchedChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PatchedChunks")
            .field("sections", &self.sections.len())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// What a section makes of its sources.
pub(crate) fn apply(patch: &[u8], source: &[u8], len: usize) -> Result<Vec<u8>, PatchError> {
    if patch.len() == len {
        return Ok(patch.to_vec());
    }
    let patch = Patch::parse(Container::Bsdf2, patch)?;
    patch.head().expect(len as u64)?;
    let mut content = Vec::with_capacity(len);
    let read = |buf: &mut [u8], at: u64| {
        let from = usize::try_from(at)
            .ok()
            .and_then(|at| source.get(at..)?.get(..buf.len()));
        // Invariant: a patch reads within the old file only.
        buf.copy_from_slice(from.ok_or(PatchError::Idle)?);
        Ok(())
    };
    patch.apply::<PatchError>(source.len() as u64, read, |bytes| {
        content.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::apply::ReadBlocks;
    use crate::content::{Chunk, ChunkHash, ChunkerParams, MarkBuilder};
    use crate::digest::Sha256Digest;

    /// An image of blocks that look like nothing else.
    struct Noise;

    const IMAGE: u64 = 6 << 20;

    impl ReadBlocks for Noise {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            for (at, bytes) in (offset..).step_by(32).zip(buf.chunks_mut(32)) {
                bytes.copy_from_slice(&Sha256Digest::of(&at.to_le_bytes()).as_bytes()[..bytes.len()]);
            }
            Ok(())
        }
    }

    /// Sections of one chunk each, which have these sources.
    fn sections(sources: &[Vec<Range<u64>>]) -> Vec<(PatchSection, Vec<u8>)> {
        let chunk = Chunk {
            hash: ChunkHash::of(&[]),
            len: 1 << 10,
            packed_len: 1 << 10,
        };
        let mut predecessor = Predecessor::of(MarkBuilder::default().mark());
        for (number, sources) in sources.iter().enumerate() {
            let section = PatchSection::new(number..number + 1, chunk.len, (0, 1));
            predecessor.push(section, sources.iter().cloned());
        }
        let tables = Arc::new(ContentTables {
            chunker: ChunkerParams::DEFAULT,
            prefix_len: 0,
            encoders: Vec::new(),
            chunks: vec![chunk; sources.len()],
            segments: Vec::new(),
            verity_tree: None,
            predecessors: vec![predecessor],
            data_len: 0,
        });
        let mut old = OldContent::find(Arc::new(Noise), IMAGE, Arc::clone(&tables)).unwrap();
        let patched = PatchedChunks {
            predecessor: 0,
            sections: tables.predecessors[0].sections.clone(),
            tables,
            next: 0,
            made: MadeChunks::default(),
        };
        let sections = patched.sections.iter().cloned();
        let source = |section: PatchSection| {
            let source = patched.source(&section, &mut old).unwrap();
            (section, source)
        };
        sections.map(source).collect()
    }

    /// The bound of a section's memory holds whatever its sources are: they have the room that they
    /// take, and no more.
    #[test]
    fn sources_take_as_many_bytes_as_they_have() {
        let one: Vec<_> = std::iter::once(0..4 << 20).collect();
        let many: Vec<_> = (0..128)
            .rev()
            .map(|at| at * 40_000..at * 40_000 + (32 << 10))
            .collect();
        let odd = vec![5..6, 1000..200_001, 7..300_000];
        for (wanted, (_, source)) in [one.clone(), many.clone(), odd.clone()]
            .iter()
            .zip(sections(&[one, many, odd]))
        {
            let len: u64 = wanted.iter().map(|range| range.end - range.start).sum();
            assert_eq!((source.len() as u64, source.capacity()), (len, source.len()));
            let mut image = vec![0; usize::try_from(IMAGE).unwrap()];
            Noise.read_at(&mut image, 0).unwrap();
            let place = |place: u64| usize::try_from(place).unwrap();
            let expected: Vec<u8> = wanted
                .iter()
                .flat_map(|range| image[place(range.start)..place(range.end)].to_vec())
                .collect();
            assert!(source == expected);
        }
    }
}
