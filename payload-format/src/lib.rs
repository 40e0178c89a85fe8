//! The CrAU update payload format, major versions 1 and 2: reading, applying, verifying and
//! writing.
//!
//! No I/O, no clock, no network: bytes are pushed in, images are reached through two small traits.
//! So daemon, command-line tool and tests share one implementation.
//!
//! # The format, major version 1
//!
//! All of it is written in one stream and can be read in one; nothing needs a seek.
//!
//! ```text
//!  byte 0      4            12                 20
//!  ┌───────────┬────────────┬──────────────────┬──────────┬──────────────────────────┬────────────┐
//!  │ "CrAU"    │ version, 1 │ manifest length  │ manifest │ data of operation 0, 1 … │ signatures │
//!  │ 4 bytes   │ u64, BE    │ u64, BE          │ protobuf │ no gaps                  │ protobuf   │
//!  └───────────┴────────────┴──────────────────┴──────────┴──────────────────────────┴────────────┘
//!                                                         └ offset 0 of data_offset and
//!                                                           signatures_offset
//!  └──────────── metadata ─────────────────────┴─────────┘ what an offer's metadata signature signs
//!  └──────────── everything before the signatures: what they sign ────────────────────┘
//!  └──────────── the whole payload: what an offer's SHA-256 is of ────────────────────────────────┘
//! ```
//!
//! ## Manifest
//!
//! Every field is optional on the wire; these rules make a [`Manifest`] of it. What breaks one is
//! refused by name ([`ManifestError`]) before the first operation. Numbers are protobuf field
//! numbers.
//!
//! | field | rule |
//! |---|---|
//! | 1 `partition_operations` | the slot's operations, in order |
//! | 2 `noop_operations` | ignored: for old clients, which would mistake them for kernel operations |
//! | 3 `block_size` | bytes; a power of two from 512 to 65536, 4096 if absent |
//! | 4 `signatures_offset`, 5 `signatures_size` | both or neither; the offset is where the last operation's data ends; at most 64 KiB; size 0 or neither is an unsigned payload |
//! | 8 `old_partition_info` | what the old slot must hold; its presence makes a delta |
//! | 9 `new_partition_info` | required; fits the slot |
//! | 10 `procedures` | files beside the slot: at most one of each type |
//!
//! **`InstallInfo`**: 1 `size` in bytes, above 0, and 2 `hash`, the SHA-256 of so many bytes. Both
//! required.
//!
//! **`InstallProcedure`**: 1 `type` (0 `KERNEL`, 1 `PCR_POLICY`; others are refused), 2
//! `operations` as of the partition, 3 `old_info`, 4 `new_info` (required). The file is cut to the
//! new size in the end.
//!
//! **`InstallOperation`**:
//!
//! | field | rule |
//! |---|---|
//! | 1 `type` | required: 0 `REPLACE`, 1 `REPLACE_BZ`, 2 `MOVE`, 3 `BSDIFF`; others are refused |
//! | 2 `data_offset`, 3 `data_length` | required and not empty but for `MOVE`, which has none; the data begins where that of the operation before it ended, over partition and procedures in the manifest's order |
//! | 4 `src_extents` | required for `MOVE` and `BSDIFF`, which need an old image; ignored otherwise |
//! | 5 `src_length` | bytes of the source that count for `BSDIFF`: all if absent |
//! | 6 `dst_extents` | required; within the slot (a file: within a limit), even where they run past the new image: the last chunk of an odd-sized image does |
//! | 7 `dst_length` | length of a `BSDIFF` result: ends within the last block; ignored otherwise |
//! | 8 `data_sha256_hash` | required with data: of the bytes as they lie in the payload, checked before they are used |
//!
//! **`Extent`**: 1 `start_block` (0 if absent), 2 `num_blocks`, at least 1; both below 2^32, which
//! 16 TiB are. Start block 2^64-1 is a sparse hole: zeros when read, skipped when written.
//!
//! **What an operation yields** fills its destination extents in order; the last block is padded
//! with zeros. `REPLACE`: the data. `REPLACE_BZ`: one bzip2 stream of it, to the data's last byte.
//! `MOVE`: the source's blocks. `BSDIFF`: a BSDIFF40 patch from the source; in one of more than 16
//! MiB the control stream has 16 MiB at most. A result that leaves a block of the new image
//! unwritten is refused. Together the operations of a full image write all of it; blocks that a
//! delta doesn't write are those of the old image. The order means what it would mean on a copy of
//! the old slot, but no copy is needed: see [`Run`] and [`Replay`].
//!
//! ## Signatures
//!
//! **`Signatures`**: 1 `signatures`, each 1 `version` and 2 `data`. Clients of this format heed
//! version 2 alone: RSASSA-PKCS1-v1_5 over the SHA-256 of everything before the blob, 2048 bits or
//! more. One such signature by one trusted key is enough; no trusted key, no trust.
//!
//! # Major version 2
//!
//! What the Android Open Source Project made of the format. Everything said above holds but for
//! this.
//!
//! ```text
//!  byte 0      4            12                 20                    24
//!  ┌───────────┬────────────┬──────────────────┬─────────────────────┬──────────┬────────────┬──────┬────────────┐
//!  │ "CrAU"    │ version, 2 │ manifest length  │ signatures' length  │ manifest │ signatures │ data │ signatures │
//!  │           │ u64, BE    │ u64, BE          │ u32, BE             │          │ of what is │      │ of all but │
//!  └───────────┴────────────┴──────────────────┴─────────────────────┴──────────┤ before     ├──────┤ both       │
//!  └──────────────── metadata, as offers measure and sign it ───────────────────┴────────────┘      └────────────┘
//! ```
//!
//! The metadata's signatures can be checked before anything is written ([`Metadata::verify`]), and
//! from then on every operation's data is what the key's owner signed, since the manifest holds its
//! hash. Offsets count from the first byte of data.
//!
//! | field of the manifest | rule |
//! |---|---|
//! | 3, 4, 5 | as above |
//! | 12 `minor_version` | 0: a full payload; 2 to 10: a delta. It tells readers which operations to expect; here each operation is judged by itself |
//! | 13 `partitions` | one per image, in the order of their data; at most one of each, the slot's required |
//! | 50001 | ours, optional: what the slot's image says of itself, 1 `os_release` (the file, at most 16 KiB), 2 `systemd` (its version) |
//! | all others | ignored: those of version 1, and what only Android has a use for (14 `max_timestamp`, dynamic partitions) |
//!
//! **`PartitionUpdate`**: 1 `partition_name` (`usr` or `root`: the slot; `kernel`; `pcr_policy`;
//! those of [`Limits::extra_partitions`]; others are refused), 6 `old_partition_info`, 7
//! `new_partition_info`, 8 `operations`. 11 `hash_tree_extent` and 15 `fec_extent` ask for blocks
//! to be computed by the reader, and are refused. What is said of postinst programs (2 to 5, 9) is
//! ignored: the installer has its own rules.
//!
//! **`InstallOperation`** has 9 `src_sha256_hash`, too: of all the source's blocks, checked before
//! the operation writes anything. Sources are blocks of the old image, never of the new one, so
//! operations depend on each other only where they write the same block, and any of them can be
//! repeated.
//!
//! | type | data | result |
//! |---|---|---|
//! | 0 `REPLACE`, 1 `REPLACE_BZ` | | as above |
//! | 8 `REPLACE_XZ` | one xz stream | unpacked; the dictionary has 8 MiB at most |
//! | 14 `REPLACE_ZSTD` | one zstd frame | unpacked; the window has 8 MiB at most |
//! | 4 `SOURCE_COPY` | none | the source's blocks |
//! | 5 `SOURCE_BSDIFF` | BSDIFF40 patch | from the source |
//! | 10 `BROTLI_BSDIFF` | BSDF2 patch, brotli windows of 4 MiB at most | from the source |
//! | 6 `ZERO`, 7 `DISCARD` | none | zeros |
//!
//! Others are refused by name: 2 `MOVE` and 3 `BSDIFF` are version 1's, 9 `PUFFDIFF`, 11
//! `ZUCCHINI`, 12 and 13 `LZ4DIFF_*` nobody here can apply. Every block of the new image must be
//! written by an operation, in deltas, too.
//!
//! **`Signature`**: entries have no version; any one by a trusted key will do. 3
//! `unpadded_signature_size` tells how much of the data counts.
//!
//! ## Content payloads
//!
//! With minor version 50001 the slot's partition has field 50001, content tables, in place of
//! operations: its image is made of content, of which packed chunks follow the data of all
//! operations. Refused unless [`Limits::content_payloads`] is set. `docs/content-payloads.md` has
//! the fields.
//!
//! # How to read one
//!
//! [`Reader`] takes bytes in any pieces and gives [`Event`]s: the checked [`Manifest`] first, then
//! each operation with verified data. [`Applier`] carries an operation out between two images,
//! reached by [`ReadBlocks`] and [`WriteBlocks`]. [`Reader::finish`] gives hashes and the signature
//! blob, which [`PublicKeys`] check; until then the slot must not boot. [`Checkpoint`] lets another
//! process go on. Everything a payload may claim is bounded by [`Limits`]. [`Outline`] shows people
//! what any payload says of itself, those for other devices included; nothing is installed by it.
//!
//! # Decoders
//!
//! bzip2 is unpacked here where all of it is in memory (the module `bunzip` says why), by a library
//! in Rust elsewhere, as is brotli, xz and zstd by their authors' libraries in C (`liblzma`,
//! `zstd`), compiled in: those are the ones that are kept up with the formats. Data up to
//! [`Limits::whole_data`] reaches none of them before its hash was checked against the manifest,
//! and in version 2 somebody trusted has signed the manifest.

