//! The CrAU update payload format, major version 1: reading, applying, verifying and writing.
//!
//! No I/O, no clock, no network: bytes are pushed in, images are reached through two small traits. So daemon,
//! command-line tool and tests share one implementation.
//!
//! # The format
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
//! Every field is optional on the wire; these rules make a [`Manifest`] of it. What breaks one is refused by
//! name ([`ManifestError`]) before the first operation. Numbers are protobuf field numbers.
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
//! **`InstallInfo`**: 1 `size` in bytes, above 0, and 2 `hash`, the SHA-256 of so many bytes. Both required.
//!
//! **`InstallProcedure`**: 1 `type` (0 `KERNEL`, 1 `PCR_POLICY`; others are refused), 2 `operations` as of
//! the partition, 3 `old_info`, 4 `new_info` (required). The file is cut to the new size in the end.
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
//! **`Extent`**: 1 `start_block` (0 if absent), 2 `num_blocks`, at least 1. Start block 2^64-1 is a sparse
//! hole: zeros when read, skipped when written.
//!
//! **What an operation yields** fills its destination extents in order; the last block is padded with zeros.
//! `REPLACE`: the data. `REPLACE_BZ`: one bzip2 stream of it, to the data's last byte. `MOVE`: the source's
//! blocks. `BSDIFF`: a BSDIFF40 patch from the source. A result that leaves a block of the new image
//! unwritten is refused. Together the operations of a full image write all of it; blocks that a delta doesn't
//! write are those of the old image. The order means what it would mean on a copy of the old slot, but no
//! copy is needed: see [`Run`] and [`Replay`].
//!
//! ## Signatures
//!
//! **`Signatures`**: 1 `signatures`, each 1 `version` and 2 `data`. Clients of this format heed version 2
//! alone: RSASSA-PKCS1-v1_5 over the SHA-256 of everything before the blob, 2048 bits or more. One such
//! signature by one trusted key is enough; no trusted key, no trust.
//!
//! # How to read one
//!
//! [`Reader`] takes bytes in any pieces and gives [`Event`]s: the checked [`Manifest`] first, then each
//! operation with verified data. [`Applier`] carries an operation out between two images, reached by
//! [`ReadBlocks`] and [`WriteBlocks`]. [`Reader::finish`] gives hashes and the signature blob, which
//! [`PublicKeys`] check; until then the slot must not boot. [`Checkpoint`] lets another process go on.
//! Everything a payload may claim is bounded by [`Limits`].
//!
//! # Room for major version 2
//!
//! Version 2 differs in the header (a metadata signature follows the manifest), in more operation types, and
//! in a list of named partitions. It would be a variant of [`MajorVersion`], a check of its own into the same
//! [`Manifest`], variants of [`OperationKind`] and [`ImageKind`]; reader, plan and applier stay.

mod apply;
mod block;
mod bsdiff;
mod digest;
mod header;
mod image;
mod in_place;
mod limits;
mod manifest;
mod operation;
mod reader;
mod signature;
mod wire;
pub mod writer;

pub use apply::{Applier, ApplyError, Fault, ReadBlocks, Streamed, WriteBlocks};
pub use block::{BlockRange, BlockSize, Extent};
pub use bsdiff::{PatchError, Stream};
pub use digest::Sha256Digest;
pub use header::{Header, HeaderError, MajorVersion};
pub use image::{Image, ImageInfo, ImageKind};
pub use limits::Limits;
pub use manifest::{Manifest, ManifestError, OperationError};
pub use operation::{Data, OpId, Operation, OperationKind, Replay, Run, Source};
pub use reader::{Checkpoint, Event, Finished, FormatError, Part, Reader};
pub use signature::{PublicKeys, SignatureError};
