//! From wire messages to the checked manifest.

use std::ops::Range;

use super::image::{self, Room};
use super::{Manifest, ManifestError};
use crate::block::BlockSize;
use crate::image::{Image, ImageKind};
use crate::limits::Limits;
use crate::operation::{OpId, Operation};
use crate::wire;

/// Checks the whole message and orders it: images, operations, data, signatures.
pub(super) fn manifest(wire: wire::DeltaArchiveManifest, limits: &Limits) -> Result<Manifest, ManifestError> {
    let block_size = wire.block_size.unwrap_or(wire::DEFAULT_BLOCK_SIZE);
    let block_size = BlockSize::new(block_size).ok_or(ManifestError::BlockSize(block_size))?;
    let signatures = (wire.signatures_offset, wire.signatures_size);
    let mut builder = Builder::new(block_size, limits);
    builder.image(Source {
        kind: ImageKind::Partition,
        operations: wire.partition_operations,
        old: wire.old_partition_info,
        new: wire.new_partition_info,
    })?;
    for procedure in wire.procedures {
        builder.image(Source {
            kind: procedure_kind(procedure.r#type)?,
            operations: procedure.operations,
            old: procedure.old_info,
            new: procedure.new_info,
        })?;
    }
    builder.finish(signatures)
}

fn procedure_kind(kind: Option<i32>) -> Result<ImageKind, ManifestError> {
    match kind {
        Some(wire::KERNEL) => Ok(ImageKind::Kernel),
        Some(wire::PCR_POLICY) => Ok(ImageKind::PcrPolicy),
        Some(other) => Err(ManifestError::UnknownProcedure(other)),
        None => Err(ManifestError::NoProcedureType),
    }
}

/// One image's part of the message.
struct Source {
    kind: ImageKind,
    operations: Vec<wire::InstallOperation>,
    old: Option<wire::InstallInfo>,
    new: Option<wire::InstallInfo>,
}

/// The manifest so far.
struct Builder<'a> {
    limits: &'a Limits,
    block_size: BlockSize,
    images: Vec<Image>,
    operations: Vec<Operation>,
    /// Where the next operation's data must begin.
    data_len: u64,
    /// Pieces that sources may still fall into, over all images.
    pieces: usize,
}

impl<'a> Builder<'a> {
    fn new(block_size: BlockSize, limits: &'a Limits) -> Self {
        Self {
            limits,
            block_size,
            images: Vec::new(),
            operations: Vec::new(),
            data_len: 0,
            pieces: limits.extents.saturating_mul(2),
        }
    }

    fn image(&mut self, source: Source) -> Result<(), ManifestError> {
        let kind = source.kind;
        if self.images.iter().any(|image| image.kind == kind) {
            return Err(ManifestError::RepeatedProcedure(kind));
        }
        let room = Room::new(kind, self.block_size, self.limits);
        let old = source.old.map(|info| room.info(info)).transpose()?;
        let new = source
            .new
            .ok_or(ManifestError::NoImageInfo(kind))
            .and_then(|info| room.info(info))?;
        let mut plan = image::Planner::new(room, old, new, self.pieces);
        let first = self.next_number()?;
        for operation in source.operations {
            let id = OpId::new(self.next_number()?);
            let operation = plan.operation(id, &operation, self.data_len)?;
            self.data_len = self
                .data_len
                .checked_add(operation.data_len())
                .ok_or(ManifestError::DataLength)?;
            self.operations.push(operation);
        }
        self.pieces = plan.pieces_left();
        let unwritten = plan.unwritten()?;
        self.images.push(Image {
            kind,
            old,
            new,
            operations: self.numbers(first)?,
            unwritten,
        });
        Ok(())
    }

    fn next_number(&self) -> Result<u32, ManifestError> {
        u32::try_from(self.operations.len())
            .map_err(|_| ManifestError::TooManyOperations(self.limits.operations))
    }

    fn numbers(&self, first: u32) -> Result<Range<u32>, ManifestError> {
        Ok(first..self.next_number()?)
    }

    fn finish(self, signatures: (Option<u64>, Option<u64>)) -> Result<Manifest, ManifestError> {
        let signatures_len = match signatures {
            (None, None | Some(0)) => 0,
            (Some(offset), Some(len)) => self.signatures(offset, len)?,
            _ => return Err(ManifestError::HalfSignature),
        };
        Ok(Manifest {
            block_size: self.block_size,
            images: self.images,
            operations: self.operations,
            data_len: self.data_len,
            signatures_len,
        })
    }

    fn signatures(&self, offset: u64, len: u64) -> Result<u64, ManifestError> {
        if len > Manifest::MAX_SIGNATURES {
            return Err(ManifestError::SignatureSize(len));
        }
        if len > 0 && offset != self.data_len {
            let data_len = self.data_len;
            return Err(ManifestError::SignatureOffset { offset, data_len });
        }
        Ok(len)
    }
}
