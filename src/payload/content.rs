//! The image of a content payload, built from what an old image has and from the payload's file.

use std::fmt;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use payload_format::{
    ContentBuilder, ContentCopy, ContentError, ContentTables, Image, OldContent, PatchedChunks, WriteBlocks,
};

use super::construction::ImageFile;
use super::file::{PayloadError, PayloadFile};

/// Where the content came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentReport {
    /// Chunks of the image's content.
    pub chunks: usize,
    /// Chunks that the old image had.
    pub from_old: usize,
    /// Bytes of their content.
    pub from_old_len: u64,
    /// Chunks that patches of the old image made.
    pub patched: usize,
    /// Bytes of the payload that a node would fetch for the others.
    pub fetched_len: u64,
    /// Ranges that these bytes lie in.
    pub ranges: usize,
    /// Bytes of the payload before its data, which every node fetches, too.
    pub metadata_len: u64,
    /// Bytes of operations' data, likewise: of images beside the slot's that aren't part of its
    /// content.
    pub operations_len: u64,
}

impl fmt::Display for ContentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = if self.ranges == 1 { "range" } else { "ranges" };
        write!(
            f,
            "{} of {} chunks were in the old image ({} bytes of content), and patches of it made {}; for the other \
             chunks and the patches a node would fetch {} bytes of the payload in {} {ranges}, besides {} bytes of \
             metadata and {} bytes for other images",
            self.from_old,
            self.chunks,
            self.from_old_len,
            self.patched,
            self.fetched_len,
            self.ranges,
            self.metadata_len,
            self.operations_len
        )
    }
}

/// Why an image can't be built of its content.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The payload can't be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The old image can't be read.
    #[error("cannot read {path}")]
    Old {
        /// Path of the file or device.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The content isn't what the manifest says, or the image can't be written.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// The part of the slot's content that an image is, for who writes it to `target`.
pub(super) fn copy_of(image: &Image, target: Arc<dyn WriteBlocks>) -> Option<ContentCopy> {
    let start = image.content_start?;
    let len = image.new.size;
    Some(ContentCopy { start, len, target })
}

/// Builds the image of `tables`, of `image_len` bytes, from what the old one has and the payload;
/// and the images that are part of its content.
///
/// # Errors
/// [`BuildError`]; what was written is of no use then.
pub(super) fn build(
    payload: &PayloadFile,
    (tables, image_len): (&Arc<ContentTables>, u64),
    old: Option<&Path>,
    (target, copies): (Arc<dyn WriteBlocks>, &[ContentCopy]),
) -> Result<ContentReport, BuildError> {
    let mut old = match old {
        Some(path) => Some((find(path, tables)?, path)),
        None => None,
    };
    let metadata = payload.metadata()?;
    let metadata_len = metadata.size + metadata.signatures_size;
    // The data of operations comes first.
    let operations_len = metadata.manifest.data_len() - tables.data_len();
    let first_chunk = metadata_len + operations_len;
    let mut place = first_chunk;
    let has = |number| old.as_ref().is_some_and(|(old, _)| old.has(number));
    let mut patched = old.as_ref().map(|(old, _)| PatchedChunks::new(tables, old, has));
    let missing = match &patched {
        Some(patched) => patched.missing(has),
        None => tables.missing(has),
    };
    let mut report = ContentReport {
        chunks: tables.chunks().len(),
        fetched_len: missing.iter().map(|range| range.end - range.start).sum(),
        ranges: missing.len(),
        metadata_len,
        operations_len,
        ..ContentReport::default()
    };
    let builder = ContentBuilder::new(Arc::clone(tables), image_len, target);
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut builder = builder.with_threads(threads).with_copies(copies.to_vec());
    while let Some((number, chunk)) = builder.due() {
        let made = match (&mut patched, &mut old) {
            (Some(patched), Some((old, _))) => patched.take(number, old, |place, len| {
                payload.at(first_chunk + place, len).map_err(BuildError::Payload)
            })?,
            _ => None,
        };
        let content = match &mut old {
            Some((old, path)) if made.is_none() => read(old, number, path)?,
            _ => None,
        };
        if let Some(content) = made {
            builder.take(content)?;
            report.patched += 1;
        } else if let Some(content) = content {
            builder.take(&content)?;
            report.from_old += 1;
            report.from_old_len += u64::from(chunk.len);
        } else {
            builder.take_packed(&payload.at(place, chunk.packed_len)?)?;
        }
        place += u64::from(chunk.packed_len);
    }
    builder.finish()?;
    Ok(report)
}

fn read(old: &mut OldContent, number: usize, path: &Path) -> Result<Option<Vec<u8>>, BuildError> {
    old.read(number).map_err(|source| BuildError::Old {
        path: path.into(),
        source,
    })
}

/// What the image at `path` has of the content of `tables`.
///
/// # Errors
/// It can't be read.
pub(super) fn find(path: &Path, tables: &Arc<ContentTables>) -> Result<OldContent, BuildError> {
    let failed = |source| BuildError::Old {
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    // A block device has no length to be told by its metadata.
    let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
    OldContent::find(Arc::new(ImageFile(file)), len, Arc::clone(tables)).map_err(failed)
}
