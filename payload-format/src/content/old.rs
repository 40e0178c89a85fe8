//! The old image as a source of chunks: which of the wanted chunks its content has, and where.

use std::io;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::chunker::Chunker;
use super::encoder::decode_btrfs_zstd;
use super::scan::{BlockReader, scan};
use super::tables::{ChunkHash, ContentTables};
use crate::apply::ReadBlocks;
use crate::block::BlockRange;

/// Chunks that an old image has. It may be any image, and may change meanwhile: what is read of it
/// is taken by its hash only ([`super::ContentBuilder::take`]).
pub struct OldContent {
    image: Arc<dyn ReadBlocks>,
    image_len: u64,
    tables: Arc<ContentTables>,
    /// By number of the wanted chunk: where in the old content it begins; [`NOWHERE`] if it wasn't
    /// found.
    places: Vec<u64>,
    /// Pieces of the old content, in order.
    pieces: Vec<Piece>,
    decoder: Decompressor<'static>,
    /// The piece that was read last.
    last: Option<(usize, Vec<u8>)>,
}

/// No place in any content.
const NOWHERE: u64 = u64::MAX;

#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where its content begins.
    start: u64,
    blocks: BlockRange,
    is_zstd: bool,
}

impl OldContent {
    /// Reads the first `image_len` bytes of `image` and looks for the chunks of `tables`.
    ///
    /// # Errors
    /// The image's. An image that makes no sense has few chunks, or none.
    pub fn find(image: Arc<dyn ReadBlocks>, image_len: u64, tables: Arc<ContentTables>) -> io::Result<Self> {
        let mut search = Search::new(&tables);
        let mut chunker = Chunker::new(tables.chunker());
        let (mut pieces, mut start) = (Vec::new(), 0_u64);
        scan::<io::Error>(image.as_ref(), image_len, None, &mut |found| {
            if pieces.len() >= ContentTables::MAX_ENTRIES {
                return Ok(());
            }
            let mut take = |chunk: &[u8]| {
                search.chunk(chunk);
                Ok(())
            };
            if found.begins_unit {
                chunker.end_unit(&mut take)?;
            }
            pieces.push(Piece {
                start,
                blocks: found.blocks,
                is_zstd: found.decoded.is_some(),
            });
            start += found.content().len() as u64;
            chunker.push(found.content(), &mut take)
        })?;
        chunker.end_unit::<io::Error>(&mut |chunk| {
            search.chunk(chunk);
            Ok(())
        })?;
        let places = search.places;
        Ok(Self {
            image,
            image_len,
            tables,
            places,
            pieces,
            decoder: Decompressor::new()?,
            last: None,
        })
    }

    /// Whether the chunk of that number was found.
    #[must_use]
    pub fn has(&self, chunk: usize) -> bool {
        self.places.get(chunk).is_some_and(|place| *place != NOWHERE)
    }

    /// The content of that chunk, if it was found and is still there as it was.
    ///
    /// # Errors
    /// The image's.
    pub fn read(&mut self, chunk: usize) -> io::Result<Option<Vec<u8>>> {
        let place = self.places.get(chunk).copied().filter(|place| *place != NOWHERE);
        let (Some(mut place), Some(wanted)) = (place, self.tables.chunks().get(chunk).copied()) else {
            return Ok(None);
        };
        let len = wanted.len as usize;
        let mut content = Vec::with_capacity(len);
        let first = self.pieces.partition_point(|piece| piece.start <= place);
        for number in first.saturating_sub(1)..self.pieces.len() {
            let Some((start, piece)) = self.piece(number)? else {
                return Ok(None);
            };
            let from = usize::try_from(place - start).unwrap_or(usize::MAX);
            let Some(rest) = piece.get(from..).filter(|rest| !rest.is_empty()) else {
                return Ok(None);
            };
            let take = rest.len().min(len - content.len());
            content.extend_from_slice(&rest[..take]);
            place += take as u64;
            if content.len() == len {
                return Ok(Some(content).filter(|content| ChunkHash::of(content) == wanted.hash));
            }
        }
        Ok(None)
    }

    /// A piece of the old content, and where it begins; `None` if it has changed.
    fn piece(&mut self, number: usize) -> io::Result<Option<(u64, &[u8])>> {
        let Some(piece) = self.pieces.get(number).copied() else {
            return Ok(None);
        };
        if self.last.as_ref().is_none_or(|(last, _)| *last != number) {
            let reader = BlockReader {
                image: self.image.as_ref(),
                len: self.image_len,
            };
            let stored = reader.read(piece.blocks)?;
            let content = if piece.is_zstd {
                let limit = ContentTables::MAX_SEGMENT as usize;
                let Ok(content) = decode_btrfs_zstd(&mut self.decoder, &stored, limit) else {
                    return Ok(None);
                };
                content
            } else {
                stored
            };
            self.last = Some((number, content));
        }
        let last = self.last.as_ref();
        Ok(last.map(|(_, content)| (piece.start, content.as_slice())))
    }
}

impl std::fmt::Debug for OldContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OldContent")
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

/// Looks wanted chunks up by their hash.
struct Search<'a> {
    tables: &'a ContentTables,
    /// Numbers of the wanted chunks, by their hash.
    by_hash: Vec<u32>,
    places: Vec<u64>,
    /// Bytes of old content so far.
    at: u64,
}

impl<'a> Search<'a> {
    fn new(tables: &'a ContentTables) -> Self {
        let count = tables.chunks().len();
        // Invariant: at most `ContentTables::MAX_ENTRIES`.
        let mut by_hash: Vec<u32> = (0..u32::try_from(count).unwrap_or(0)).collect();
        by_hash.sort_unstable_by_key(|number| tables.chunks[*number as usize].hash);
        Self {
            tables,
            by_hash,
            places: vec![NOWHERE; count],
            at: 0,
        }
    }

    fn chunk(&mut self, content: &[u8]) {
        let hash = ChunkHash::of(content);
        let hash_of = |number: &u32| self.tables.chunks[*number as usize].hash;
        let first = self.by_hash.partition_point(|number| hash_of(number) < hash);
        let wanted = self.by_hash[first..].iter();
        // The same chunk may be wanted at several places.
        for number in wanted.take_while(|number| hash_of(number) == hash) {
            let place = &mut self.places[*number as usize];
            if *place == NOWHERE {
                *place = self.at;
            }
        }
        self.at += content.len() as u64;
    }
}
