//! The checks of a manifest, from wire messages to checked types.

use std::ops::Range;
use std::sync::Arc;

use prost::Message as _;

use super::image;
use super::room::Room;
use super::scan::Sifted;
use super::{ImageRelease, Manifest, ManifestError};
use crate::block::BlockSize;
use crate::content::ContentTables;
use crate::header::MajorVersion;
use crate::image::{Image, ImageKind};
use crate::limits::Limits;
use crate::op_id::OpId;
use crate::operation::Operation;
use crate::partition::{self, PartitionName};
use crate::wire;

/// The minor version that means operations of major version 1.
const IN_PLACE: u32 = 1;

/// What becomes of an error: it is returned, and ends the check, or is kept.
pub(super) type Refuse<'r> = &'r mut dyn FnMut(ManifestError) -> Result<(), ManifestError>;

/// Checks the whole message, of which `wire` has no operations, and orders it: images, operations,
/// data, signatures. Goes on after an error that `refuse` keeps; without the slot's image there is
/// no manifest then.
pub(super) fn manifest(
    wire: wire::DeltaArchiveManifest,
    sifted: Sifted<'_>,
    version: MajorVersion,
    limits: &Limits,
    refuse: Refuse<'_>,
) -> Result<Manifest, ManifestError> {
    let block_size = wire.block_size.unwrap_or(wire::DEFAULT_BLOCK_SIZE);
    let block_size = BlockSize::new(block_size).ok_or(ManifestError::BlockSize(block_size))?;
    let signatures = (wire.signatures_offset, wire.signatures_size);
    let release = match (
        version,
        wire.image_release.clone().map(ImageRelease::try_from).transpose(),
    ) {
        (MajorVersion::V1, _) => None,
        (MajorVersion::V2, release) => release.or_else(|error| refuse(error).map(|()| None))?,
    };
    let sources = match version {
        MajorVersion::V1 => procedures(wire, sifted),
        MajorVersion::V2 => partitions(wire, sifted.partitions, limits, refuse)?,
    };
    let mut builder = Builder::new(version, block_size, limits);
    for source in sources {
        builder.source(source, refuse)?;
    }
    Ok(Manifest {
        release,
        ..builder.finish(signatures, refuse)?
    })
}

/// The images of major version 1.
fn procedures(wire: wire::DeltaArchiveManifest, sifted: Sifted<'_>) -> Vec<EncodedImage<'_>> {
    let mut sources = vec![EncodedImage {
        kind: Ok(ImageKind::Slot),
        operations: sifted.partition,
        content: None,
        content_start: None,
        old: wire.old_partition_info,
        new: wire.new_partition_info,
    }];
    for (procedure, operations) in wire.procedures.into_iter().zip(sifted.procedures) {
        sources.push(EncodedImage {
            kind: procedure_kind(procedure.r#type),
            operations,
            content: None,
            content_start: None,
            old: procedure.old_info,
            new: procedure.new_info,
        });
    }
    sources
}

fn procedure_kind(kind: Option<i32>) -> Result<ImageKind, ManifestError> {
    match kind {
        Some(other) => ImageKind::of_procedure(other).ok_or(ManifestError::UnknownProcedure(other)),
        None => Err(ManifestError::NoProcedureType),
    }
}

/// The images of major version 2.
fn partitions<'a>(
    wire: wire::DeltaArchiveManifest,
    operations: Vec<Vec<&'a [u8]>>,
    limits: &Limits,
    refuse: Refuse<'_>,
) -> Result<Vec<EncodedImage<'a>>, ManifestError> {
    let minor = wire.minor_version.unwrap_or(0);
    let is_content = minor == Manifest::CONTENT_MINOR_VERSION && limits.content_payloads;
    if minor == IN_PLACE || (minor > Manifest::MAX_MINOR_VERSION && !is_content) {
        refuse(ManifestError::MinorVersion(minor))?;
    }
    let partitions = wire.partitions.into_iter().zip(operations);
    let source = |(partition, operations): (wire::PartitionUpdate, _)| EncodedImage {
        kind: named(&partition, minor, limits),
        operations,
        content: partition.content,
        content_start: partition.content_start,
        old: partition.old_partition_info,
        new: partition.new_partition_info,
    };
    Ok(partitions.map(source).collect())
}

