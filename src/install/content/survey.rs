//! The survey before the first write: whether the manifest may be trusted, which chunks the running
//! slot has, and which ranges are to be fetched.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use payload_format::{
    ContentTables, Manifest, OldContent, PatchedChunks, ReadBlocks, Reader, WrittenContent,
};
use tokio_util::sync::CancellationToken;

use super::metadata::PackageMetadata;
use super::{ContentFailure, interrupted};
use crate::disk::{BlockTarget, give_back_free_memory};
use crate::install::attempt::AttemptSetup;
use crate::install::pipeline::images::OldBlocks;
use crate::install::targets::Targets;
use crate::install::{InstallError, manifest_checks};

/// See the module.
pub(super) struct Survey {
    pub(super) reader: Reader,
    pub(super) manifest: Arc<Manifest>,
    /// Header and manifest, with their signatures.
    pub(super) metadata: Vec<u8>,
    /// Bytes of it that were fetched in this attempt.
    metadata_fetched: u64,
    pub(super) tables: Arc<ContentTables>,
    /// What the running slot has.
    pub(super) old: OldContent,
    /// What patches make of that.
    pub(super) patched: PatchedChunks,
    /// What the other slot has of the rest, if an attempt was interrupted.
    pub(super) written: Option<WrittenContent>,
    /// Bytes of operations' data, which follow the metadata.
    pub(super) operations_len: u64,
    /// What is fetched: places in the package, in the order in which they are taken.
    pub(super) ranges: Vec<Range<u64>>,
}

impl Survey {
    /// Checks the manifest, and looks through the running slot. Changes nothing.
    ///
    /// # Errors
    /// Whatever speaks against the package.
    pub(super) fn make(
        attempt: &AttemptSetup,
        targets: &Targets,
        fetched: PackageMetadata,
        cancel: &CancellationToken,
    ) -> Result<Self, ContentFailure> {
        let metadata_fetched = fetched.fetched();
        let PackageMetadata {
            reader,
            manifest,
            bytes: metadata,
            is_resumed,
            ..
        } = fetched;
        manifest_checks::check_content(attempt, &manifest, &metadata, targets)?;
        let tables = Arc::clone(manifest.content().ok_or(ContentFailure::NoContent)?);
        let old = look_through(attempt, &tables, cancel)?;
        let written = if is_resumed {
            let image = (&tables, manifest.partition().new.size);
            let found = interrupted::look_through(targets, image, |chunk| !old.has(chunk), cancel);
            Some(found?)
        } else {
            None
        };
        let is_there = |chunk| old.has(chunk) || written.as_ref().is_some_and(|written| written.has(chunk));
        // Invariant: the manifest's check has summed them up.
        let operations_len = manifest.data_len().saturating_sub(tables.data_len());
        let metadata_len = metadata.len() as u64;
        let patched = PatchedChunks::new(&tables, &old, is_there);
        let ranges = ranges(metadata_len, operations_len, patched.missing(is_there));
        give_back_free_memory();
        let survey = Self {
            reader,
            manifest,
            metadata,
            metadata_fetched,
            tables,
            old,
            patched,
            written,
            operations_len,
            ranges,
        };
        let (expected, payload) = (survey.expected(), attempt.plan.payload_size);
        if expected >= payload {
            return Err(ContentFailure::NoGain { expected, payload });
        }
        Ok(survey)
    }

    /// Bytes that are fetched of the package in this attempt, in all.
    pub(super) fn expected(&self) -> u64 {
        let ranges = self.ranges.iter().map(|range| range.end - range.start);
        self.metadata_fetched + ranges.sum::<u64>()
    }

    /// Place of the first packed chunk in the package.
    pub(super) fn first_chunk(&self) -> u64 {
        self.metadata.len() as u64 + self.operations_len
    }

    pub(super) fn chunks(&self) -> usize {
        self.tables.chunks().len()
    }

    /// How many of them the running slot has.
    pub(super) fn chunks_there(&self) -> usize {
        (0..self.chunks()).filter(|chunk| self.old.has(*chunk)).count()
    }

    /// How many the other slot has of the rest.
    pub(super) fn chunks_written(&self) -> usize {
        let written = self.written.as_ref();
        let is_written = |chunk: &usize| written.is_some_and(|written| written.has(*chunk));
        (0..self.chunks()).filter(is_written).count()
    }
}

/// The ranges of the package, in the order in which they are taken: of operations' data, and of chunks
/// and patches that are `missing`, which are counted from the first chunk.
fn ranges(metadata_len: u64, operations_len: u64, missing: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let first_chunk = metadata_len + operations_len;
    let operations = (operations_len > 0).then_some(metadata_len..first_chunk);
    let mut ranges: Vec<Range<u64>> = operations.into_iter().collect();
    for range in missing {
        let range = range.start + first_chunk..range.end + first_chunk;
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

fn look_through(
    attempt: &AttemptSetup,
    tables: &Arc<ContentTables>,
    cancel: &CancellationToken,
) -> Result<OldContent, ContentFailure> {
    let slot = !attempt.plan.target;
    let running = attempt.site.slots.open_source(slot);
    let running = running.map_err(|source| InstallError::Open { slot, source })?;
    let len = running.len();
    let running = Arc::new(Cancellable::new(running, cancel));
    OldContent::find(running, len, Arc::clone(tables)).map_err(ContentFailure::Running)
}

/// An image that can't be read any more once the attempt was cancelled: looking through it takes
/// long.
pub(super) struct Cancellable {
    image: OldBlocks,
    cancel: CancellationToken,
}

impl Cancellable {
    pub(super) fn new(image: Arc<dyn BlockTarget>, cancel: &CancellationToken) -> Self {
        Self {
            image: OldBlocks::new(image),
            cancel: cancel.clone(),
        }
    }
}

impl ReadBlocks for Cancellable {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.image.read_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_first_and_what_touches_is_one_range() {
        assert_eq!(ranges(10, 0, vec![0..5, 9..12]), [10..15, 19..22]);
        assert_eq!(ranges(10, 7, vec![0..5, 9..12]), [10..22, 26..29]);
        assert_eq!(ranges(10, 7, vec![1..5, 6..9]), [10..17, 18..22, 23..26]);
        assert_eq!(ranges(10, 0, Vec::new()), []);
    }
}
