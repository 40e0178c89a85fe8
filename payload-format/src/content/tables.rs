//! Content tables, checked: once they exist, chunks and segments make the same content, and every
//! block of the image is written by one segment or is zero.

use super::columns::{Column, even, put, put_signed};
use super::encoder::MAX_ENCODED;
use super::packing::MAX_PREFIX;
use super::{ChunkerParams, ContentEncoder, Predecessor, TablesError, VerityTree, predecessor};
use crate::block::BlockRange;
use crate::digest::Sha256Digest;
use crate::wire;

/// Bytes of a block, whatever block size the manifest has for its operations.
pub(crate) const BLOCK: u64 = 4096;

/// Likewise, in memory.
pub(crate) const BLOCK_LEN: usize = 4096;

/// Likewise, as segments count.
const BLOCK_BYTES: u32 = 4096;
const _: () = assert!(BLOCK_LEN as u64 == BLOCK && BLOCK_BYTES as u64 == BLOCK);

/// What identifies a chunk: the first 16 bytes of the SHA-256 of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkHash([u8; Self::LEN]);

impl ChunkHash {
    /// Length of a hash, in bytes.
    pub const LEN: usize = 16;

    /// The hash of a chunk's content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let digest = Sha256Digest::of(content);
        // Invariant: a digest is longer than that.
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// As it stands in a manifest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// A piece of content, and its packed form in the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Of its content.
    pub hash: ChunkHash,
    /// Bytes of its content.
    pub len: u32,
    /// Bytes of its packed form; as many as `len` if it lies there as it is.
    pub packed_len: u32,
}

/// Blocks of the image that are made of the next bytes of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The blocks that it writes.
    pub blocks: BlockRange,
    /// Bytes of content that it takes.
    pub len: u32,
    /// How they become blocks: an index into [`ContentTables::encoders`]. `None`: they are the
    /// blocks.
    pub encoder: Option<u8>,
}

/// How an image is made of content, and where the content lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentTables {
    pub(crate) chunker: ChunkerParams,
    pub(crate) prefix_len: u32,
    pub(crate) encoders: Vec<ContentEncoder>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) verity_tree: Option<VerityTree>,
    pub(crate) predecessors: Vec<Predecessor>,
    pub(crate) data_len: u64,
}

impl ContentTables {
    /// Chunks, and segments, at most.
    pub const MAX_ENTRIES: usize = 1 << 19;

    /// Encoders at most.
    pub const MAX_ENCODERS: usize = 16;

    /// Bytes of content of a segment, and of its blocks, at most.
    pub const MAX_SEGMENT: u32 = 1 << 20;
    const _ENCODED: () = assert!(MAX_ENCODED == Self::MAX_SEGMENT as usize);

    /// The content of an image has so many times its bytes, at most: of what is encoded.
    const MAX_RATIO: u64 = 32;

    /// How chunks were cut.
    #[must_use]
    pub const fn chunker(&self) -> ChunkerParams {
        self.chunker
    }

    /// Bytes of content that the packed form of a chunk refers back to, at most.
    #[must_use]
    pub const fn prefix_len(&self) -> u32 {
        self.prefix_len
    }

    /// The encoders that segments name.
    #[must_use]
    pub fn encoders(&self) -> &[ContentEncoder] {
        &self.encoders
    }

    /// The content, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// What becomes of the content, in its order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The hash tree that is computed once all content is there, if the image has one.
    #[must_use]
    pub const fn verity_tree(&self) -> Option<&VerityTree> {
        self.verity_tree.as_ref()
    }

    /// Bytes of the content.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    /// Bytes of all packed chunks and of the patches behind them, which follow the data of all operations.
    #[must_use]
    pub const fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Old images that there are patches for.
    #[must_use]
    pub fn predecessors(&self) -> &[Predecessor] {
        &self.predecessors
    }