/// The image that a partition is, if it is one that can be built.
fn named(partition: &wire::PartitionUpdate, minor: u32, limits: &Limits) -> Result<ImageKind, ManifestError> {
    let name = partition
        .partition_name
        .as_deref()
        .ok_or(ManifestError::NoPartitionName)?;
    let Some(image) = ImageKind::of_partition(name).or_else(|| extra_partition(name, limits)) else {
        return Err(ManifestError::UnknownPartition(partition::told(name)));
    };
    let computed = |what| ManifestError::Computed { image, what };
    if partition.hash_tree_extent.is_some() {
        return Err(computed("hash tree"));
    }
    if partition.fec_extent.is_some() {
        return Err(computed("error correction"));
    }
    let is_content = minor == Manifest::CONTENT_MINOR_VERSION;
    if (minor == 0 || is_content) && partition.old_partition_info.is_some() {
        return Err(ManifestError::DeltaInFull(image));
    }
    if partition.content.is_some() != (is_content && image == ImageKind::Slot) {
        return Err(ManifestError::MisplacedContent(image));
    }
    if partition.content_start.is_some() && !(is_content && image == ImageKind::Kernel) {
        return Err(ManifestError::MisplacedContent(image));
    }
    Ok(image)
}

fn extra_partition(name: &str, limits: &Limits) -> Option<ImageKind> {
    let name = PartitionName::new(name)?;
    limits.extra_partitions.room(name)?;
    Some(ImageKind::ExtraPartition(name))
}

/// One image's part of the message.
struct EncodedImage<'a> {
    kind: Result<ImageKind, ManifestError>,
    /// Encoded.
    operations: Vec<&'a [u8]>,
    content: Option<wire::WireContentTables>,
    content_start: Option<u64>,
    old: Option<wire::InstallInfo>,
    new: Option<wire::InstallInfo>,
}

/// The manifest so far.
struct Builder<'a> {
    version: MajorVersion,
    limits: &'a Limits,
    block_size: BlockSize,
    images: Vec<Image>,
    operations: Vec<Operation>,
    /// Where the next operation's data must begin.
    data_len: u64,
    /// Bytes of content, which follows the data of all operations.
    content_len: u64,
    /// Pieces that sources may still fall into, over all images.
    pieces: usize,
    /// Operations of images that were refused.
    skipped: usize,
    /// Nobody has to be told that there is no slot: it was refused for something else.
    slot_refused: bool,
}

impl<'a> Builder<'a> {
    fn new(version: MajorVersion, block_size: BlockSize, limits: &'a Limits) -> Self {
        Self {
            version,
            limits,
            block_size,
            images: Vec::new(),
            operations: Vec::new(),
            data_len: 0,
            content_len: 0,
            pieces: limits.extents.saturating_mul(2),
            skipped: 0,
            slot_refused: false,
        }
    }

    fn source(&mut self, source: EncodedImage<'_>, refuse: Refuse<'_>) -> Result<(), ManifestError> {
        let (first, start) = (self.operations.len(), self.data_len);
        let EncodedImage {
            kind,
            operations,
            content,
            content_start,
            old,
            new,
        } = source;
        let is_slot = is_slot(&kind);
        let image = |kind| match (&content, content_start) {
            (None, None) => self.image(kind, &operations, (old, new)),
            (tables, start) => self.content_image(kind, &operations, (tables.as_ref(), start), new),
        };
        let Err(error) = kind.and_then(image) else {
            return Ok(());
        };
        refuse(error)?;
        // As if it had been taken, so that what follows is judged by itself.
        self.slot_refused |= is_slot;
        self.operations.truncate(first);
        self.skipped += operations.len();
        self.data_len = start.saturating_add(data_len(&operations));
        Ok(())
    }

