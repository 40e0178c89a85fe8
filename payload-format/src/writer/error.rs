//! Errors of the payload writer.

use std::fmt;
use std::io;

use super::SignError;
use crate::apply::Compression;
use crate::manifest::ManifestError;
use crate::partition::PartitionName;

/// One of the things a payload is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The slot's image.
    Image,
    /// The kernel that boots it.
    Kernel,
    /// The image that a delta is applied to.
    OldImage,
    /// The kernel of that image.
    OldKernel,
    /// An extra partition.
    ExtraPartition(PartitionName),
    /// The one that a delta of it is applied to.
    OldExtraPartition(PartitionName),
    /// An old image that a content payload has patches for.
    Predecessor,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Kernel => f.write_str("kernel"),
            Self::OldImage => f.write_str("old image"),
            Self::OldKernel => f.write_str("old kernel"),
            Self::ExtraPartition(name) => write!(f, "partition {name}"),
            Self::OldExtraPartition(name) => write!(f, "old partition {name}"),
            Self::Predecessor => f.write_str("predecessor"),
        }
    }
}

/// Why no payload was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An image or a kernel can't be read.
    #[error("cannot read the {input}")]
    Read {
        /// The input concerned.
        input: Input,
        /// The system's error.
        source: io::Error,
    },
    /// A payload of nothing would install nothing.
    #[error("the {input} is empty")]
    Empty {
        /// The input concerned.
        input: Input,
    },
    /// The compressor failed.
    #[error("cannot compress the {input}")]
    Compress {
        /// The input concerned.
        input: Input,
        /// The compressor's error.
        source: io::Error,
    },
    /// Major version 1 has bzip2 alone.
    #[error("payloads of major version 1 have no operation for {0}")]
    Compression(Compression),
    /// Major version 1 has no names for partitions.
    #[error("payloads of major version 1 have no partition but the slot's: {0} needs version 2")]
    ExtraPartition(PartitionName),
    /// Offsets in a manifest of version 1 have 32 bits.
    #[error("the compressed data is longer than the {max} bytes that a manifest can address", max = u32::MAX)]
    TooLarge,
    /// The spool can't be written or read back.
    #[error("cannot use the temporary file")]
    Spool(#[source] io::Error),
    /// The payload can't be written.
    #[error("cannot write the payload")]
    Output(#[source] io::Error),
    /// The manifest is more than nodes read: as of an image of hundreds of gigabytes.
    #[error("nodes would refuse the manifest")]
    Refused(#[source] ManifestError),
    /// Likewise: it is too long.
    #[error("nodes would refuse the manifest: it has {len} bytes, at most {limit} are read")]
    TooLong {
        /// Bytes that it has.
        len: u64,
        /// Bytes that nodes read.
        limit: u64,
    },
    /// A key didn't sign.
    #[error("key {number} did not sign the payload")]
    Sign {
        /// Which of the keys, counted from 1.
        number: usize,
        /// The key's error.
        source: SignError,
    },
}

impl WriteError {
    /// Whether a manifest with less in it might do.
    pub(super) const fn is_too_much(&self) -> bool {
        matches!(
            self,
            Self::TooLong { .. }
                | Self::Refused(
                    ManifestError::TooManyOperations(_)
                        | ManifestError::TooManyExtents(_)
                        | ManifestError::TooManyPieces(_)
                )
        )
    }
}
