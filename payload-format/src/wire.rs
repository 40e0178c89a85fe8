//! The protobuf messages as they lie on the wire, for both directions. Private to the crate: every
//! field is optional and nothing is checked, so a reader turns them into [`crate::Manifest`] at
//! once, and only the writer fills them in.
//!
//! Field numbers are those of the original's `update_metadata.proto` (proto2) for major version 1,
//! and those of the Android Open Source Project's for version 2. Both number the same messages, and
//! no field of the one has another meaning in the other where both are read. Numbers 6 and 7
//! belonged to kernel images of old clients and stay free. Enumerations are plain `int32`, so that
//! an unknown value survives decoding and can be named in the refusal. `data_offset` and
//! `data_length` are declared `uint32` there; the encoding of `uint64` is the same, and reading it
//! as that refuses a larger value instead of cutting it.

use prost::Message;

/// Start block of an extent that names no blocks: reads as zeros, is skipped when written.
pub(crate) const SPARSE_HOLE: u64 = u64::MAX;

/// `DeltaArchiveManifest.block_size` where the field is absent.
pub(crate) const DEFAULT_BLOCK_SIZE: u32 = 4096;

/// `InstallOperation.Type`: bytes as they are.
pub(crate) const REPLACE: i32 = 0;
/// `InstallOperation.Type`: one bzip2 stream.
pub(crate) const REPLACE_BZ: i32 = 1;
/// `InstallOperation.Type`: blocks of the source, no data.
pub(crate) const MOVE: i32 = 2;
/// `InstallOperation.Type`: a BSDIFF40 patch against blocks of the source.
pub(crate) const BSDIFF: i32 = 3;

/// `InstallOperation.Type`: blocks of the old image, no data. From here on: major version 2.
pub(crate) const SOURCE_COPY: i32 = 4;
/// `InstallOperation.Type`: a BSDIFF40 patch against blocks of the old image.
pub(crate) const SOURCE_BSDIFF: i32 = 5;
/// `InstallOperation.Type`: zeros, no data.
pub(crate) const ZERO: i32 = 6;
/// `InstallOperation.Type`: blocks that hold nothing, no data.
pub(crate) const DISCARD: i32 = 7;
/// `InstallOperation.Type`: one xz stream.
pub(crate) const REPLACE_XZ: i32 = 8;
/// `InstallOperation.Type`: a BSDF2 patch against blocks of the old image.
pub(crate) const BROTLI_BSDIFF: i32 = 10;
/// `InstallOperation.Type`: one zstd frame.
pub(crate) const REPLACE_ZSTD: i32 = 14;

/// The name of an operation type, where it has one.
pub(crate) const fn operation_name(number: i32) -> Option<&'static str> {
    Some(match number {
        REPLACE => "REPLACE",
        REPLACE_BZ => "REPLACE_BZ",
        MOVE => "MOVE",
        BSDIFF => "BSDIFF",
        SOURCE_COPY => "SOURCE_COPY",
        SOURCE_BSDIFF => "SOURCE_BSDIFF",
        ZERO => "ZERO",
        DISCARD => "DISCARD",
        REPLACE_XZ => "REPLACE_XZ",
        9 => "PUFFDIFF",
        BROTLI_BSDIFF => "BROTLI_BSDIFF",
        11 => "ZUCCHINI",
        12 => "LZ4DIFF_BSDIFF",
        13 => "LZ4DIFF_PUFFDIFF",
        REPLACE_ZSTD => "REPLACE_ZSTD",
        _ => return None,
    })
}

/// `InstallProcedure.Type`: the kernel file of the target slot.
pub(crate) const KERNEL: i32 = 0;
/// `InstallProcedure.Type`: the archive of expected PCR values.
pub(crate) const PCR_POLICY: i32 = 1;

/// Version of the signature entry that clients of major version 1 check.
pub(crate) const CLIENT_SIGNATURE_VERSION: u32 = 2;

/// What follows the header.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaArchiveManifest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) partition_operations: Vec<InstallOperation>,
    /// For clients older than `procedures`, which took them for kernel operations. Ignored by
    /// readers.
    #[prost(message, repeated, tag = "2")]
    pub(crate) noop_operations: Vec<InstallOperation>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) block_size: Option<u32>,
    /// From the end of the manifest.
    #[prost(uint64, optional, tag = "4")]
    pub(crate) signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) signatures_size: Option<u64>,
    /// Present in deltas only.
    #[prost(message, optional, tag = "8")]
    pub(crate) old_partition_info: Option<InstallInfo>,
    #[prost(message, optional, tag = "9")]
    pub(crate) new_partition_info: Option<InstallInfo>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) procedures: Vec<InstallProcedure>,
    /// From here on: major version 2. Which operations a reader must know.
    #[prost(uint32, optional, tag = "12")]
    pub(crate) minor_version: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) partitions: Vec<PartitionUpdate>,
    /// Ours; see [`ReleaseInfo`].
    #[prost(message, optional, tag = "50001")]
    pub(crate) image_release: Option<ReleaseInfo>,
}

/// What the slot's image says of itself. An addition of this project: its number is one of those
/// that protobuf leaves to organizations (50000 to 99999), where neither the original nor Android
/// has a field, and readers that don't know it skip it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ReleaseInfo {
    /// The file `/usr/lib/os-release`.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) os_release: Option<Vec<u8>>,
    /// Version of its systemd.
    #[prost(uint32, optional, tag = "2")]
    pub(crate) systemd: Option<u32>,
}

