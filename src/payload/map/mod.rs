//! A picture of a payload: which blocks come from where.
//!
//! ```text
//!  old image      ▒▒▒▒▒▒░░▒▒▒▒▒▒▒▒▒▒▓▓▓▓░░░░      coloured by what is made of it
//!                 ╲╲╲╲╲╲  ╱╱╱╱╱    ╲╲╲╲           bands: copies and patches
//!  new image      ▒▒▒▒▒▒▒▒▒▒▒▒▒▒█████▓▓▓▓▓        coloured by the operation that makes it
//!                          ╱╱╱╱╱╱╱╱╱  ╱           bands: the data that goes there
//!  download       ███████████▓▓▓▓
//! ```
//!
//! Images are cut into columns, whatever their size, and everything is added up by columns: the
//! picture stays as large as the screen, and a hostile manifest can't blow it up.

mod columns;
mod content;
mod svg;
mod text;

use std::path::Path;
use std::sync::Arc;

use payload_format::{ContentTables, Image, ImageKind, Manifest, Operation, PatchedChunks};

use self::columns::{Band, Bands, COLUMNS, Scale, Strip, Trail};
use super::content::{BuildError, find};
use super::file::{PayloadError, PayloadFile};

/// A payload, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadMap {
    /// As SVG.
    pub svg: String,
    /// As text, where the image is made of content: what of it comes from where.
    pub text: Option<String>,
}

/// Why a payload isn't drawn.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The payload can't be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The old image can't be read.
    #[error(transparent)]
    Source(#[from] BuildError),
    /// An old image for a payload that says by itself what it takes of it, or takes nothing.
    #[error("only the map of a content payload has use for an old image")]
    NoContent,
}

/// Draws a payload by its header and manifest; one of content by what the image at `source` has of
/// it, too. Nothing of the payload is verified.
///
/// # Errors
/// [`MapError`].
pub fn map(payload: &PayloadFile, source: Option<&Path>) -> Result<PayloadMap, MapError> {
    let manifest = payload.metadata()?.manifest;
    let slot = manifest.image(ImageKind::Slot);
    let content = slot.and_then(|image| Some((image, image.content.as_ref()?)));
    let content = content.map(|(image, tables)| content_picture(image, tables, source));
    let content = content.transpose()?;
    if content.is_none() && source.is_some() {
        return Err(MapError::NoContent);
    }
    let text = content.as_ref().map(text::draw);
    let others = manifest
        .images()
        .iter()
        .filter(|image| image.content.is_none())
        .map(|image| Picture::new(&manifest, image));
    let pictures: Vec<Picture> = content.into_iter().chain(others).collect();
    let name = payload.path().file_name().unwrap_or_default();
    let svg = svg::draw(&name.to_string_lossy(), payload.size(), &pictures);
    Ok(PayloadMap { svg, text })
}

fn content_picture(
    image: &Image,
    tables: &Arc<ContentTables>,
    source: Option<&Path>,
) -> Result<Picture, BuildError> {
    let old = source.map(|path| find(path, tables)).transpose()?;
    let has = |chunk| old.as_ref().is_some_and(|old| old.has(chunk));
    let made = old.as_ref().map(|old| PatchedChunks::new(tables, old, has));
    let patches: Vec<_> = made.iter().flat_map(PatchedChunks::patches).collect();
    Ok(Picture::of_content(image, tables, (&has, &patches)))
}

