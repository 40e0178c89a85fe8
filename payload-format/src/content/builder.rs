//! The builder of an image: takes its content, chunk by chunk, and writes the blocks it becomes.

use std::sync::Arc;

use super::ContentError;
use super::packing;
use super::tables::{BLOCK, BLOCK_LEN, Chunk, ChunkHash, ContentTables, Segment};
use super::verity::TreeBuilder;
use crate::apply::WriteBlocks;
use crate::block::BlockRange;

/// Bytes of zeros that are written at a time.
const ZEROS: usize = 1 << 20;

/// Builds one image. Memory: the tables, the prefix of the next chunk and the content of one
/// segment, with what it is encoded to: some 12 MiB at most beside the tables; and 32 bytes for each
/// block that the hash tree is of.
pub struct ContentBuilder {
    tables: Arc<ContentTables>,
    /// Bytes of the image.
    image_len: u64,
    target: Arc<dyn WriteBlocks>,
    tree: Option<TreeBuilder>,
    copies: Vec<ContentCopy>,
    /// Content that was taken: what the next chunk may refer back to, and then what no segment has
    /// taken yet.
    content: Vec<u8>,
    /// Bytes of `content` that segments have taken.
    used: usize,
    /// Bytes of content that were taken in all.
    taken: u64,
    next_chunk: usize,
    next_segment: usize,
}

/// Part of the content that is an image of its own, beside the slot's.
#[derive(Clone)]
pub struct ContentCopy {
    /// Its first byte of content: [`crate::Image::content_start`].
    pub start: u64,
    /// Bytes of that image.
    pub len: u64,
    /// What it is written to.
    pub target: Arc<dyn WriteBlocks>,
}

impl ContentBuilder {
    /// For an image of `image_len` bytes.
    #[must_use]
    pub fn new(tables: Arc<ContentTables>, image_len: u64, target: Arc<dyn WriteBlocks>) -> Self {
        Self {
            tree: tables.verity_tree().map(TreeBuilder::new),
            tables,
            image_len,
            target,
            copies: Vec::new(),
            content: Vec::new(),
            used: 0,
            taken: 0,
            next_chunk: 0,
            next_segment: 0,
        }
    }

    /// Writes other images, which are part of the content, too. Before the first chunk is taken.
    #[must_use]
    pub fn with_copies(mut self, copies: Vec<ContentCopy>) -> Self {
        self.copies = copies;
        self
    }

    /// The chunk that is due, by its number; `None` if the content is complete.
    #[must_use]
    pub fn due(&self) -> Option<(usize, Chunk)> {
        let chunk = self.tables.chunks.get(self.next_chunk)?;
        Some((self.next_chunk, *chunk))
    }

    /// Takes the chunk that is due, as it lies in the payload.
    ///
    /// # Errors
    /// [`ContentError`]: the chunk isn't what the manifest says, or the image can't be written.
    pub fn take_packed(&mut self, packed: &[u8]) -> Result<(), ContentError> {
        let (chunk, Chunk { len, .. }) = self.expect()?;
        let prefix_len = (self.tables.prefix_len as usize).min(self.content.len());
        let prefix = &self.content[self.content.len() - prefix_len..];
        let content = packing::unpack(packed, prefix, len as usize);
        let content = content.map_err(|source| ContentError::Unpack { chunk, source })?;
        self.take(&content)
    }

    /// Takes the content of the chunk that is due, wherever it comes from.
    ///
    /// # Errors
    /// [`ContentError`]: the chunk isn't what the manifest says, or the image can't be written.
    pub fn take(&mut self, content: &[u8]) -> Result<(), ContentError> {
        let (chunk, Chunk { hash, .. }) = self.expect()?;
        if ChunkHash::of(content) != hash {
            return Err(ContentError::ChunkHash { chunk });
        }
        self.copy_out(content)?;
        self.content.extend_from_slice(content);
        self.taken += content.len() as u64;
        self.next_chunk += 1;
        while self.write_segment()? {}
        self.forget();
        Ok(())
    }