/// One image of major version 2. Fields that only tell an Android client what to run are left out.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionUpdate {
    /// Required.
    #[prost(string, optional, tag = "1")]
    pub(crate) partition_name: Option<String>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) run_postinstall: Option<bool>,
    /// Present in deltas only.
    #[prost(message, optional, tag = "6")]
    pub(crate) old_partition_info: Option<InstallInfo>,
    #[prost(message, optional, tag = "7")]
    pub(crate) new_partition_info: Option<InstallInfo>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) operations: Vec<InstallOperation>,
    /// Blocks that the client would have to compute: a verity hash tree.
    #[prost(message, optional, tag = "11")]
    pub(crate) hash_tree_extent: Option<WireExtent>,
    /// Likewise, for forward error correction.
    #[prost(message, optional, tag = "15")]
    pub(crate) fec_extent: Option<WireExtent>,
    /// Ours; see [`WireContentTables`].
    #[prost(message, optional, tag = "50001")]
    pub(crate) content: Option<WireContentTables>,
    /// Ours: the first byte of the slot's content that is this image, which has no operations then.
    #[prost(uint64, optional, tag = "50002")]
    pub(crate) content_start: Option<u64>,
}

/// How an image is made of content. An addition of this project, as [`ReleaseInfo`].
///
/// The lists are packed ones of protobuf, which lie in a message as bytes do. They are declared as
/// bytes here, and taken apart with a limit.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WireContentTables {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) chunk_min: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) chunk_mask_bits: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) chunk_max: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) prefix_len: Option<u32>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) encoders: Vec<WireEncoder>,
    /// `repeated uint32`, packed.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) chunk_lengths: Vec<u8>,
    /// `repeated uint32`, packed.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) packed_lengths: Vec<u8>,
    /// 16 bytes of each.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) chunk_hashes: Vec<u8>,
    /// `repeated uint32`, packed: 0 none, else a number of `encoders`, from 1.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) segment_encoders: Vec<u8>,
    /// `repeated sint64`, packed: first block, counted from the end of the segment before.
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) segment_starts: Vec<u8>,
    /// `repeated uint32`, packed.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) segment_blocks: Vec<u8>,
    /// `repeated uint32`, packed: bytes of content of each segment that has an encoder.
    #[prost(bytes = "vec", tag = "12")]
    pub(crate) encoded_lengths: Vec<u8>,
    #[prost(message, optional, tag = "13")]
    pub(crate) verity_tree: Option<WireVerityTree>,
    #[prost(message, repeated, tag = "14")]
    pub(crate) predecessors: Vec<WirePredecessor>,
}

/// An old image that the payload has patches for.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WirePredecessor {
    /// Bytes of its content.
    #[prost(uint64, optional, tag = "1")]
    pub(crate) content_len: Option<u64>,
    /// 32 bytes: SHA-256 of the hashes of its chunks.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) content_hash: Option<Vec<u8>>,
    /// `repeated uint32`, packed: chunks between the section before and this one.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) section_skips: Vec<u8>,
    /// `repeated uint32`, packed.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) section_chunks: Vec<u8>,
    /// `repeated uint32`, packed: bytes of each section's patch.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) patch_lengths: Vec<u8>,
    /// `repeated uint32`, packed: sources of each section.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) source_counts: Vec<u8>,
    /// `repeated sint64`, packed: first byte, counted from the end of the source before.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) source_starts: Vec<u8>,
    /// `repeated uint32`, packed.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) source_lengths: Vec<u8>,
}

/// A hash tree of dm-verity: format 1, SHA-256, blocks of 4096 bytes.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WireVerityTree {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) data_blocks: Option<u64>,
    /// A block's number.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) tree_start: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) salt: Option<Vec<u8>>,
}

/// An encoder, exactly.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WireEncoder {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(sint32, optional, tag = "2")]
    pub(crate) level: Option<i32>,
}

/// One step of an image's construction.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstallOperation {
    /// Required.
    #[prost(int32, optional, tag = "1")]
    pub(crate) r#type: Option<i32>,
    /// From the end of the manifest.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) data_offset: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) data_length: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) src_extents: Vec<WireExtent>,
    /// Bytes of the source that count, where it ends within a block.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) src_length: Option<u64>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) dst_extents: Vec<WireExtent>,
    /// Bytes of the destination that count, likewise.
    #[prost(uint64, optional, tag = "7")]
    pub(crate) dst_length: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(crate) data_sha256_hash: Option<Vec<u8>>,
    /// Of the source's blocks. Major version 2.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) src_sha256_hash: Option<Vec<u8>>,
}

/// A run of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct WireExtent {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) start_block: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) num_blocks: Option<u64>,
}

/// Size and SHA-256 of a whole image.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct InstallInfo {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) hash: Option<Vec<u8>>,
}

/// Operations on a file beside the partition.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstallProcedure {
    #[prost(int32, optional, tag = "1")]
    pub(crate) r#type: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) operations: Vec<InstallOperation>,
    #[prost(message, optional, tag = "3")]
    pub(crate) old_info: Option<InstallInfo>,
    #[prost(message, optional, tag = "4")]
    pub(crate) new_info: Option<InstallInfo>,
}

/// A signature blob: at the payload's end, and in major version 2 after the manifest, too.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Signatures {
    #[prost(message, repeated, tag = "1")]
    pub(crate) signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Signature {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) version: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) data: Option<Vec<u8>>,
    /// How much of `data` counts: the rest is padding. Major version 2.
    #[prost(fixed32, optional, tag = "3")]
    pub(crate) unpadded_signature_size: Option<u32>,
}
