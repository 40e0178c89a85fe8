//! Predecessors: old images that a payload has patches for, and the sections that hold these.
//!
//! ```text
//!  old content   ───[source]──────────[source]────────────
//!                       └───── patch ─────┘
//!                                ▼
//!  content       ──chunk│[chunk│chunk│chunk]│chunk───      a section makes chunks that follow each other
//! ```
//!
//! A node that knows its running slot as a predecessor fetches the sections in place of the packed
//! chunks that they make. Whether it is right makes no difference to the image: each chunk is held
//! against its hash, whatever it was made of.

use std::ops::Range;

use super::columns::{Column, even, put, put_signed};
use super::tables::Chunk;
use super::{ChunkHash, TablesError};
use crate::digest::{RunningHash, Sha256Digest};
use crate::wire::WirePredecessor;

/// An old image, known by its content, and what leads from there to the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predecessor {
    pub(crate) mark: ContentMark,
    pub(crate) sections: Vec<PatchSection>,
    /// Of all sections, one after the other: bytes of the old content.
    pub(crate) sources: Vec<Range<u64>>,
}

/// What identifies an old image: the beginning of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentMark {
    /// Bytes of content; a chunk ends there.
    pub(crate) len: u64,
    /// Of the hashes of its chunks, one after the other.
    pub(crate) sha256: Sha256Digest,
}

/// A patch that makes chunks which follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchSection {
    /// Their numbers, from 0.
    pub chunks: Range<usize>,
    /// Bytes of their content.
    pub len: u32,
    /// Place of the patch in the payload, in bytes from the first packed chunk on.
    pub place: u64,
    /// Bytes of the patch.
    pub packed_len: u32,
    /// The first of its sources, and the one behind the last.
    sources: (usize, usize),
}

impl Predecessor {
    /// Predecessors at most.
    pub const MAX: usize = 16;

    /// Sections of all predecessors together, at most.
    pub const MAX_SECTIONS: usize = 1 << 16;

    /// Sources of all sections together, at most.
    pub const MAX_SOURCES: usize = 1 << 18;

    /// Bytes of content that one section makes, at most: memory of a node.
    pub const MAX_SECTION: u32 = 1 << 20;

    /// Bytes of all sources of a section, at most: likewise.
    pub const MAX_SOURCE: u32 = 4 << 20;

    /// All sources together have so many times the bytes of the new content, at most: time of a node.
    const MAX_RATIO: u64 = 8;

    /// Its sections, in the order of their chunks.
    #[must_use]
    pub fn sections(&self) -> &[PatchSection] {
        &self.sections
    }

    /// What a section is made from: bytes of the old image's content, one range after the other.
    #[must_use]
    pub fn sources(&self, section: &PatchSection) -> &[Range<u64>] {
        self.sources
            .get(section.sources.0..section.sources.1)
            .unwrap_or_default()
    }

    /// Bytes of all patches.
    pub(crate) fn data_len(&self) -> u64 {
        self.sections
            .iter()
            .map(|section| u64::from(section.packed_len))
            .sum()
    }

    /// Appends a section behind the others, whose patch lies at `place`.
    pub(crate) fn push(&mut self, section: PatchSection, sources: impl IntoIterator<Item = Range<u64>>) {
        let first = self.sources.len();
        self.sources.extend(sources);
        self.sections.push(PatchSection {
            sources: (first, self.sources.len()),
            ..section
        });
    }

    pub(crate) fn of(mark: ContentMark) -> Self {
        Self {
            mark,
            sections: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn memory(&self) -> u64 {
        (self.sections.len() * size_of::<PatchSection>() + self.sources.len() * size_of::<Range<u64>>())
            as u64
    }
}

impl PatchSection {
    /// Where its patch lies: from the first packed chunk on.
    pub(super) fn range(&self) -> Range<u64> {
        self.place..self.place + u64::from(self.packed_len)
    }

    /// A section without sources, for [`Predecessor::push`].
    pub(crate) const fn new(chunks: Range<usize>, len: u32, (place, packed_len): (u64, u32)) -> Self {
        Self {
            chunks,
            len,
            place,
            packed_len,
            sources: (0, 0),
        }
    }
}

/// The running mark of content whose chunks come one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarkBuilder {
    len: u64,
    hashes: RunningHash,
}

impl MarkBuilder {
    pub(crate) fn chunk(&mut self, hash: ChunkHash, len: usize) {
        self.len += len as u64;
        self.hashes.update(hash.as_bytes());
    }

