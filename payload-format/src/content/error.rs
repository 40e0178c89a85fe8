//! Errors of content tables, and of what is built by them.

use std::io;

use thiserror::Error;

use crate::bsdiff::PatchError;

/// What is wrong with content tables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TablesError {
    /// A list that is no sequence of numbers, or has larger ones than its field holds.
    #[error("{field} is no list of numbers: broken at byte {at}")]
    Broken {
        /// The field's name.
        field: &'static str,
        /// Place in the field, in bytes.
        at: usize,
    },
    /// More entries than are read.
    #[error("{field} has more than {limit} entries")]
    TooMany {
        /// The field's name.
        field: &'static str,
        /// Entries that are read.
        limit: usize,
    },
    /// Lists of one table that differ in length.
    #[error("{field} has {found} entries, not {expected} as the lists beside it")]
    Uneven {
        /// The field's name.
        field: &'static str,
        /// Entries that it has.
        found: usize,
        /// Entries that it should have.
        expected: usize,
    },
    /// A number outside its range.
    #[error("{field} is {found} at entry {entry}; {min} to {max} are allowed")]
    Range {
        /// The field's name.
        field: &'static str,
        /// Number of the entry, from 0.
        entry: usize,
        /// What it says.
        found: u64,
        /// The least that it may say.
        min: u64,
        /// The most that it may say.
        max: u64,
    },
    /// An encoder that is not built in.
    #[error("encoder {name:?} with level {level} is unknown here")]
    Encoder {
        /// Its name, cut if it is long.
        name: String,
        /// The level of compression that it names.
        level: i32,
    },
    /// A segment outside the image.
    #[error("segment {segment} writes blocks {start}..{end} of an image of {blocks} blocks")]
    PastEnd {
        /// Number of the segment, from 0.
        segment: usize,
        /// Block that it would begin with, from 0; the table may say less than that.
        start: i128,
        /// First block after it.
        end: i128,
        /// Blocks of the image.
        blocks: u64,
    },
    /// Two segments, or one and the hash tree, that write the same block.
    #[error("block {0} is written twice")]
    Overlap(u64),
    /// Chunks and segments are of different contents.
    #[error("the chunks have {chunks} bytes of content, the segments {segments}")]
    ContentLength {
        /// Sum over the chunks.
        chunks: u64,
        /// Sum over the segments.
        segments: u64,
    },
    /// Content of many times the image's size.
    #[error("{found} bytes of content are more than {limit} for such an image")]
    TooMuchContent {
        /// Bytes of content.
        found: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
}

/// Why an image can't be built of its content.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The image can't be written.
    #[error("cannot write the image at byte {offset}")]
    Write {
        /// Place in the image, in bytes.
        offset: u64,
        /// The system's error.
        source: io::Error,
    },
    /// The packed form of a chunk doesn't unpack.
    #[error("chunk {chunk} can't be unpacked")]
    Unpack {
        /// Number of the chunk, from 0.
        chunk: usize,
        /// The decoder's error.
        source: io::Error,
    },
    /// What chunks were to be made from is not in the old image any more.
    #[error("the patch of chunk {chunk} is of another old image: this one has changed")]
    Source {
        /// Number of the section's first chunk, from 0.
        chunk: usize,
    },
    /// The patch that makes chunks can't be applied.
    #[error("the patch of chunk {chunk} can't be applied")]
    Patch {
        /// Number of the section's first chunk, from 0.
        chunk: usize,
        /// What is wrong with it.
        source: PatchError,
    },
    /// The old image can't be read.
    #[error("the old image can't be read")]
    Old(#[source] io::Error),
    /// A chunk isn't what the tables say.
    #[error("chunk {chunk} is not what the manifest says: its hash differs")]
    ChunkHash {
        /// Number of the chunk, from 0.
        chunk: usize,
    },
    /// More chunks than there are.
    #[error("there is no chunk {chunk}")]
    NoChunk {
        /// Number that was asked for, from 0.
        chunk: usize,
    },
    /// An encoder made no or another length than its segment has.
    #[error("segment {segment} can't be encoded: it becomes {found} bytes instead of at most {room}")]
    Encode {
        /// Number of the segment, from 0.
        segment: usize,
        /// Bytes that it became.
        found: u64,
        /// Bytes of its place in the image.
        room: u64,
    },
    /// The encoder failed.
    #[error("segment {segment} can't be encoded")]
    Encoder {
        /// Number of the segment, from 0.
        segment: usize,
        /// The encoder's error.
        source: io::Error,
    },
    /// The image isn't complete.
    #[error("{missing} chunks are missing")]
    Incomplete {
        /// Chunks that were not taken before the end.
        missing: usize,
    },
    /// No threads to encode on.
    #[error("no thread can be started that encodes")]
    Threads(#[source] io::Error),
    /// More is asked of a builder that has told an error.
    #[error("the image has failed before")]
    FailedBefore,
}
