//! The applier: carries operations out, wherever the images lie.
//!
//! ```text
//!                      data                 ┌────────┐  result, in order   ┌──────┐
//!  REPLACE ─────────────────────────────────┤        ├────────────────────▶│ Sink │──▶ destination extents
//!  REPLACE_BZ, _XZ, _ZSTD ── one stream ────┤ decode │                     └──────┘    zeros to the block's
//!  ZERO, DISCARD ── nothing ────────────────┤        │                                  end, holes skipped
//!  MOVE, SOURCE_COPY ── source ─────────────┤        │
//!  BSDIFF and its kin ── patch + source ────┴────────┘
//!                                 └ runs of the old image, of the target, of zeros; its hash first
//! ```
//!
//! Memory per operation: its data, up to 9 MiB to decompress, 15 to patch or 8 to copy, a buffer of
//! 1 MiB; data that is larger than is held comes in pieces ([`Streamed`]). An [`Applier`] is shared
//! between threads; which operations may run side by side is told by [`Operation::after`].

mod blocks;
mod buffered_sink;
mod codec;
mod error;
mod filling;
mod patched;
mod pieces;
mod sink;
mod streamed;
mod sum;

pub use blocks::{ReadBlocks, WriteBlocks};
pub use codec::Compression;
pub use error::{ApplyError, Fault};
pub use streamed::Streamed;

use std::sync::Arc;

use crate::block::{BlockRange, Extent};
use crate::bsdiff::{Container, Patch, StepBudget};
use crate::bunzip::{Bunzip, BunzipError};
use crate::image::{Image, ImageKind};
use crate::manifest::Manifest;
use crate::op_id::OpId;
use crate::operation::{Operation, OperationKind, PatchKind, Replay, Run, Source};
use buffered_sink::BufferedSink;
use patched::{Patched, Patchwork};
use pieces::{Origins, Pieces, SourceHashes};
use sink::Sink;
use streamed::{StreamDecoder, Unpack};

/// Bytes copied or patched at a time.
const BUFFER: usize = 1 << 20;

/// A source that is to be copied and is no longer than this, in bytes, is read once: what was
/// hashed is what is written. Of a longer one the hash is taken first, and it is read again.
const WHOLE: usize = 8 << 20;

/// Builds one image of a payload.
///
/// What it leaves to its caller: checking the old image against [`Image::old`] first, order
/// ([`Operation::after`]), durability ([`Operation::replay`]), [`Self::copy`] of
/// [`Image::unwritten`], and for files cutting the result to the new size.
#[derive(Clone)]
pub struct Applier {
    manifest: Arc<Manifest>,
    image: ImageKind,
    /// In bytes.
    image_len: u64,
    origins: Origins,
    /// Of all patches.
    budget: StepBudget,
}

impl Applier {
    /// For one image. Full images need no `old` one.
    ///
    /// # Errors
    /// [`ApplyError::NoImage`] or [`ApplyError::NoSource`].
    pub fn new(
        manifest: Arc<Manifest>,
        image: ImageKind,
        old: Option<Arc<dyn ReadBlocks>>,
        target: Arc<dyn WriteBlocks>,
    ) -> Result<Self, ApplyError> {
        if manifest.image(image).is_some_and(Image::is_delta) && old.is_none() {
            return Err(ApplyError::NoSource(image));
        }
        Self::with(manifest, image, (old, SourceHashes::Checked), target)
    }

    /// For one image, of which as much is to be found out as can be without the old one: zeros
    /// stand for that, whatever their hash should be. Of a full image all of it is made.
    ///
    /// # Errors
    /// [`ApplyError::NoImage`].
    pub fn without_old(
        manifest: Arc<Manifest>,
        image: ImageKind,
        target: Arc<dyn WriteBlocks>,
    ) -> Result<Self, ApplyError> {
        Self::with(manifest, image, (None, SourceHashes::Ignored), target)
    }

