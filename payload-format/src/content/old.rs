//! The old image as a source of chunks: which of the wanted chunks its content has, and where.

use std::io;
use std::sync::Arc;

use super::MarkBuilder;
use super::chunker::Chunker;
use super::pieces::{ContentPieces, PieceReader};
use super::scan::scan;
use super::tables::{ChunkHash, ContentTables};
use crate::apply::ReadBlocks;

/// Chunks that an old image has. It may be any image, and may change meanwhile: what is read of it
/// is taken by its hash only ([`super::ContentBuilder::take`]).
pub struct OldContent {
    image: Arc<dyn ReadBlocks>,
    image_len: u64,
    tables: Arc<ContentTables>,
    /// By number of the wanted chunk: where in the old content it begins; [`NOWHERE`] if it wasn't
    /// found.
    places: Vec<u64>,
    /// The predecessor that it is, as an index.
    predecessor: Option<usize>,
    /// Of the old content.
    pieces: ContentPieces,
    reader: PieceReader,
}

/// No place in any content.
const NOWHERE: u64 = u64::MAX;

impl OldContent {
    /// Reads the first `image_len` bytes of `image` and looks for the chunks of `tables`.
    ///
    /// # Errors
    /// The image's. An image that makes no sense has few chunks, or none.
    pub fn find(image: Arc<dyn ReadBlocks>, image_len: u64, tables: Arc<ContentTables>) -> io::Result<Self> {
        let mut search = Search::new(&tables);
        let mut chunker = Chunker::new(tables.chunker());
        let mut pieces = ContentPieces::default();
        scan::<io::Error>(image.as_ref(), image_len, None, &mut |found| {
            if pieces.count() >= ContentTables::MAX_ENTRIES {
                return Ok(());
            }
            let mut take = |chunk: &[u8]| {
                search.chunk(chunk);
                Ok(())
            };
            if found.begins_unit {
                chunker.end_unit(&mut take)?;
            }
            let len = found.content().len() as u64;
            pieces.push(found.blocks, found.decoded.is_some(), len);
            chunker.push(found.content(), &mut take)
        })?;
        chunker.end_unit::<io::Error>(&mut |chunk| {
            search.chunk(chunk);
            Ok(())
        })?;
        let (places, predecessor) = (search.places, search.predecessor);
        Ok(Self {
            image,
            image_len,
            tables,
            places,
            predecessor,
            pieces,
            reader: PieceReader::new()?,
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
        let (Some(place), Some(wanted)) = (place, self.tables.chunks().get(chunk).copied()) else {
            return Ok(None);
        };
        let content = self.read_at(place, wanted.len as usize)?;
        Ok(content.filter(|content| ChunkHash::of(content) == wanted.hash))
    }

    /// The predecessor that the image is, as an index of [`ContentTables::predecessors`]; none if it
    /// is another image.
    pub(super) const fn predecessor(&self) -> Option<usize> {
        self.predecessor
    }

    /// Bytes of the content from a place on, as it is now; none if there are less.
    ///
    /// # Errors
    /// The image's.
    pub(super) fn read_at(&mut self, place: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let image = (self.image.as_ref(), self.image_len);
        self.reader.read(image, &self.pieces, place, len)
    }
}

impl std::fmt::Debug for OldContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OldContent")
            .field("pieces", &self.pieces.count())
            .finish_non_exhaustive()
    }
}

/// Looks wanted chunks up by their hash.
struct Search<'a> {
    tables: &'a ContentTables,
    /// Numbers of the wanted chunks, by their hash.
    by_hash: Vec<u32>,
    places: Vec<u64>,
    /// Of the old content so far.
    mark: MarkBuilder,
    /// The predecessor that it is so far.
    predecessor: Option<usize>,
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
            mark: MarkBuilder::default(),
            predecessor: None,
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
                *place = self.mark.len();
            }
        }
        self.mark.chunk(hash, content.len());
        let predecessors = self.tables.predecessors().iter();
        let mut marks = predecessors.map(|predecessor| &predecessor.mark);
        if let Some(here) = marks.position(|mark| mark.len == self.mark.len() && *mark == self.mark.mark()) {
            self.predecessor = Some(here);
        }
    }
}
