//! One image as it was written down.

use std::fmt;

use super::message::EncodedMessage;
use super::operation::{OutlinedOperation, extent_of};
use crate::image::ImageKind;
use crate::manifest::cursor::Cursor;
use crate::partition::{self, PartitionName};

/// What a payload says of an image.
#[derive(Debug, Clone, Copy)]
pub struct OutlinedImage<'a> {
    pub(super) name: ImageName<'a>,
    /// What has the fields.
    pub(super) message: EncodedMessage<'a>,
    pub(super) fields: Fields,
}

/// Numbers of fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) operations: u64,
    pub(super) old: u64,
    pub(super) new: u64,
}

impl Fields {
    /// Of the slot in major version 1.
    pub(super) const SLOT: Self = Self {
        operations: 1,
        old: 8,
        new: 9,
    };
    /// Of the kernel in major version 1, before there were procedures.
    pub(super) const OLD_KERNEL: Self = Self {
        operations: 2,
        old: 6,
        new: 7,
    };
    pub(super) const PROCEDURE: Self = Self {
        operations: 2,
        old: 3,
        new: 4,
    };
    pub(super) const PARTITION: Self = Self {
        operations: 8,
        old: 6,
        new: 7,
    };
}

/// What an image is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum ImageName<'a> {
    Slot,
    OldKernel,
    /// A procedure, by its type.
    Procedure(Option<i64>),
    /// A partition, by its name.
    Partition(Option<&'a [u8]>),
}

/// Size and hash of an image, as far as they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlinedInfo<'a> {
    /// Bytes of the image.
    pub size: Option<u64>,
    /// Of whatever length.
    pub hash: Option<&'a [u8]>,
}

/// What a partition asks of a client beside writing it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionExtras {
    /// The program in it that is run after it was written; empty if none is named.
    pub postinstall: Option<String>,
    /// What kind of file system it holds.
    pub file_system: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// First block and number of blocks that get a hash tree, which the client computes.
    pub hash_tree: Option<(Option<u64>, u64)>,
    /// Likewise, of error correction.
    pub error_correction: Option<(Option<u64>, u64)>,
    /// Operations on a snapshot in place of the partition.
    pub merge_operations: usize,
    /// Bytes that such a snapshot may take.
    pub snapshot_size: Option<u64>,
    /// Signatures of the new partition.
    pub signatures: usize,
}

/// What a payload says of an image's content, in content payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinedContent {
    /// Number of chunks.
    pub chunks: usize,
    /// Bytes of all packed chunks and patches.
    pub data_len: u64,
    /// Old images that there are patches for.
    pub predecessors: usize,
    /// Number of segments that the image is put together from.
    pub segments: usize,
    /// Names of encoders and their levels.
    pub encoders: Vec<(String, i64)>,
    /// Blocks at the image's beginning whose hash tree the reader computes.
    pub hash_tree_of: Option<u64>,
}

/// Encoders that are shown.
const MAX_ENCODERS: usize = 16;

impl<'a> OutlinedImage<'a> {
    /// The image that it is on a node, if it is any. Of an extra partition the node decides.
    #[must_use]
    pub fn kind(&self) -> Option<ImageKind> {
        match self.name {
            ImageName::Slot => Some(ImageKind::Slot),
            ImageName::OldKernel => None,
            ImageName::Procedure(number) => ImageKind::of_procedure(i32::try_from(number?).ok()?),
            ImageName::Partition(name) => {
                let name = std::str::from_utf8(name?).ok()?;
                let extra_partition = || PartitionName::new(name).map(ImageKind::ExtraPartition);
                ImageKind::of_partition(name).or_else(extra_partition)
            }
        }
    }

