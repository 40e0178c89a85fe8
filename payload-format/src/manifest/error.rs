//! Errors of manifests.

use thiserror::Error;

use crate::content::TablesError;
use crate::image::ImageKind;
use crate::in_place::TooManyPieces;
use crate::op_id::OpId;

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// A field runs past the end of its message, or has an impossible tag.
    #[error("the manifest is no protobuf message: broken field at byte {0}")]
    Broken(usize),
    /// A known field has a foreign type or bad content.
    #[error("the manifest is no protobuf message of the kind expected")]
    Protobuf(#[source] prost::DecodeError),
    /// More operations than [`crate::Limits::operations`].
    #[error("the manifest has more than {0} operations")]
    TooManyOperations(usize),
    /// More images than this are built by no node.
    #[error("more than {0} images")]
    TooManyImages(usize),
    /// More extents than [`crate::Limits::extents`].
    #[error("the manifest has more than {0} extents")]
    TooManyExtents(usize),
    /// Sources that fall into too many pieces between old and new image.
    #[error("the sources fall into more than {0} pieces")]
    TooManyPieces(usize),
    /// No power of two from 512 to 65536.
    #[error("block size {0} is no power of two from 512 to 65536")]
    BlockSize(u32),
    /// An image without `new_info`, or `new_info` without size.
    #[error("the {0} image has no size and hash")]
    NoImageInfo(ImageKind),
    /// A hash of another length than 32 bytes.
    #[error("the {image} image's hash has {len} bytes instead of 32")]
    ImageHash {
        /// The image that the hash is of.
        image: ImageKind,
        /// Length of the hash in bytes.
        len: usize,
    },
    /// An image of no bytes.
    #[error("the {0} image is empty")]
    EmptyImage(ImageKind),
    /// An image that doesn't fit.
    #[error("the {image} image has {size} bytes; there is room for {room}")]
    ImageSize {
        /// The image that is too large.
        image: ImageKind,
        /// Size of the image in bytes.
        size: u64,
        /// The most bytes that it may have.
        room: u64,
    },
    /// A procedure that nobody here knows.
    #[error("unknown procedure type {0}")]
    UnknownProcedure(i32),
    /// A procedure without a type.
    #[error("a procedure has no type")]
    NoProcedureType,
    /// Two procedures for one file, or two partitions for one image.
    #[error("there are two {0} images")]
    RepeatedImage(ImageKind),
    /// A partition without a name.
    #[error("a partition has no name")]
    NoPartitionName,
    /// A partition that nobody here knows.
    #[error(
        "unknown partition {0:?}; known are usr or root, kernel, pcr_policy, and those that have a target here"
    )]
    UnknownPartition(String),
    /// No partition for the slot.
    #[error("there is no partition usr or root")]
    NoPartition,
    /// Blocks that the client would have to compute.
    #[error("the {image} image leaves its {what} to be computed here, which is not supported")]
    Computed {
        /// The image concerned.
        image: ImageKind,
        /// `hash tree` or `error correction`.
        what: &'static str,
    },
    /// A minor version of another time.
    #[error("minor version {0} is none of 0 and 2 to {max}", max = crate::Manifest::MAX_MINOR_VERSION)]
    MinorVersion(u32),
    /// Content tables of an image that don't hold together.
    #[error("the content tables are wrong")]
    Content(#[source] TablesError),
    /// Content tables where none belong: of another image than the slot's, beside operations, or in
    /// a payload of another minor version.
    #[error("the {0} image has content tables, or lacks them, against the payload's minor version")]
    MisplacedContent(ImageKind),
    /// An image that is said to be part of the slot's content, and isn't.
    #[error("the {image} is {size} bytes from byte {start} on of a content of {content} bytes")]
    PastContent {
        /// The image that is beside the slot's.
        image: ImageKind,
        /// Its first byte of content.
        start: u64,
        /// Bytes of the image.
        size: u64,
        /// Bytes of content.
        content: u64,
    },
    /// An old image in a payload that says that it needs none.
    #[error("the {0} image has an old one, though the payload is a full one by its minor version")]
    DeltaInFull(ImageKind),
    /// An `os-release` that is longer than any.
    #[error("the image's os-release has {0} bytes, more than {max}", max = crate::ImageRelease::MAX_LEN)]
    ReleaseLength(usize),
    /// Only one of `signatures_offset` and `signatures_size`.
    #[error("only one of signatures_offset and signatures_size is present")]
    HalfSignature,
    /// The signature blob doesn't begin where the data ends.
    #[error("the signatures begin at byte {offset} after the manifest, the data ends at {data_len}")]
    SignatureOffset {
        /// Offset that the manifest states, in bytes after the manifest.
        offset: u64,
        /// End of the data, in bytes after the manifest: where they must begin.
        data_len: u64,
    },
    /// More than [`crate::Manifest::MAX_SIGNATURES`].
    #[error("{0} bytes of signatures")]
    SignatureSize(u64),
    /// The payload's length would not fit 64 bits.
    #[error("the data adds up to more than 2^64 bytes")]
    DataLength,
    /// Many operations write the same blocks again and again.
    #[error("the {image} operations write more than {blocks} blocks in all")]
    Rewrites {
        /// The image whose operations they are.
        image: ImageKind,
        /// The most blocks that they may write, each time counted.
        blocks: u64,
    },
    /// A full image with a gap, or any image of major version 2.
    #[error("no operation writes block {block} of the {image} image")]
    Unwritten {
        /// The image concerned.
        image: ImageKind,
        /// Number of the first block of the gap.
        block: u64,
    },
    /// One operation is wrong.
    #[error("operation {op} {error}")]
    Operation {
        /// The operation that is wrong.
        op: OpId,
        /// What is wrong with it.
        error: OperationError,
    },
}

