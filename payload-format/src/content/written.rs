//! A half-written image as a source of chunks: where the tables say that a chunk goes, it may lie
//! already.

use std::io;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::encoder::decode_btrfs_zstd;
use super::parts::PartCursor;
use super::scan::BlockReader;
use super::tables::{ChunkHash, ContentTables};
use crate::apply::ReadBlocks;

/// Chunks that an earlier [`super::ContentBuilder`] of the same tables has written to an image. It
/// may hold anything, torn blocks as well: a chunk counts by its hash only, once it was copied out.
///
/// The next builder may write the same image: it takes all chunks of a segment before it writes that
/// one, and writes blocks of no other. Memory: a byte for each chunk, and a segment.
pub struct WrittenContent {
    image: Arc<dyn ReadBlocks>,
    image_len: u64,
    tables: Arc<ContentTables>,
    /// By number of the chunk.
    is_there: Vec<bool>,
    /// How far chunks were read.
    cursor: PartCursor,
    decoder: Decompressor<'static>,
    /// The segment that was read last, and its content, if it has any that makes sense.
    last: Option<(usize, Option<Vec<u8>>)>,
}

impl WrittenContent {
    /// Looks in the first `image_len` bytes of `image` for the chunks that are `wanted`. What can't be
    /// read isn't there: a cut may leave blocks that are good for writing only.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] by the image.
    pub fn find(
        image: Arc<dyn ReadBlocks>,
        image_len: u64,
        tables: Arc<ContentTables>,
        wanted: impl Fn(usize) -> bool,
    ) -> io::Result<Self> {
        let count = tables.chunks.len();
        let mut written = Self {
            image,
            image_len,
            tables,
            is_there: vec![false; count],
            cursor: PartCursor::default(),
            decoder: Decompressor::new()?,
            last: None,
        };
        for chunk in (0..count).filter(|chunk| wanted(*chunk)) {
            let found = match written.content(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                found => found.ok().flatten(),
            };
            written.is_there[chunk] = found.is_some();
        }
        written.cursor = PartCursor::default();
        written.last = None;
        Ok(written)
    }

    /// Whether the chunk of that number was wanted, and found.
    #[must_use]
    pub fn has(&self, chunk: usize) -> bool {
        self.is_there.get(chunk).is_some_and(|is_there| *is_there)
    }

    /// The content of that chunk, if it was found and is still there. Chunks are read in their
    /// order: of one before the last that was read nothing is given.
    ///
    /// # Errors
    /// The image's.
    pub fn read(&mut self, chunk: usize) -> io::Result<Option<Vec<u8>>> {
        if self.has(chunk) {
            self.content(chunk)
        } else {
            Ok(None)
        }
    }

    fn content(&mut self, chunk: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(wanted) = self.tables.chunks.get(chunk).copied() else {
            return Ok(None);
        };
        let tables = Arc::clone(&self.tables);
        let mut content = Vec::with_capacity(wanted.len as usize);
        while self.cursor.chunk() <= chunk {
            let Some(part) = self.cursor.next(&tables) else {
                return Ok(None);
            };
            if part.chunk < chunk {
                continue;
            }
            let segment = self.segment(part.segment)?;
            let within = part.within.start as usize..part.within.end as usize;
            content.extend_from_slice(
                segment
                    .and_then(|content| content.get(within))
                    .unwrap_or_default(),
            );
        }
        Ok(Some(content).filter(|content| ChunkHash::of(content) == wanted.hash))
    }

    /// A segment's content, if its blocks hold as much.
    fn segment(&mut self, number: usize) -> io::Result<Option<&[u8]>> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != number) {
            let content = self.decoded(number)?;
            self.last = Some((number, content));
        }
        let last = self.last.as_ref();
        Ok(last.and_then(|(_, content)| content.as_deref()))
    }

    fn decoded(&mut self, number: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(segment) = self.tables.segments.get(number).copied() else {
            return Ok(None);
        };
        let reader = BlockReader {
            image: self.image.as_ref(),
            len: self.image_len,
        };
        let stored = reader.read(segment.blocks)?;
        let len = segment.len as usize;
        let content = match segment.encoder {
            None => Some(stored),
            Some(_) => decode_btrfs_zstd(&mut self.decoder, &stored, len).ok(),
        };
        Ok(content.filter(|content| content.len() == len))
    }
}

impl std::fmt::Debug for WrittenContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrittenContent")
            .field("image_len", &self.image_len)
            .finish_non_exhaustive()
    }
}