    /// Writes the hash tree, and zeros wherever nothing else is written, once the content is
    /// complete.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn finish(mut self) -> Result<(), ContentError> {
        let missing = self.tables.chunks.len() - self.next_chunk;
        if missing > 0 {
            return Err(ContentError::Incomplete { missing });
        }
        let zeros = vec![0; ZEROS];
        for range in self.tables.zeros(self.image_len) {
            let (mut offset, end) = (range.start() * BLOCK, range.end() * BLOCK);
            while offset < end {
                let len = usize::try_from(end - offset).map_or(ZEROS, |len| len.min(ZEROS));
                self.write(offset, &zeros[..len])?;
                offset += len as u64;
            }
        }
        let tree = self.tree.take();
        if let Some((place, tree)) = self.tables.verity_tree().zip(tree) {
            let mut offset = place.blocks().start() * BLOCK;
            // One after the other: all of them again would take as much memory as the lowest.
            for level in tree.levels() {
                self.write(offset, &level)?;
                offset += level.len() as u64;
            }
        }
        Ok(())
    }

    /// Writes what of the next `content` other images are made of.
    fn copy_out(&self, content: &[u8]) -> Result<(), ContentError> {
        let now = self.taken..self.taken + content.len() as u64;
        for copy in &self.copies {
            let end = copy.start.saturating_add(copy.len).min(now.end);
            let start = copy.start.max(now.start);
            // Invariant: within `content`, where there is anything of it.
            let within = |at: u64| usize::try_from(at - now.start).unwrap_or(usize::MAX);
            if start < end {
                let offset = start - copy.start;
                let written = copy.target.write_at(&content[within(start)..within(end)], offset);
                written.map_err(|source| ContentError::Write { offset, source })?;
            }
        }
        Ok(())
    }

    fn expect(&self) -> Result<(usize, Chunk), ContentError> {
        self.due().ok_or(ContentError::NoChunk {
            chunk: self.next_chunk,
        })
    }

    /// Writes the next segment if its content is complete; whether it was.
    fn write_segment(&mut self) -> Result<bool, ContentError> {
        let Some(segment) = self.tables.segments.get(self.next_segment).copied() else {
            return Ok(false);
        };
        let content = self.content.get(self.used..).unwrap_or_default();
        let Some(content) = content.get(..segment.len as usize) else {
            return Ok(false);
        };
        let offset = segment.blocks.start() * BLOCK;
        let encoded = match segment.encoder {
            None => None,
            Some(_) => Some(self.encode(&segment, content)?),
        };
        let blocks = encoded.as_deref().unwrap_or(content);
        self.write(offset, blocks)?;
        if let Some(tree) = &mut self.tree {
            tree.put(offset, blocks);
        }
        self.used += segment.len as usize;
        self.next_segment += 1;
        Ok(true)
    }

    fn encode(&self, segment: &Segment, content: &[u8]) -> Result<Vec<u8>, ContentError> {
        let number = self.next_segment;
        encode(&self.tables, segment, content).map_err(|error| match error {
            EncodeFailure::Length { found, room } => ContentError::Encode {
                segment: number,
                found,
                room,
            },
            EncodeFailure::Io(source) => ContentError::Encoder {
                segment: number,
                source,
            },
        })
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ContentError> {
        let written = self.target.write_at(bytes, offset);
        written.map_err(|source| ContentError::Write { offset, source })
    }

    /// Drops content that nothing refers to any more, now and then.
    fn forget(&mut self) {
        let prefix = self.content.len().saturating_sub(self.tables.prefix_len as usize);
        let past = prefix.min(self.used);
        if past > (1 << 20) {
            self.content.drain(..past);
            self.used -= past;
        }
    }
}

impl std::fmt::Debug for ContentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentBuilder")
            .field("next_chunk", &self.next_chunk)
            .field("next_segment", &self.next_segment)
            .finish_non_exhaustive()
    }
}

enum EncodeFailure {
    Length { found: u64, room: u64 },
    Io(std::io::Error),
}

/// The blocks that a segment with an encoder writes.
fn encode(tables: &ContentTables, segment: &Segment, content: &[u8]) -> Result<Vec<u8>, EncodeFailure> {
    // Invariant: `ContentTables::parse` has checked the index.
    let encoder = segment
        .encoder
        .and_then(|index| tables.encoders.get(usize::from(index)));
    let encoder = encoder.ok_or_else(|| EncodeFailure::Io(std::io::ErrorKind::InvalidData.into()))?;
    let frame = encoder.encode(content).map_err(EncodeFailure::Io)?;
    padded(frame, segment.blocks).map_err(|(found, room)| EncodeFailure::Length { found, room })
}

/// Fills the blocks up with zeros. An error has both lengths in bytes.
pub(crate) fn padded(mut encoded: Vec<u8>, blocks: BlockRange) -> Result<Vec<u8>, (u64, u64)> {
    let (found, room) = (encoded.len() as u64, blocks.count() * BLOCK);
    // A shorter one would leave whole blocks of zeros, which are another segment's.
    if found.div_ceil(BLOCK) != blocks.count() {
        return Err((found, room));
    }
    encoded.resize(encoded.len().next_multiple_of(BLOCK_LEN), 0);
    Ok(encoded)
}