    fn image(
        &mut self,
        kind: ImageKind,
        operations: &[&[u8]],
        (old, new): (Option<wire::InstallInfo>, Option<wire::InstallInfo>),
    ) -> Result<(), ManifestError> {
        if self.images.iter().any(|image| image.kind == kind) {
            return Err(ManifestError::RepeatedImage(kind));
        }
        let room = Room::new(self.version, kind, self.block_size, self.limits);
        let old = old.map(|info| room.info(info)).transpose()?;
        let new = new
            .ok_or(ManifestError::NoImageInfo(kind))
            .and_then(|info| room.info(info))?;
        let mut plan = image::Planner::new(room, old, new, self.pieces);
        let first = self.next_number()?;
        // No more than the limit allows, and no room for more, which growth by doubling would take.
        self.operations.reserve_exact(operations.len());
        for operation in operations {
            let operation = wire::InstallOperation::decode(*operation).map_err(ManifestError::Protobuf)?;
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
            content: None,
            content_start: None,
            operations: self.numbers(first)?,
            unwritten,
        });
        Ok(())
    }

    /// An image that is made of content: by tables, or from a byte of the slot's content on.
    fn content_image(
        &mut self,
        kind: ImageKind,
        operations: &[&[u8]],
        (content, content_start): (Option<&wire::WireContentTables>, Option<u64>),
        new: Option<wire::InstallInfo>,
    ) -> Result<(), ManifestError> {
        if self.images.iter().any(|image| image.kind == kind) {
            return Err(ManifestError::RepeatedImage(kind));
        }
        if !operations.is_empty() {
            return Err(ManifestError::MisplacedContent(kind));
        }
        let room = Room::new(self.version, kind, self.block_size, self.limits);
        let new = new
            .ok_or(ManifestError::NoImageInfo(kind))
            .and_then(|info| room.info(info))?;
        let tables = content.map(|content| ContentTables::parse(content, new.size));
        let tables = tables.transpose().map_err(ManifestError::Content)?;
        self.content_len += tables.as_ref().map_or(0, ContentTables::data_len);
        let first = self.next_number()?;
        self.images.push(Image {
            kind,
            old: None,
            new,
            content: tables.map(Arc::new),
            content_start,
            operations: self.numbers(first)?,
            unwritten: Vec::new(),
        });
        Ok(())
    }

    fn next_number(&self) -> Result<u32, ManifestError> {
        u32::try_from(self.operations.len() + self.skipped)
            .map_err(|_| ManifestError::TooManyOperations(self.limits.operations))
    }

    fn numbers(&self, first: u32) -> Result<Range<u32>, ManifestError> {
        Ok(first..self.next_number()?)
    }

    fn finish(
        self,
        signatures: (Option<u64>, Option<u64>),
        refuse: Refuse<'_>,
    ) -> Result<Manifest, ManifestError> {
        let data_len = self
            .data_len
            .checked_add(self.content_len)
            .ok_or(ManifestError::DataLength)?;
        self.images
            .iter()
            .try_for_each(|image| within_content(image, &self.images))
            .or_else(&mut *refuse)?;
        let signatures_len = match signatures {
            (None, None | Some(0)) => Ok(0),
            (Some(offset), Some(len)) => signatures_len_of((offset, len), data_len),
            _ => Err(ManifestError::HalfSignature),
        };
        let signatures_len = signatures_len.or_else(|error| refuse(error).map(|()| 0))?;
        let is_partition = |image: &Image| image.kind == ImageKind::Slot;
        let partition = self.images.iter().position(is_partition);
        if partition.is_none() && !self.slot_refused {
            refuse(ManifestError::NoPartition)?;
        }
        Ok(Manifest {
            version: self.version,
            partition: partition.ok_or(ManifestError::NoPartition)?,
            block_size: self.block_size,
            images: self.images,
            operations: self.operations,
            data_len,
            signatures_len,
            release: None,
        })
    }
}

/// Whether an image that is part of the slot's content lies within it.
fn within_content(image: &Image, images: &[Image]) -> Result<(), ManifestError> {
    let Some(start) = image.content_start else {
        return Ok(());
    };
    let tables = images.iter().find_map(|image| image.content.as_ref());
    let content = tables.map_or(0, |tables| tables.content_len());
    let end = start.checked_add(image.new.size);
    if end.is_some_and(|end| end <= content) {
        return Ok(());
    }
    Err(ManifestError::PastContent {
        image: image.kind,
        start,
        size: image.new.size,
        content,
    })
}

fn signatures_len_of((offset, len): (u64, u64), data_len: u64) -> Result<u64, ManifestError> {
    if len > Manifest::MAX_SIGNATURES {
        return Err(ManifestError::SignatureSize(len));
    }
    if len > 0 && offset != data_len {
        return Err(ManifestError::SignatureOffset { offset, data_len });
    }
    Ok(len)
}

fn is_slot(kind: &Result<ImageKind, ManifestError>) -> bool {
    matches!(
        kind,
        Ok(ImageKind::Slot)
            | Err(ManifestError::Computed {
                image: ImageKind::Slot,
                ..
            } | ManifestError::DeltaInFull(ImageKind::Slot))
    )
}

/// Bytes of data that encoded operations say they have.
fn data_len(operations: &[&[u8]]) -> u64 {
    let operations = operations.iter();
    let wire = operations.filter_map(|operation| wire::InstallOperation::decode(*operation).ok());
    wire.filter_map(|operation| operation.data_length)
        .fold(0, u64::saturating_add)
}