    fn with(
        manifest: Arc<Manifest>,
        image: ImageKind,
        (old, hashes): (Option<Arc<dyn ReadBlocks>>, SourceHashes),
        target: Arc<dyn WriteBlocks>,
    ) -> Result<Self, ApplyError> {
        let parts = manifest.image(image).ok_or(ApplyError::NoImage(image))?;
        let Image { old: info, new, .. } = parts;
        let old_len = info.map_or(0, |info| info.size);
        let (image_len, block_size) = (new.size, manifest.block_size());
        let origins = Origins {
            old: old.filter(|_| old_len > 0),
            old_len,
            target,
            block_size,
            hashes,
        };
        let operations = manifest.operations_of(parts).iter();
        // The manifest's check bounds what all of them write.
        let made: u64 = operations.map(Operation::destination_blocks).sum();
        let budget = StepBudget::for_image(made.saturating_mul(block_size.bytes()));
        Ok(Self {
            manifest,
            image,
            image_len,
            origins,
            budget,
        })
    }

    /// Carries out one operation with all of its data (none for kinds that have none).
    ///
    /// # Errors
    /// [`ApplyError`]; the destination is then undefined.
    pub fn apply(&self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        let operation = self.operation(op)?;
        let result = match &operation.kind {
            OperationKind::Zero | OperationKind::Discard => self.zeros(operation),
            OperationKind::Move(source) | OperationKind::SourceCopy(source) => {
                self.copy_blocks(operation, source)
            }
            OperationKind::Patch {
                format,
                source,
                source_len,
                result_len,
            } => Patch::parse(container(*format), data)
                .map_err(Fault::Patch)
                .and_then(|patch| self.patch(operation, source, (*source_len, *result_len), &patch)),
            OperationKind::ReplaceBz => self.unpack_bzip2(operation, data),
            OperationKind::Replace | OperationKind::ReplaceXz | OperationKind::ReplaceZstd => {
                let mut streamed = self.stream(op)?;
                streamed.write(data)?;
                return streamed.finish();
            }
        };
        result.map_err(|fault| ApplyError::Operation { op, fault })
    }

    /// Begins an operation whose data comes in pieces. What it reads is checked now.
    ///
    /// # Errors
    /// [`ApplyError::NeedsWholeData`] for kinds that have none, and for what overwrites what it
    /// reads itself.
    pub fn stream(&self, op: OpId) -> Result<Streamed, ApplyError> {
        let operation = self.operation(op)?;
        let compression = match &operation.kind {
            OperationKind::Replace => {
                let sink = self.sink(operation.destination.clone());
                return Ok(Streamed::new(op, StreamDecoder::Plain(sink)));
            }
            OperationKind::ReplaceBz => Compression::Bzip2,
            OperationKind::ReplaceXz => Compression::Xz,
            OperationKind::ReplaceZstd => Compression::Zstd,
            OperationKind::Patch { .. } if operation.replay != Replay::Never => {
                return self.stream_patch(operation);
            }
            _ => return Err(ApplyError::NeedsWholeData(op)),
        };
        let sink = self.sink(operation.destination.clone());
        let unpack = Unpack::new(compression, sink).map_err(|fault| ApplyError::Operation { op, fault })?;
        Ok(Streamed::new(op, StreamDecoder::Packed(Box::new(unpack))))
    }

    fn stream_patch(&self, operation: &Operation) -> Result<Streamed, ApplyError> {
        let op = operation.id;
        let OperationKind::Patch {
            format,
            source,
            source_len,
            result_len,
        } = &operation.kind
        else {
            return Err(ApplyError::NeedsWholeData(op));
        };
        let source = self
            .source(source)
            .map_err(|fault| ApplyError::Operation { op, fault })?;
        let place = operation.destination.iter().map(|extent| match extent {
            Extent::Blocks(range) => Run::Target(*range),
            Extent::Hole(count) => Run::Zeros(*count),
        });
        let patched = Patched::new(Patchwork {
            container: container(*format),
            source,
            source_len: *source_len,
            result_len: *result_len,
            output: self.output(operation),
            place: Pieces::new(&self.origins, &place.collect::<Vec<_>>()),
            budget: self.budget.clone(),
        });
        Ok(Streamed::new(op, StreamDecoder::Patch(Box::new(patched))))
    }

    /// Copies blocks from the old image, for [`Image::unwritten`].
    ///
    /// # Errors
    /// [`ApplyError::Copy`].
    pub fn copy(&self, blocks: BlockRange) -> Result<(), ApplyError> {
        let source = Source {
            runs: vec![Run::Old(blocks)],
            sha256: None,
        };
        let source = Pieces::new(&self.origins, &source.runs);
        let mut output = BufferedSink::new(self.sink(vec![Extent::Blocks(blocks)]), Replay::Safe);
        let copied = source
            .each(|bytes| output.write(bytes))
            .and_then(|()| output.finish());
        copied.map_err(|fault| ApplyError::Copy { blocks, fault })
    }