    /// Bytes of memory that they take, about.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let tables = self.chunks.len() * size_of::<Chunk>() + self.segments.len() * size_of::<Segment>();
        tables as u64 + self.predecessors.iter().map(Predecessor::memory).sum::<u64>()
    }

    /// Blocks of an image of so many bytes that neither a segment nor the hash tree writes: they are
    /// zero. In order.
    #[must_use]
    pub fn zeros(&self, image_len: u64) -> Vec<BlockRange> {
        let (mut zeros, mut next) = (Vec::new(), 0);
        for range in self.sorted() {
            zeros.extend(BlockRange::new(next, range.start()));
            next = range.end();
        }
        zeros.extend(BlockRange::new(next, image_len.div_ceil(BLOCK)));
        zeros
    }

    fn sorted(&self) -> Vec<BlockRange> {
        let segments = self.segments.iter().map(|segment| segment.blocks);
        let mut ranges: Vec<_> = segments
            .chain(self.verity_tree.iter().map(VerityTree::blocks))
            .collect();
        ranges.sort_unstable_by_key(|range| range.start());
        ranges
    }

    /// Reads the tables of an image of `image_len` bytes.
    pub(crate) fn parse(wire: &wire::WireContentTables, image_len: u64) -> Result<Self, TablesError> {
        let blocks = image_len.div_ceil(BLOCK);
        let chunker = ChunkerParams::new(
            wire.chunk_min.unwrap_or(0),
            wire.chunk_mask_bits.unwrap_or(0),
            wire.chunk_max.unwrap_or(0),
        )?;
        let encoders = encoders(&wire.encoders)?;
        let chunks = chunks(wire, chunker)?;
        let segments = segments(wire, encoders.len(), blocks)?;
        let chunks_len = chunks.iter().map(|chunk| u64::from(chunk.packed_len)).sum();
        let predecessors = predecessor::parse(&wire.predecessors, &chunks, chunks_len)?;
        let tables = Self {
            chunker,
            prefix_len: prefix_len(wire.prefix_len.unwrap_or(0))?,
            encoders,
            data_len: chunks_len + predecessors.iter().map(Predecessor::data_len).sum::<u64>(),
            predecessors,
            chunks,
            segments,
            verity_tree: wire
                .verity_tree
                .as_ref()
                .map(|tree| verity_tree(tree, blocks))
                .transpose()?,
        };
        tables.check_content(blocks)?;
        Ok(tables)
    }

    fn check_content(&self, blocks: u64) -> Result<(), TablesError> {
        let chunks = self.content_len();
        let segments: u64 = self.segments.iter().map(|segment| u64::from(segment.len)).sum();
        if chunks != segments {
            return Err(TablesError::ContentLength { chunks, segments });
        }
        let limit = blocks.saturating_mul(BLOCK * Self::MAX_RATIO);
        if chunks > limit {
            return Err(TablesError::TooMuchContent { found: chunks, limit });
        }
        let sorted = self.sorted();
        let pairs = sorted.iter().zip(sorted.iter().skip(1));
        match pairs.clone().find(|(one, next)| one.end() > next.start()) {
            Some((_, next)) => Err(TablesError::Overlap(next.start())),
            None => Ok(()),
        }
    }

    /// As they stand in a manifest.
    pub(crate) fn to_wire(&self) -> wire::WireContentTables {
        let mut wire = wire::WireContentTables {
            chunk_min: Some(self.chunker.min()),
            chunk_mask_bits: Some(self.chunker.mask_bits()),
            chunk_max: Some(self.chunker.max()),
            prefix_len: Some(self.prefix_len),
            encoders: self.encoders.iter().copied().map(wire_encoder).collect(),
            verity_tree: self.verity_tree.as_ref().map(wire_tree),
            predecessors: self.predecessors.iter().map(predecessor::to_wire).collect(),
            ..wire::WireContentTables::default()
        };
        for chunk in &self.chunks {
            put(&mut wire.chunk_lengths, chunk.len.into());
            put(&mut wire.packed_lengths, chunk.packed_len.into());
            wire.chunk_hashes.extend_from_slice(chunk.hash.as_bytes());
        }
        let mut next = 0;
        for segment in &self.segments {
            let (start, end) = (signed(segment.blocks.start()), signed(segment.blocks.end()));
            put(
                &mut wire.segment_encoders,
                segment.encoder.map_or(0, |index| u64::from(index) + 1),
            );
            put_signed(&mut wire.segment_starts, start - next);
            put(&mut wire.segment_blocks, segment.blocks.count());
            if segment.encoder.is_some() {
                put(&mut wire.encoded_lengths, segment.len.into());
            }
            next = end;
        }
        wire
    }
}

/// Invariant: numbers of blocks have 32 bits.
fn signed(block: u64) -> i64 {
    i64::try_from(block).unwrap_or(i64::MAX)
}

fn wire_encoder(encoder: ContentEncoder) -> wire::WireEncoder {
    wire::WireEncoder {
        name: Some(encoder.name().to_owned()),
        level: Some(encoder.level()),
    }
}

fn verity_tree(wire: &wire::WireVerityTree, blocks: u64) -> Result<VerityTree, TablesError> {
    VerityTree::new(
        wire.data_blocks.unwrap_or(0),
        wire.tree_start.unwrap_or(0),
        wire.salt.as_deref().unwrap_or_default(),
        blocks,
    )
}

