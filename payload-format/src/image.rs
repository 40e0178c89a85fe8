//! The images that a payload builds: the slot's, files beside it, and extra partitions.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::block::BlockRange;
use crate::content::ContentTables;
use crate::digest::Sha256Digest;
use crate::op_id::OpId;
use crate::partition::PartitionName;
use crate::wire;

/// Which of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageKind {
    /// The slot.
    Slot,
    /// The kernel file of the slot.
    Kernel,
    /// The archive of expected PCR values.
    PcrPolicy,
    /// An extra partition. Major version 2.
    ExtraPartition(PartitionName),
}

impl ImageKind {
    /// The image that a payload of major version 2 means by this name: `usr` or `root`, `kernel`,
    /// `pcr_policy`. Other names are those of extra partitions.
    #[must_use]
    pub fn of_partition(name: &str) -> Option<Self> {
        Some(match name {
            "usr" | "root" => Self::Slot,
            "kernel" => Self::Kernel,
            "pcr_policy" => Self::PcrPolicy,
            _ => return None,
        })
    }

    /// The image that a procedure of major version 1 builds, by its type.
    pub(crate) const fn of_procedure(number: i32) -> Option<Self> {
        match number {
            wire::KERNEL => Some(Self::Kernel),
            wire::PCR_POLICY => Some(Self::PcrPolicy),
            _ => None,
        }
    }

    /// There is an old one that a delta can be made from. Nobody keeps a PCR policy, whose
    /// measurements are those of the image before.
    #[must_use]
    pub const fn has_old(self) -> bool {
        !matches!(self, Self::PcrPolicy)
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot => f.write_str("partition"),
            Self::Kernel => f.write_str("kernel"),
            Self::PcrPolicy => f.write_str("PCR policy"),
            Self::ExtraPartition(name) => write!(f, "partition {name}"),
        }
    }
}

/// Size and hash of a whole image. It fits the slot, or for files [`crate::Limits::file_len`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// In bytes, above 0; not always whole blocks.
    pub size: u64,
    /// Of the first `size` bytes.
    pub sha256: Sha256Digest,
}

/// One image that the payload builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which one.
    pub kind: ImageKind,
    /// The source that must be there, whole and unchanged: `None` in full payloads. Check it before
    /// the first operation: MOVE and BSDIFF carry no hash of what they read.
    pub old: Option<ImageInfo>,
    /// What the result must be.
    pub new: ImageInfo,
    /// How it is made of content, in content payloads; it has no operations then.
    pub content: Option<Arc<ContentTables>>,
    /// The first byte of the slot's content that is this image, byte for byte: of the kernel, in
    /// content payloads. It has no operations then.
    pub content_start: Option<u64>,
    /// Numbers of its operations.
    pub(crate) operations: Range<u32>,
    /// Blocks of the new image that no operation writes, in ascending order: they are those of the
    /// old one. Empty without an old image.
    pub unwritten: Vec<BlockRange>,
}

impl Image {
    /// Its operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = OpId> + use<> {
        self.operations.clone().map(OpId::new)
    }

    /// Where its operations stand in [`crate::Manifest::operations`].
    pub(crate) fn indices(&self) -> Range<usize> {
        OpId::new(self.operations.start).index()..OpId::new(self.operations.end).index()
    }

    /// It is built from an old image.
    #[must_use]
    pub const fn is_delta(&self) -> bool {
        self.old.is_some()
    }
}
