//! Content payloads: an image as chunks of its content, and tables that say how it is put together.
//!
//! ```text
//!  content   ┌──────────┬───────┬─────────────┬────┬──────────┬─ ─    cut into chunks by what it holds,
//!            │ chunk 0  │   1   │      2      │ 3  │    4     │       each packed by itself
//!            └──────────┴───────┴─────────────┴────┴──────────┴─ ─
//!            ├─ segment 0 ───┬─ segment 1 ─┬─ segment 2 ──────┬─ ─    taken by segments, in order,
//!                   │               │               │                 and encoded
//!                   ▼               ▼               ▼
//!  image     ┌──────────────┬──────────────────┬─────────────┬─ ─     blocks; what no segment
//!            │   blocks     │      zeros       │   blocks    │        writes is zero
//!            └──────────────┴──────────────────┴─────────────┴─ ─
//! ```
//!
//! The content of a file that a file system has compressed is what it was before: a segment says
//! which [`ContentEncoder`] makes the blocks of it again, bit for bit. So the content of two images has in
//! common what their files have in common, while their blocks have nothing.
//!
//! [`ContentTables`] are part of a manifest. [`OldContent`] finds chunks in an image that is there,
//! [`WrittenContent`] in one that an earlier builder has left half-written;
//! [`ContentBuilder`] takes chunks, from there or unpacked from the payload, and writes the image.
//! What it is worth is known when its hash is: that of [`crate::Image::new`].
//!
//! `docs/content-payloads.md` describes the format field by field.

mod batch_queue;
mod btrfs;
mod builder;
mod chunker;
mod columns;
mod encoder;
mod encoder_pool;
mod error;
mod old;
mod packing;
mod parts;
mod patched_chunks;
mod pieces;
mod predecessor;
mod ranges;
mod scan;
mod tables;
mod verity;
mod written;
mod zero_writer;

pub use builder::{ContentBuilder, ContentCopy};
pub use chunker::ChunkerParams;
pub use encoder::ContentEncoder;
pub use error::{ContentError, TablesError};
pub use old::OldContent;
pub use parts::ContentPart;
pub use patched_chunks::PatchedChunks;
pub use predecessor::{PatchSection, Predecessor};
pub use tables::{Chunk, ChunkHash, ContentTables, Segment};
pub use verity::VerityTree;
pub use written::WrittenContent;

pub(crate) use builder::padded;
pub(crate) use chunker::Chunker;
pub(crate) use packing::Packer;
pub(crate) use patched_chunks::apply;
pub(crate) use pieces::{ContentPieces, PieceReader};
pub(crate) use predecessor::{ContentMark, MarkBuilder};
pub(crate) use scan::{FoundPiece, scan};
pub(crate) use verity::find_tree;