    /// Of all chunks so far.
    pub(crate) fn mark(&self) -> ContentMark {
        ContentMark {
            len: self.len,
            sha256: self.hashes.value(),
        }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }
}

/// Reads all predecessors of a payload, whose patches follow its packed chunks: `chunks_len` bytes.
pub(super) fn parse(
    wire: &[WirePredecessor],
    chunks: &[Chunk],
    chunks_len: u64,
) -> Result<Vec<Predecessor>, TablesError> {
    if wire.len() > Predecessor::MAX {
        return Err(TablesError::TooMany {
            field: "predecessors",
            limit: Predecessor::MAX,
        });
    }
    let mut parser = Parser {
        chunks,
        place: chunks_len,
        sections_left: Predecessor::MAX_SECTIONS,
        sources_left: Predecessor::MAX_SOURCES,
    };
    wire.iter().map(|wire| parser.predecessor(wire)).collect()
}

struct Parser<'a> {
    chunks: &'a [Chunk],
    /// Place of the next patch.
    place: u64,
    sections_left: usize,
    sources_left: usize,
}

/// The lists of a predecessor.
struct Columns<'a> {
    skips: Column<'a>,
    counts: Column<'a>,
    packed: Column<'a>,
    source_counts: Column<'a>,
    source_starts: Column<'a>,
    source_lengths: Column<'a>,
}

impl Parser<'_> {
    fn predecessor(&mut self, wire: &WirePredecessor) -> Result<Predecessor, TablesError> {
        let hash = wire.content_hash.as_deref().unwrap_or_default();
        even("content_hash", hash.len(), Sha256Digest::LEN)?;
        // Invariant: it has as many bytes.
        let sha256 = hash.first_chunk().copied().unwrap_or_default();
        let mut predecessor = Predecessor::of(ContentMark {
            len: wire.content_len.unwrap_or(0),
            sha256: Sha256Digest::from(sha256),
        });
        let mut columns = Columns {
            skips: Column::new("section_skips", &wire.section_skips),
            counts: Column::new("section_chunks", &wire.section_chunks),
            packed: Column::new("patch_lengths", &wire.patch_lengths),
            source_counts: Column::new("source_counts", &wire.source_counts),
            source_starts: Column::new("source_starts", &wire.source_starts),
            source_lengths: Column::new("source_lengths", &wire.source_lengths),
        };
        let sections = columns.counts.count(self.sections_left)?;
        even(
            "section_skips",
            columns.skips.count(self.sections_left)?,
            sections,
        )?;
        even(
            "patch_lengths",
            columns.packed.count(self.sections_left)?,
            sections,
        )?;
        even(
            "source_counts",
            columns.source_counts.count(self.sections_left)?,
            sections,
        )?;
        let sources = columns.source_starts.count(self.sources_left)?;
        even(
            "source_lengths",
            columns.source_lengths.count(self.sources_left)?,
            sources,
        )?;
        self.sections_left -= sections;
        self.sources_left -= sources;
        let (mut next, mut left) = (0, sources);
        predecessor.sections.reserve_exact(sections);
        predecessor.sources.reserve_exact(sources);
        for entry in 0..sections {
            let section = self.section(&mut columns, entry, next)?;
            next = section.chunks.end;
            let count = columns.source_counts.bounded(entry, (0, u32_of(left)))?;
            left -= count as usize;
            let sources = read_sources(&mut columns, &predecessor, count)?;
            predecessor.push(section, sources);
        }
        even("source_starts", sources, sources - left)?;
        self.check_sources(&predecessor)?;
        Ok(predecessor)
    }

    /// The next section, whose first chunk is `next` or one behind it.
    fn section(
        &mut self,
        columns: &mut Columns<'_>,
        entry: usize,
        next: usize,
    ) -> Result<PatchSection, TablesError> {
        let last = self.chunks.len().saturating_sub(1);
        let skip = columns
            .skips
            .bounded(entry, (0, u32_of(last.saturating_sub(next))))?;
        let first = next + skip as usize;
        let room = self.chunks.len().saturating_sub(first);
        let count = columns.counts.bounded(entry, (1, u32_of(room)))?;
        let end = first + count as usize;
        let len: u64 = self.chunks[first..end]
            .iter()
            .map(|chunk| u64::from(chunk.len))
            .sum();
        let len = in_range("section_chunks", entry, len, Predecessor::MAX_SECTION)?;
        let packed_len = columns.packed.bounded(entry, (1, len))?;
        let place = self.place;
        self.place += u64::from(packed_len);
        Ok(PatchSection::new(first..end, len, (place, packed_len)))
    }

    fn check_sources(&self, predecessor: &Predecessor) -> Result<(), TablesError> {
        let content: u64 = self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let limit = content.saturating_mul(Predecessor::MAX_RATIO);
        // Invariant: at most 2^18 of 4 MiB.
        let found = predecessor
            .sources
            .iter()
            .map(|source| source.end - source.start)
            .sum();
        if found > limit {
            return Err(TablesError::TooMuchContent { found, limit });
        }
        Ok(())
    }
}