fn wire_tree(tree: &VerityTree) -> wire::WireVerityTree {
    wire::WireVerityTree {
        data_blocks: Some(tree.data_blocks()),
        tree_start: Some(tree.blocks().start()),
        salt: Some(tree.salt().to_vec()),
    }
}

fn prefix_len(len: u32) -> Result<u32, TablesError> {
    if len > MAX_PREFIX {
        return Err(TablesError::Range {
            field: "prefix_len",
            entry: 0,
            found: len.into(),
            min: 0,
            max: MAX_PREFIX.into(),
        });
    }
    Ok(len)
}

fn encoders(wire: &[wire::WireEncoder]) -> Result<Vec<ContentEncoder>, TablesError> {
    let limit = ContentTables::MAX_ENCODERS;
    if wire.len() > limit {
        return Err(TablesError::TooMany {
            field: "encoders",
            limit,
        });
    }
    let encoder = |wire: &wire::WireEncoder| {
        let name = wire.name.as_deref().unwrap_or_default();
        ContentEncoder::new(name, wire.level.unwrap_or_default())
    };
    wire.iter().map(encoder).collect()
}

fn chunks(wire: &wire::WireContentTables, chunker: ChunkerParams) -> Result<Vec<Chunk>, TablesError> {
    let mut lengths = Column::new("chunk_lengths", &wire.chunk_lengths);
    let mut packed = Column::new("packed_lengths", &wire.packed_lengths);
    let count = lengths.count(ContentTables::MAX_ENTRIES)?;
    even("packed_lengths", packed.count(ContentTables::MAX_ENTRIES)?, count)?;
    let (hashes, rest) = wire.chunk_hashes.as_chunks::<{ ChunkHash::LEN }>();
    even(
        "chunk_hashes",
        hashes.len() + usize::from(!rest.is_empty()),
        count,
    )?;
    let mut chunks = Vec::with_capacity(count);
    for (entry, hash) in hashes.iter().enumerate() {
        let len = lengths.bounded(entry, (1, chunker.max()))?;
        chunks.push(Chunk {
            hash: ChunkHash(*hash),
            len,
            packed_len: packed.bounded(entry, (1, len))?,
        });
    }
    Ok(chunks)
}

fn segments(
    wire: &wire::WireContentTables,
    encoders: usize,
    blocks: u64,
) -> Result<Vec<Segment>, TablesError> {
    const MAX_BLOCKS: u32 = ContentTables::MAX_SEGMENT / BLOCK_BYTES;
    let mut which = Column::new("segment_encoders", &wire.segment_encoders);
    let mut starts = Column::new("segment_starts", &wire.segment_starts);
    let mut counts = Column::new("segment_blocks", &wire.segment_blocks);
    let mut lengths = Column::new("encoded_lengths", &wire.encoded_lengths);
    let limit = ContentTables::MAX_ENTRIES;
    let count = which.count(limit)?;
    even("segment_starts", starts.count(limit)?, count)?;
    even("segment_blocks", counts.count(limit)?, count)?;
    // Invariant: at most `MAX_ENCODERS`.
    let last = u32::try_from(encoders).unwrap_or(0);
    let (mut segments, mut next, mut with_encoder) = (Vec::with_capacity(count), 0_i128, 0);
    for segment in 0..count {
        let encoder = which.bounded(segment, (0, last))?;
        let start = next + i128::from(starts.signed()?);
        let count = counts.bounded(segment, (1, MAX_BLOCKS))?;
        let end = start + i128::from(count);
        let range = u64::try_from(start).ok().zip(u64::try_from(end).ok());
        let range = range.filter(|(_, end)| *end <= blocks);
        let range = range.and_then(|(start, end)| BlockRange::new(start, end));
        let Some(range) = range else {
            return Err(TablesError::PastEnd {
                segment,
                start,
                end,
                blocks,
            });
        };
        next = end;
        let (encoder, len) = match encoder.checked_sub(1) {
            None => (None, count * BLOCK_BYTES),
            Some(index) => {
                with_encoder += 1;
                let len = lengths.bounded(with_encoder - 1, (1, ContentTables::MAX_SEGMENT))?;
                (u8::try_from(index).ok(), len)
            }
        };
        segments.push(Segment {
            blocks: range,
            len,
            encoder,
        });
    }
    even("encoded_lengths", lengths.count(limit)?, with_encoder)?;
    Ok(segments)
}
