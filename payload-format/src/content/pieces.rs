//! The pieces of an image's content: where each lies in the image, so that any part of the content is
//! read again without the rest.

use std::io;

use zstd::bulk::Decompressor;

use super::encoder::decode_btrfs_zstd;
use super::scan::BlockReader;
use super::tables::ContentTables;
use crate::apply::ReadBlocks;
use crate::block::BlockRange;

/// Pieces of content that follow each other.
#[derive(Debug, Default)]
pub(crate) struct ContentPieces {
    pieces: Vec<Piece>,
    len: u64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where its content begins.
    start: u64,
    blocks: BlockRange,
    is_zstd: bool,
}

impl ContentPieces {
    /// Appends a piece with `len` bytes of content, which was found in `blocks`.
    pub(crate) fn push(&mut self, blocks: BlockRange, is_zstd: bool, len: u64) {
        self.pieces.push(Piece {
            start: self.len,
            blocks,
            is_zstd,
        });
        self.len += len;
    }

    pub(crate) const fn count(&self) -> usize {
        self.pieces.len()
    }
}

/// Reads content. Memory: one piece.
pub(crate) struct PieceReader {
    decoder: Decompressor<'static>,
    /// The piece that was read last.
    last: Option<(usize, Vec<u8>)>,
}

impl PieceReader {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            decoder: Decompressor::new()?,
            last: None,
        })
    }

    /// `len` bytes of content from a place on, as it is now in the first `image.1` bytes of the image;
    /// none if that has changed so that there are less.
    ///
    /// # Errors
    /// The image's.
    pub(crate) fn read(
        &mut self,
        image: (&dyn ReadBlocks, u64),
        pieces: &ContentPieces,
        mut place: u64,
        len: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::with_capacity(len);
        let first = pieces.pieces.partition_point(|piece| piece.start <= place);
        for number in first.saturating_sub(1)..pieces.count() {
            let Some((start, piece)) = self.piece(image, pieces, number)? else {
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
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    /// A piece, and where it begins; `None` if it has changed.
    fn piece(
        &mut self,
        (image, len): (&dyn ReadBlocks, u64),
        pieces: &ContentPieces,
        number: usize,
    ) -> io::Result<Option<(u64, &[u8])>> {
        let Some(piece) = pieces.pieces.get(number).copied() else {
            return Ok(None);
        };
        if self.last.as_ref().is_none_or(|(last, _)| *last != number) {
            let stored = BlockReader { image, len }.read(piece.blocks)?;
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
