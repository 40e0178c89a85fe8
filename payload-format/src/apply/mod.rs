//! Carrying operations out, wherever the images lie.
//!
//! ```text
//!              data                 ┌────────┐  result, in order   ┌──────┐
//!  REPLACE ─────────────────────────┤        ├────────────────────▶│ Sink │──▶ destination extents
//!  REPLACE_BZ ── one bzip2 stream ──┤ decode │                     └──────┘    zeros to the block's end,
//!  MOVE ──────── source ────────────┤        │                                  holes skipped
//!  BSDIFF ────── patch + source ────┴────────┘
//!                       └ runs of the old image, of the target, of zeros
//! ```
//!
//! Memory per operation: its data, some megabytes to decompress, a buffer of 1 MiB. An [`Applier`] is shared
//! between threads; which operations may run side by side is told by [`Operation::after`].

mod blocks;
mod error;
mod sink;
mod source;
mod streamed;

pub use blocks::{ReadBlocks, WriteBlocks};
pub use error::{ApplyError, Fault};
pub use streamed::Streamed;

use std::sync::Arc;

use crate::block::{BlockRange, Extent};
use crate::bsdiff::{Patch, PatchError};
use crate::image::{Image, ImageKind};
use crate::manifest::Manifest;
use crate::operation::{OpId, Operation, OperationKind, Replay, Run, Source};
use sink::Sink;
use source::{Origins, SourceBytes};
use streamed::{Bunzip, Decoder};

/// Bytes copied or patched at a time.
const BUFFER: usize = 1 << 20;

/// Builds one image of a payload.
///
/// What it leaves to its caller: checking the old image against [`Image::old`] first, order
/// ([`Operation::after`]), durability ([`Operation::replay`]), [`Self::copy`] of [`Image::unwritten`], and
/// for files cutting the result to the new size.
#[derive(Clone)]
pub struct Applier {
    manifest: Arc<Manifest>,
    image: ImageKind,
    /// In bytes.
    image_len: u64,
    origins: Origins,
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
        let Image { old: info, new, .. } = manifest.image(image).ok_or(ApplyError::NoImage(image))?;
        if info.is_some() && old.is_none() {
            return Err(ApplyError::NoSource(image));
        }
        let old_len = info.map_or(0, |info| info.size);
        let (image_len, block_size) = (new.size, manifest.block_size());
        let origins = Origins {
            old: old.filter(|_| old_len > 0),
            old_len,
            target,
            block_size,
        };
        Ok(Self {
            manifest,
            image,
            image_len,
            origins,
        })
    }

    /// Carries out one operation with all of its data (none for a MOVE).
    ///
    /// # Errors
    /// [`ApplyError`]; the destination is then undefined.
    pub fn apply(&self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        let operation = self.operation(op)?;
        let result = match &operation.kind {
            OperationKind::Replace | OperationKind::ReplaceBz => {
                let mut streamed = self.stream(op)?;
                streamed.write(data)?;
                return streamed.finish();
            }
            OperationKind::Move(source) => self.move_blocks(operation, source),
            OperationKind::Bsdiff {
                source,
                source_len,
                result_len,
            } => self.patch(operation, source, (*source_len, *result_len), data),
        };
        result.map_err(|fault| ApplyError::Operation { op, fault })
    }

    /// Begins a REPLACE or `REPLACE_BZ` whose data comes in pieces.
    ///
    /// # Errors
    /// [`ApplyError::NeedsWholeData`] for other kinds.
    pub fn stream(&self, op: OpId) -> Result<Streamed, ApplyError> {
        let operation = self.operation(op)?;
        let sink = self.sink(operation.destination.clone());
        match operation.kind {
            OperationKind::Replace => Ok(Streamed::new(op, Decoder::Plain(sink))),
            OperationKind::ReplaceBz => Ok(Streamed::new(op, Decoder::Bzip2(Box::new(Bunzip::new(sink))))),
            OperationKind::Move(_) | OperationKind::Bsdiff { .. } => Err(ApplyError::NeedsWholeData(op)),
        }
    }

    /// Copies blocks from the old image, for [`Image::unwritten`].
    ///
    /// # Errors
    /// [`ApplyError::Copy`].
    pub fn copy(&self, blocks: BlockRange) -> Result<(), ApplyError> {
        let source = Source {
            runs: vec![Run::Old(blocks)],
        };
        let source = SourceBytes::new(&self.origins, &source);
        let mut output = Output::new(self.sink(vec![Extent::Blocks(blocks)]), Replay::Safe);
        let copied = copy(&source, &mut output).and_then(|()| output.finish());
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

    fn move_blocks(&self, operation: &Operation, source: &Source) -> Result<(), Fault> {
        let source = SourceBytes::new(&self.origins, source);
        let mut output = Output::new(self.sink(operation.destination.clone()), operation.replay);
        copy(&source, &mut output)?;
        output.finish()
    }

    fn patch(
        &self,
        operation: &Operation,
        source: &Source,
        (source_len, result_len): (u64, u64),
        data: &[u8],
    ) -> Result<(), Fault> {
        let patch = Patch::parse(data).map_err(Fault::Patch)?;
        if patch.result_len() != result_len {
            let error = PatchError::ResultLength {
                found: patch.result_len(),
                expected: result_len,
            };
            return Err(Fault::Patch(error));
        }
        let source = SourceBytes::new(&self.origins, source);
        let mut output = Output::new(self.sink(operation.destination.clone()), operation.replay);
        let old = |buf: &mut [u8], offset| source.read_at(buf, offset);
        patch.apply(source_len, old, |result| output.write(result))?;
        output.finish()
    }
}

/// The whole source as the result.
fn copy(source: &SourceBytes<'_>, output: &mut Output) -> Result<(), Fault> {
    let mut buffer = vec![0; source::clamp(source.len(), BUFFER)];
    let mut at = 0;
    while at < source.len() {
        let now = source::clamp(source.len() - at, buffer.len());
        source.read_at(&mut buffer[..now], at)?;
        output.write(&buffer[..now])?;
        at += now as u64;
    }
    Ok(())
}

/// Gathers small writes. An operation that overwrites its own source is held back until it has read all of
/// it; the manifest's check bounds how much that can be.
struct Output {
    sink: Sink,
    buffer: Vec<u8>,
    hold: bool,
}

impl Output {
    fn new(sink: Sink, replay: Replay) -> Self {
        Self {
            sink,
            buffer: Vec::new(),
            hold: replay == Replay::Never,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.buffer.extend_from_slice(bytes);
        if self.hold || self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.sink.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), Fault> {
        self.flush()?;
        self.sink.finish()
    }
}