/// What makes a block, in groups that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Paint {
    /// By operations that copy.
    Copied(&'static str),
    Patched(&'static str),
    /// By data alone.
    Packed(&'static str),
    Zeros(&'static str),
    /// By the reader alone.
    Computed(&'static str),
}

impl Paint {
    /// By what the operation takes, so that a new kind needs nothing here.
    const fn of(operation: &Operation) -> Self {
        let name = operation.kind.name();
        match (operation.kind.source(), operation.data) {
            (Some(_), None) => Self::Copied(name),
            (Some(_), Some(_)) => Self::Patched(name),
            (None, Some(_)) => Self::Packed(name),
            (None, None) => Self::Zeros(name),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Copied(name)
            | Self::Patched(name)
            | Self::Packed(name)
            | Self::Zeros(name)
            | Self::Computed(name) => name,
        }
    }
}

/// An image that is part of the slot's content.
const OF_CONTENT: Paint = Paint::Copied("(slot's content)");

/// What no operation writes, in version 1.
const LEFT: Paint = Paint::Copied("(left as it was)");

/// One image, added up.
struct Picture {
    title: String,
    /// In bytes; 0 if there is none.
    old_size: u64,
    new_size: u64,
    data_size: u64,
    old: Strip,
    new: Strip,
    data: Strip,
    /// From the old image to the new one.
    copies: Bands,
    /// From the data to the new image.
    arrivals: Bands,
    legend: Vec<LegendEntry>,
    /// What the legend counts.
    counted: &'static str,
}

/// All operations of a kind.
struct LegendEntry {
    paint: Paint,
    operations: usize,
    /// Bytes of the image that they make.
    result: u64,
    /// Bytes of data that they take.
    data: u64,
}

impl Picture {
    /// Nothing but the new image's name and size.
    fn blank(image: &Image, counted: &'static str) -> Self {
        Self {
            title: image.kind.to_string(),
            old_size: 0,
            new_size: image.new.size,
            data_size: 0,
            old: Strip::default(),
            new: Strip::default(),
            data: Strip::default(),
            copies: Bands::default(),
            arrivals: Bands::default(),
            legend: Vec::new(),
            counted,
        }
    }

    fn new(manifest: &Manifest, image: &Image) -> Self {
        let operations = manifest.operations_of(image);
        let block = manifest.block_size();
        let first = operations.iter().find_map(|operation| operation.data);
        let data_start = first.map_or(0, |data| data.offset);
        let data_size = operations.iter().map(Operation::data_len).sum();
        let old_size = image.old.map_or(0, |old| old.size);
        let mut picture = Self::blank(image, "operations");
        (picture.old_size, picture.data_size) = (old_size, data_size);
        let scales = Scales {
            old: Scale::of(block.touched_blocks(old_size)),
            new: Scale::of(block.touched_blocks(image.new.size)),
            data: Scale::of(data_size),
        };
        for operation in operations {
            picture.add(operation, data_start, &scales, block.bytes());
        }
        if image.content_start.is_some() {
            let end = block.touched_blocks(image.new.size);
            for piece in scales.new.pieces(0, end) {
                picture.new.paint(piece.column, OF_CONTENT, piece.amount);
            }
            picture.count(OF_CONTENT, 0, image.new.size, 0);
        }
        for range in &image.unwritten {
            for piece in scales.new.pieces(range.start(), range.end()) {
                let at = scales.old.column(piece.middle);
                picture.new.paint(piece.column, LEFT, piece.amount);
                picture.old.paint(at, LEFT, piece.amount);
                picture.copies.add(LEFT, at, piece.column);
            }
            picture.count(LEFT, 0, range.count().saturating_mul(block.bytes()), 0);
        }
        picture
    }

    fn add(&mut self, operation: &Operation, data_start: u64, scales: &Scales, block: u64) {
        let paint = Paint::of(operation);
        let blocks = operation.destination_blocks();
        let trail = Trail::of(operation);
        for (before, range) in columns::destination(operation) {
            for piece in scales.new.pieces(range.start(), range.end()) {
                self.new.paint(piece.column, paint, piece.amount);
                let middle = before + (piece.middle - range.start());
                if let Some(old) = trail.old_block(middle, blocks) {
                    let from = scales.old.column(old);
                    self.copies.add(paint, from, piece.column);
                }
            }
            if let Some(data) = operation.data {
                let at = |block| data.offset - data_start + columns::share(data.len, block, blocks);
                self.arrivals.add_wide(Band {
                    paint,
                    from: scales.data.columns(at(before), at(before + range.count())),
                    to: scales.new.columns(range.start(), range.end()),
                });
            }
        }
        for range in trail.ranges() {
            for piece in scales.old.pieces(range.start(), range.end()) {
                self.old.paint(piece.column, paint, piece.amount);
            }
        }
        if let Some(data) = operation.data {
            let start = data.offset - data_start;
            for piece in scales.data.pieces(start, start + data.len) {
                self.data.paint(piece.column, paint, piece.amount);
            }
        }
        self.count(paint, 1, blocks.saturating_mul(block), operation.data_len());
    }

    fn count(&mut self, paint: Paint, operations: usize, result: u64, data: u64) {
        let known = self.legend.iter().position(|entry| entry.paint == paint);
        let at = known.unwrap_or_else(|| {
            self.legend.push(LegendEntry {
                paint,
                operations: 0,
                result: 0,
                data: 0,
            });
            self.legend.len() - 1
        });
        let entry = &mut self.legend[at];
        entry.operations += operations;
        entry.result = entry.result.saturating_add(result);
        entry.data = entry.data.saturating_add(data);
        self.legend.sort_by_key(|entry| entry.paint);
    }
}

struct Scales {
    old: Scale,
    new: Scale,
    data: Scale,
}
