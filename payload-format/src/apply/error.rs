//! Errors of applying an operation.

use std::io;

use thiserror::Error;

use super::Compression;
use crate::block::BlockRange;
use crate::bsdiff::PatchError;
use crate::bunzip::BunzipError;
use crate::digest::Sha256Digest;
use crate::image::ImageKind;
use crate::op_id::OpId;

/// A failure of one step.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The payload builds no such image.
    #[error("the payload has no {0} image")]
    NoImage(ImageKind),
    /// A delta, and nothing to read from.
    #[error("the {0} image is a delta, and there is no old image")]
    NoSource(ImageKind),
    /// An operation of another image, or of none.
    #[error("operation {op} is none of the {image} image")]
    ForeignOperation {
        /// The operation that was asked for.
        op: OpId,
        /// The image whose operations are applied here.
        image: ImageKind,
    },
    /// An operation that can't be carried out in pieces.
    #[error("operation {0} needs its data whole")]
    NeedsWholeData(OpId),
    /// An operation went wrong.
    #[error("operation {op} failed")]
    Operation {
        /// The operation that failed.
        op: OpId,
        /// What went wrong.
        #[source]
        fault: Fault,
    },
    /// Copying blocks that no operation writes went wrong.
    #[error("copying blocks {blocks} of the old image failed")]
    Copy {
        /// The blocks that were to be copied.
        blocks: BlockRange,
        /// What went wrong.
        #[source]
        fault: Fault,
    },
}

impl ApplyError {
    /// What went wrong, where it was an operation or a copy.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Operation { fault, .. } | Self::Copy { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Fault {
    /// The old image can't be read.
    #[error("can't read the old image at byte {offset}")]
    ReadOld {
        /// Offset from the image's start, in bytes.
        offset: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The target can't be read back.
    #[error("can't read the target at byte {offset}")]
    ReadTarget {
        /// Offset from the image's start, in bytes.
        offset: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The target can't be written.
    #[error("can't write the target at byte {offset}")]
    Write {
        /// Offset from the image's start, in bytes.
        offset: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No such stream, a damaged one, or one that takes too much memory.
    #[error("its data is no intact {compression} stream")]
    Damaged {
        /// What it should be.
        compression: Compression,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// The stream goes on after the data's end.
    #[error("its {0} stream is cut off")]
    CutOff(Compression),
    /// There is more data than the stream.
    #[error("{len} bytes follow its {compression} stream")]
    TrailingBytes {
        /// What the data is.
        compression: Compression,
        /// Bytes that follow within the piece that was read.
        len: usize,
    },
    /// The source is not what the operation was made for; nothing was written.
    #[error("its source has SHA-256 {found}, the manifest says {expected}")]
    SourceHash {
        /// Of the blocks as they were read.
        found: Sha256Digest,
        /// As the manifest says.
        expected: Sha256Digest,
    },
    /// The result is longer than the destination.
    #[error("its result is longer than its {0} bytes of blocks")]
    TooLong(u64),
    /// The result leaves blocks of the image as they were.
    #[error("its result has {len} bytes and leaves the last of its blocks unwritten; {needed} are needed")]
    TooShort {
        /// Length of the result in bytes.
        len: u64,
        /// Bytes up to the start of the last block within the image.
        needed: u64,
    },
    /// The patch is wrong.
    #[error("its patch can't be applied")]
    Patch(#[from] PatchError),
}

impl From<BunzipError> for Fault {
    fn from(error: BunzipError) -> Self {
        let compression = Compression::Bzip2;
        match error {
            BunzipError::CutOff => Self::CutOff(compression),
            error => Self::Damaged {
                compression,
                source: io::Error::new(io::ErrorKind::InvalidData, error),
            },
        }
    }
}