mod apply;
mod block;
mod bsdiff;
mod bunzip;
mod bzip;
mod content;
mod digest;
mod header;
mod image;
mod in_place;
mod limits;
mod manifest;
mod op_id;
mod operation;
mod outline;
mod partition;
mod reader;
mod signature;
mod wire;
pub mod writer;

pub use apply::{Applier, ApplyError, Compression, Fault, ReadBlocks, Streamed, WriteBlocks};
pub use block::{BlockRange, BlockSize, Extent};
pub use bsdiff::{PatchError, Stream};
pub use content::{
    Chunk, ChunkHash, ChunkerParams, ContentBuilder, ContentCopy, ContentEncoder, ContentError, ContentPart,
    ContentTables, OldContent, PatchSection, PatchedChunks, Predecessor, Segment, TablesError, VerityTree,
    WrittenContent,
};
pub use digest::Sha256Digest;
pub use header::{Header, HeaderError, MajorVersion};
pub use image::{Image, ImageInfo, ImageKind};
pub use limits::Limits;
pub use manifest::{ImageRelease, Manifest, ManifestError, OperationError};
pub use op_id::OpId;
pub use operation::{Data, Operation, OperationKind, PatchKind, Replay, Run, Source};
pub use outline::{
    DynamicGroup, Outline, OutlinedContent, OutlinedImage, OutlinedInfo, OutlinedOperation, PartitionExtras,
};
pub use partition::{ExtraPartitionLimits, PartitionName};
pub use reader::{Checkpoint, Event, Finished, FormatError, Metadata, Part, Reader};
pub use signature::{PublicKeys, SignatureError};