    /// What it is built from, if it says so.
    #[must_use]
    pub fn old_info(&self) -> Option<OutlinedInfo<'a>> {
        self.message.message(self.fields.old).map(info)
    }

    /// What it must become, if it says so.
    #[must_use]
    pub fn new_info(&self) -> Option<OutlinedInfo<'a>> {
        self.message.message(self.fields.new).map(info)
    }

    /// Its operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = OutlinedOperation<'a>> + use<'a> {
        let operations = self.message.all(self.fields.operations);
        operations.map(|operation| OutlinedOperation(EncodedMessage(operation)))
    }

    /// Its content tables, if it has any.
    #[must_use]
    pub fn content(&self) -> Option<OutlinedContent> {
        let is_partition = matches!(self.name, ImageName::Partition(_));
        let tables = self.message.message(50_001).filter(|_| is_partition)?;
        let encoder = |encoder: &[u8]| {
            let encoder = EncodedMessage(encoder);
            let level = encoder.number(2).unwrap_or(0);
            let level = (level >> 1).cast_signed() ^ -(level & 1).cast_signed();
            (encoder.text(1).unwrap_or_default(), level)
        };
        let packed = numbers(tables.bytes(7).unwrap_or_default());
        let patches = |predecessor| numbers(EncodedMessage(predecessor).bytes(5).unwrap_or_default());
        let packed = packed.chain(tables.all(14).flat_map(patches));
        Some(OutlinedContent {
            chunks: numbers(tables.bytes(6).unwrap_or_default()).count(),
            data_len: packed.fold(0, u64::saturating_add),
            predecessors: tables.all(14).count(),
            segments: numbers(tables.bytes(9).unwrap_or_default()).count(),
            encoders: tables.all(5).take(MAX_ENCODERS).map(encoder).collect(),
            hash_tree_of: tables.message(13).map(|tree| tree.number(1).unwrap_or(0)),
        })
    }

    /// The first byte of the slot's content that it is, if it is part of that.
    #[must_use]
    pub fn content_start(&self) -> Option<u64> {
        let is_partition = matches!(self.name, ImageName::Partition(_));
        self.message.number(50_002).filter(|_| is_partition)
    }

    /// What else it says. Nothing in major version 1.
    #[must_use]
    pub fn extras(&self) -> PartitionExtras {
        let message = self.message;
        if !matches!(self.name, ImageName::Partition(_)) {
            return PartitionExtras::default();
        }
        let runs = message.number(2).is_some_and(|runs| runs != 0);
        PartitionExtras {
            postinstall: runs.then(|| message.text(3).unwrap_or_default()),
            file_system: message.text(4),
            version: message.text(17),
            hash_tree: message.message(11).map(extent_of),
            error_correction: message.message(15).map(extent_of),
            merge_operations: message.all(18).count(),
            snapshot_size: message.number(19),
            signatures: message.all(5).count(),
        }
    }
}

/// The numbers of a packed list, up to one that is broken.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut cursor = Cursor { bytes, at: 0 };
    std::iter::from_fn(move || cursor.varint())
}

fn info(info: EncodedMessage<'_>) -> OutlinedInfo<'_> {
    OutlinedInfo {
        size: info.number(1),
        hash: info.bytes(2),
    }
}

/// What it is called. No character of a name stands there that a terminal would obey, and of a
/// long one the beginning: each operation of the JSON form has it.
impl fmt::Display for OutlinedImage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind() {
            return kind.fmt(f);
        }
        match self.name {
            // Known, and told above.
            ImageName::Slot => ImageKind::Slot.fmt(f),
            ImageName::OldKernel => f.write_str("kernel of old clients"),
            ImageName::Procedure(Some(number)) => write!(f, "procedure of unknown type {number}"),
            ImageName::Procedure(None) => f.write_str("procedure without a type"),
            ImageName::Partition(Some(name)) => {
                write!(
                    f,
                    "partition {:?}",
                    partition::told(&String::from_utf8_lossy(name))
                )
            }
            ImageName::Partition(None) => f.write_str("partition without a name"),
        }
    }
}
