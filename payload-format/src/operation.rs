//! One checked operation.

use crate::block::{BlockRange, Extent};
use crate::digest::Sha256Digest;
use crate::image::ImageKind;
use crate::op_id::OpId;

/// One step of an image's construction. All places lie within the image's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its place in the payload.
    pub id: OpId,
    /// The image it builds.
    pub image: ImageKind,
    /// What is done.
    pub kind: OperationKind,
    /// Where the result goes: at least one extent, filled in this order.
    pub destination: Vec<Extent>,
    /// Its bytes in the payload; `None` for kinds that need none.
    pub data: Option<Data>,
    /// Every operation of the same image up to this one must be complete before this one starts;
    /// others may run beside it.
    pub after: Option<OpId>,
    /// What must be durable before it writes.
    pub replay: Replay,
}

impl Operation {
    /// Blocks of the destination, holes included.
    #[must_use]
    pub fn destination_blocks(&self) -> u64 {
        self.destination.iter().map(|extent| extent.count()).sum()
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        /// What an allocation takes beside its content.
        const ALLOCATION: usize = 16;
        let runs = self
            .kind
            .source()
            .map_or(0, |source| source.runs.capacity() * size_of::<Run>() + ALLOCATION);
        size_of::<Self>() + self.destination.capacity() * size_of::<Extent>() + ALLOCATION + runs
    }

    /// Length of its data in bytes; 0 if it has none.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data.map_or(0, |data| data.len)
    }
}

/// What an operation does. Major version 1 has `Replace`, `ReplaceBz`, `Move` and `Patch` by
/// [`PatchKind::Bsdiff`]; version 2 all but `Move` and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationKind {
    /// The data is the result.
    Replace,
    /// The data is one bzip2 stream of the result.
    ReplaceBz,
    /// The data is one xz stream of the result.
    ReplaceXz,
    /// The data is one zstd frame of the result.
    ReplaceZstd,
    /// The result is zeros.
    Zero,
    /// The result is of no interest. It is zeros all the same, so that the image has one hash.
    Discard,
    /// Blocks of the source are the result: as many as the destination has.
    Move(Source),
    /// Likewise, from the old image alone.
    SourceCopy(Source),
    /// The data is a patch from the source to the result.
    Patch {
        /// Which format it has, and where the source may lie.
        format: PatchKind,
        /// What is patched.
        source: Source,
        /// Bytes of the source that count, from its start.
        source_len: u64,
        /// Length of the result in bytes: ends within the destination's last block, padded with
        /// zeros.
        result_len: u64,
    },
}

impl OperationKind {
    /// The original's name of it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Replace => "REPLACE",
            Self::ReplaceBz => "REPLACE_BZ",
            Self::ReplaceXz => "REPLACE_XZ",
            Self::ReplaceZstd => "REPLACE_ZSTD",
            Self::Zero => "ZERO",
            Self::Discard => "DISCARD",
            Self::Move(_) => "MOVE",
            Self::SourceCopy(_) => "SOURCE_COPY",
            Self::Patch { format, .. } => format.name(),
        }
    }

    /// What it reads, if anything.
    #[must_use]
    pub const fn source(&self) -> Option<&Source> {
        match self {
            Self::Replace
            | Self::ReplaceBz
            | Self::ReplaceXz
            | Self::ReplaceZstd
            | Self::Zero
            | Self::Discard => None,
            Self::Move(source) | Self::SourceCopy(source) | Self::Patch { source, .. } => Some(source),
        }
    }
}

/// Kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// BSDIFF40; the source lies wherever its blocks are at that time.
    Bsdiff,
    /// BSDIFF40 against the old image.
    SourceBsdiff,
    /// BSDF2 against the old image.
    BrotliBsdiff,
}

impl PatchKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Bsdiff => "BSDIFF",
            Self::SourceBsdiff => "SOURCE_BSDIFF",
            Self::BrotliBsdiff => "BROTLI_BSDIFF",
        }
    }
}

/// What an operation reads, in order, each piece with the image that holds its content at that
/// time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Neighbouring pieces differ in origin or don't touch.
    pub runs: Vec<Run>,
    /// Of all its blocks, zeros past the old image's end included: checked before they are used.
    /// `None` where only the old image as a whole has a hash.
    pub sha256: Option<Sha256Digest>,
}

impl Source {
    /// Blocks of all pieces.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.runs.iter().map(|run| run.count()).sum()
    }
}

/// One piece of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Blocks that no earlier operation wrote: from the old image.
    Old(BlockRange),
    /// Blocks that an earlier operation wrote: from the image under construction.
    Target(BlockRange),
    /// So many blocks of zeros.
    Zeros(u32),
}

impl Run {
    /// How many blocks: at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        match self {
            Self::Old(range) | Self::Target(range) => range.count(),
            Self::Zeros(count) => count.into(),
        }
    }
}

/// Whether operations can be repeated after a cut. Resuming from a checkpoint repeats all
/// operations since it, so a block of the target that one of them reads must not have been
/// overwritten meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It overwrites nothing that an operation up to it reads.
    Safe,
    /// It overwrites what that earlier operation reads (and perhaps what ones before read): a
    /// checkpoint past that operation must be durable before this one writes.
    CheckpointPast(OpId),
    /// It overwrites what it reads itself. Forget the checkpoint, durably, before this one writes;
    /// after a cut the image starts over. The next checkpoint past this operation is good again.
    Never,
}

/// An operation's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// From the end of the manifest, in bytes: where the data of the operation before ended.
    pub offset: u64,
    /// In bytes, at least 1.
    pub len: u64,
    /// Of these bytes, as they lie in the payload.
    pub sha256: Sha256Digest,
}