    fn operation(&self, op: OpId) -> Result<&Operation, ApplyError> {
        let operation = self
            .manifest
            .operation(op)
            .filter(|operation| operation.image == self.image);
        operation.ok_or(ApplyError::ForeignOperation {
            op,
            image: self.image,
        })
    }

    fn sink(&self, extents: Vec<Extent>) -> Sink {
        Sink::new(
            Arc::clone(&self.origins.target),
            self.origins.block_size,
            extents,
            self.image_len,
        )
    }

    fn output(&self, operation: &Operation) -> BufferedSink {
        BufferedSink::new(self.sink(operation.destination.clone()), operation.replay)
    }

    /// An operation's source, if it is the right one.
    fn source(&self, source: &Source) -> Result<Pieces, Fault> {
        let bytes = Pieces::new(&self.origins, &source.runs);
        bytes.check(source.sha256)?;
        Ok(bytes)
    }

    fn zeros(&self, operation: &Operation) -> Result<(), Fault> {
        let mut sink = self.sink(operation.destination.clone());
        let mut left = operation.destination_blocks() * self.origins.block_size.bytes();
        let zeros = vec![0; pieces::clamp(left, BUFFER)];
        while left > 0 {
            let now = pieces::clamp(left, zeros.len());
            sink.write(&zeros[..now])?;
            left -= now as u64;
        }
        sink.finish()
    }

    fn unpack(&self, compression: Compression, operation: &Operation, data: &[u8]) -> Result<(), Fault> {
        let mut unpack = Unpack::new(compression, self.sink(operation.destination.clone()))?;
        unpack.write(data)?;
        unpack.finish()
    }

    fn unpack_bzip2(&self, operation: &Operation, data: &[u8]) -> Result<(), Fault> {
        let mut sink = self.sink(operation.destination.clone());
        let mut stream = Bunzip::new(data)?;
        let mut buffer = Vec::with_capacity(BUFFER + Bunzip::STEP);
        loop {
            match stream.read(&mut buffer) {
                Ok(true) => {}
                Ok(false) => break,
                // Nobody has written these since 1997: the library does it, from the beginning.
                Err(BunzipError::Randomised) => return self.unpack(Compression::Bzip2, operation, data),
                Err(error) => return Err(error.into()),
            }
            if buffer.len() >= BUFFER {
                sink.write(&buffer)?;
                buffer.clear();
            }
        }
        sink.write(&buffer)?;
        let (compression, len) = (Compression::Bzip2, stream.rest());
        if len > 0 {
            return Err(Fault::TrailingBytes { compression, len });
        }
        sink.finish()
    }

    fn copy_blocks(&self, operation: &Operation, source: &Source) -> Result<(), Fault> {
        let bytes = Pieces::new(&self.origins, &source.runs);
        if let Some(whole) = bytes.whole(WHOLE)? {
            bytes.expect(&whole, source.sha256)?;
            let mut sink = self.sink(operation.destination.clone());
            sink.write(&whole)?;
            return sink.finish();
        }
        bytes.check(source.sha256)?;
        let mut output = self.output(operation);
        bytes.each(|bytes| output.write(bytes))?;
        output.finish()
    }

    fn patch(
        &self,
        operation: &Operation,
        source: &Source,
        (source_len, result_len): (u64, u64),
        patch: &Patch<'_>,
    ) -> Result<(), Fault> {
        patch.head().expect(result_len)?;
        let source = self.source(source)?;
        let mut output = self.output(operation);
        let old = |buf: &mut [u8], offset| source.read_at(buf, offset);
        let patch = patch.within(&self.budget);
        patch.apply(source_len, old, |result| output.write(result))?;
        output.finish()
    }
}

const fn container(format: PatchKind) -> Container {
    match format {
        PatchKind::Bsdiff | PatchKind::SourceBsdiff => Container::Bsdiff40,
        PatchKind::BrotliBsdiff => Container::Bsdf2,
    }
}
