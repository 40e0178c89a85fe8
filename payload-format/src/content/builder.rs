//! The builder of an image: takes its content, chunk by chunk, and has the blocks written that it
//! becomes.
//!
//! ```text
//!        who calls                                     threads of the builder
//!  chunk ─▶ unpacked ─▶ hashed ─▶ segments ══batches══▶ encoded, side by side ══▶ written, in order,
//!                                                                               zeros in between
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::ContentError;
use super::encoder_pool::EncoderPool;
use super::packing::ChunkUnpacker;
use super::tables::{BLOCK, BLOCK_LEN, Chunk, ChunkHash, ContentTables};
use super::verity::TreeBuilder;
use super::zero_writer::ZeroWriter;
use crate::apply::WriteBlocks;
use crate::block::BlockRange;

/// Builds one image. Memory: the tables; the prefix of the next chunk and the content of one
/// segment, 6 MiB at most; 12 MiB of segments that are encoded or wait for that; 3 MiB for each
/// encoder, or 20 MiB for the only one where segments are longer than btrfs makes them; and 32 bytes
/// for each block that the hash tree is of.
///
/// An error may come a while after the segment was taken that it is of: it is told with a later
/// chunk, or in the end. It is that of the first segment that failed, whatever later ones did.
/// Nothing is written any more once an error was told, or the builder was dropped.
pub struct ContentBuilder {
    tables: Arc<ContentTables>,
    /// Bytes of the image.
    image_len: u64,
    target: Arc<dyn WriteBlocks>,
    /// Encoders that run side by side, at most.
    threads: NonZeroUsize,
    pool: PoolState,
    unpacker: ChunkUnpacker,
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

/// The pool, from the first segment on.
enum PoolState {
    NotStarted,
    Runs(EncoderPool),
    /// An error was told.
    Failed,
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
            threads: NonZeroUsize::MIN,
            pool: PoolState::NotStarted,
            unpacker: ChunkUnpacker::new(),
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

    /// Encodes on so many threads, at most, in place of one. Before the first chunk is taken.
    #[must_use]
    pub const fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
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
    /// [`ContentError`]: the chunk isn't what the manifest says, or the image can't be built or
    /// written.
    pub fn take_packed(&mut self, packed: &[u8]) -> Result<(), ContentError> {
        match self.unpack(packed) {
            Ok(content) => self.take(&content),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Takes the content of the chunk that is due, wherever it comes from.
    ///
    /// # Errors
    /// [`ContentError`]: the chunk isn't what the manifest says, or the image can't be built or
    /// written.
    pub fn take(&mut self, content: &[u8]) -> Result<(), ContentError> {
        match self.put(content) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Waits until everything is written, and writes the hash tree, once the content is complete.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn finish(mut self) -> Result<(), ContentError> {
        let missing = self.tables.chunks.len() - self.next_chunk;
        if missing > 0 {
            return Err(ContentError::Incomplete { missing });
        }
        let tree = match std::mem::replace(&mut self.pool, PoolState::Failed) {
            PoolState::NotStarted => {
                self.zeros().finish(self.target.as_ref())?;
                self.tables.verity_tree().map(TreeBuilder::new)
            }
            PoolState::Runs(pool) => pool.end()?,
            PoolState::Failed => return Err(ContentError::FailedBefore),
        };
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

    /// Waits until what was taken is written, as far as it is whole segments: nothing more is taken
    /// of this image. [`super::WrittenContent`] finds it.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn interrupt(mut self) -> Result<(), ContentError> {
        match std::mem::replace(&mut self.pool, PoolState::Failed) {
            PoolState::NotStarted => Ok(()),
            PoolState::Runs(pool) => pool.end().map(drop),
            PoolState::Failed => Err(ContentError::FailedBefore),
        }
    }

    fn unpack(&mut self, packed: &[u8]) -> Result<Vec<u8>, ContentError> {
        let (chunk, Chunk { len, .. }) = self.expect()?;
        let prefix_len = (self.tables.prefix_len as usize).min(self.content.len());
        let prefix = &self.content[self.content.len() - prefix_len..];
        let content = self.unpacker.unpack(packed, prefix, len as usize);
        content.map_err(|source| ContentError::Unpack { chunk, source })
    }

    fn put(&mut self, content: &[u8]) -> Result<(), ContentError> {
        let (chunk, Chunk { hash, .. }) = self.expect()?;
        if ChunkHash::of(content) != hash {
            return Err(ContentError::ChunkHash { chunk });
        }
        self.copy_out(content)?;
        self.content.extend_from_slice(content);
        self.taken += content.len() as u64;
        self.next_chunk += 1;
        while self.put_segment()? {}
        self.forget();
        Ok(())
    }

    /// The first error: that of a segment that was taken before, if there is one. Nothing is written
    /// any more.
    fn fail(&mut self, error: ContentError) -> ContentError {
        match std::mem::replace(&mut self.pool, PoolState::Failed) {
            PoolState::Runs(pool) => pool.end().err().unwrap_or(error),
            PoolState::NotStarted | PoolState::Failed => error,
        }
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

    /// Hands on the next segment if its content is complete; whether it was.
    fn put_segment(&mut self) -> Result<bool, ContentError> {
        let number = self.next_segment;
        let Some(segment) = self.tables.segments.get(number).copied() else {
            return Ok(false);
        };
        let content = self.content.get(self.used..).unwrap_or_default();
        let Some(content) = content.get(..segment.len as usize) else {
            return Ok(false);
        };
        if matches!(self.pool, PoolState::NotStarted) {
            let target = Arc::clone(&self.target);
            let pool = EncoderPool::start(&self.tables, target, self.zeros(), self.threads);
            self.pool = PoolState::Runs(pool.map_err(ContentError::Threads)?);
        }
        let PoolState::Runs(pool) = &mut self.pool else {
            return Err(ContentError::FailedBefore);
        };
        if !pool.put(number, segment, content) {
            // What it has failed of takes this one's place.
            return Err(ContentError::FailedBefore);
        }
        self.used += segment.len as usize;
        self.next_segment += 1;
        Ok(true)
    }

    /// What nothing else writes.
    fn zeros(&self) -> ZeroWriter {
        ZeroWriter::new(self.tables.zeros(self.image_len))
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