/// What is wrong with an operation: the rest of a sentence that begins with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OperationError {
    /// No type.
    #[error("has no type")]
    NoType,
    /// A number that is no type.
    #[error("has unknown type {0}")]
    UnknownType(i32),
    /// A type that this major version doesn't have, or that isn't supported.
    #[error("is a {name} (type {number}), which is not supported in payloads of major version {version}")]
    Unsupported {
        /// Its name.
        name: &'static str,
        /// Its number.
        number: i32,
        /// The payload's.
        version: u64,
    },
    /// No destination.
    #[error("writes nothing")]
    NoDestination,
    /// An extent of no blocks.
    #[error("has an extent of no blocks")]
    EmptyExtent,
    /// A destination outside.
    #[error("writes block {block}, past the end of the {} ({blocks} blocks)", place(*.image))]
    WritesPastEnd {
        /// The first block outside.
        block: u64,
        /// Blocks that there are.
        blocks: u64,
        /// The image whose operation it is.
        image: ImageKind,
    },
    /// A source outside.
    #[error("reads block {block}, past the end of the {} ({blocks} blocks)", place(*.image))]
    ReadsPastEnd {
        /// The first block outside.
        block: u64,
        /// Blocks that there are.
        blocks: u64,
        /// The image whose operation it is.
        image: ImageKind,
    },
    /// A source past the end of the old image, where no hash vouches for the content.
    #[error("reads block {block}, past the end of the old image ({blocks} blocks)")]
    ReadsPastOld {
        /// The first block outside.
        block: u64,
        /// Blocks of the old image.
        blocks: u64,
    },
    /// A source, but the payload names no old image.
    #[error("reads a source, but the manifest names no old image")]
    NoOldImage,
    /// A copy or patch without source extents.
    #[error("has no source")]
    NoSource,
    /// A kind that needs data has none.
    #[error("has no data")]
    NoData,
    /// A kind that has no data has some.
    #[error("has {0} bytes of data that its kind has no use for")]
    UnexpectedData(u64),
    /// Data without a hash.
    #[error("has no hash of its data")]
    NoHash,
    /// A hash of another length than 32 bytes.
    #[error("has a hash of {0} bytes instead of 32")]
    HashLength(usize),
    /// Data out of order, overlapping or with a gap.
    #[error("has its data at byte {found} after the manifest instead of {expected}")]
    DataOffset {
        /// As the manifest says.
        found: u64,
        /// Where the data before ends.
        expected: u64,
    },
    /// REPLACE data longer than the destination.
    #[error("has {len} bytes of data for {room} bytes of blocks")]
    DataLength {
        /// Length of the hash in bytes.
        len: u64,
        /// The most bytes that it may have.
        room: u64,
    },
    /// A copy between different lengths.
    #[error("copies {source_blocks} blocks to {destination} blocks")]
    MoveLength {
        /// Blocks read.
        source_blocks: u64,
        /// Blocks written.
        destination: u64,
    },
    /// `src_length` beyond the source extents.
    #[error("reads {len} bytes from {room} bytes of blocks")]
    SourceLength {
        /// Length of the hash in bytes.
        len: u64,
        /// The most bytes that it may have.
        room: u64,
    },
    /// `dst_length` that doesn't end in the destination's last block.
    #[error("writes {len} bytes to {room} bytes of blocks")]
    ResultLength {
        /// Length of the hash in bytes.
        len: u64,
        /// The most bytes that it may have.
        room: u64,
    },
    /// It overwrites its own source, which needs the patch in memory.
    #[error("overwrites its own source by a patch of {len} bytes; at most {limit} are held in memory")]
    PatchLength {
        /// Length of the hash in bytes.
        len: u64,
        /// In bytes.
        limit: u64,
    },
    /// It overwrites its own source, which needs the result in memory.
    #[error("overwrites its own source with {len} bytes; at most {limit} are held in memory")]
    OverwritesSource {
        /// Length of the hash in bytes.
        len: u64,
        /// In bytes.
        limit: u64,
    },
}

impl From<TooManyPieces> for ManifestError {
    fn from(TooManyPieces(limit): TooManyPieces) -> Self {
        Self::TooManyPieces(limit)
    }
}

fn place(image: ImageKind) -> &'static str {
    match image {
        ImageKind::Slot => "slot",
        ImageKind::Kernel => "kernel file",
        ImageKind::PcrPolicy => "PCR policy file",
        ImageKind::ExtraPartition(_) => "target",
    }
}