/// The sources of the next section: within the content that the predecessor is known by, whose
/// length the section may have in all.
fn read_sources(
    columns: &mut Columns<'_>,
    predecessor: &Predecessor,
    count: u32,
) -> Result<Vec<Range<u64>>, TablesError> {
    let (mut sources, mut sum) = (Vec::new(), 0_u64);
    let mut end = predecessor.sources.last().map_or(0, |source| source.end);
    for entry in (predecessor.sources.len()..).take(count as usize) {
        let range = |found, max| TablesError::Range {
            field: "source_starts",
            entry,
            found,
            min: 0,
            max,
        };
        let start = i128::from(end) + i128::from(columns.source_starts.signed()?);
        let len = columns
            .source_lengths
            .bounded(entry, (1, Predecessor::MAX_SOURCE))?;
        let last = predecessor.mark.len.saturating_sub(len.into());
        let start = u64::try_from(start).map_err(|_| range(u64::MAX, last))?;
        if start > last || u64::from(len) > predecessor.mark.len {
            return Err(range(start, last));
        }
        sum += u64::from(len);
        in_range("source_lengths", entry, sum, Predecessor::MAX_SOURCE)?;
        end = start + u64::from(len);
        sources.push(start..end);
    }
    Ok(sources)
}

/// Bytes of what a section makes, or is made from.
fn in_range(field: &'static str, entry: usize, found: u64, max: u32) -> Result<u32, TablesError> {
    u32::try_from(found)
        .ok()
        .filter(|found| *found <= max)
        .ok_or(TablesError::Range {
            field,
            entry,
            found,
            min: 1,
            max: max.into(),
        })
}

/// Invariant: numbers of chunks and sources have 20 bits.
fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// As it stands in a manifest.
pub(super) fn to_wire(predecessor: &Predecessor) -> WirePredecessor {
    let mut wire = WirePredecessor {
        content_len: Some(predecessor.mark.len),
        content_hash: Some(predecessor.mark.sha256.as_bytes().to_vec()),
        ..WirePredecessor::default()
    };
    let (mut next, mut end) = (0, 0);
    for section in &predecessor.sections {
        put(&mut wire.section_skips, (section.chunks.start - next) as u64);
        put(&mut wire.section_chunks, section.chunks.len() as u64);
        put(&mut wire.patch_lengths, section.packed_len.into());
        let sources = predecessor.sources(section);
        put(&mut wire.source_counts, sources.len() as u64);
        for source in sources {
            put_signed(&mut wire.source_starts, signed(source.start) - signed(end));
            put(&mut wire.source_lengths, source.end - source.start);
            end = source.end;
        }
        next = section.chunks.end;
    }
    wire
}

/// Invariant: no content has 2^63 bytes.
fn signed(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
