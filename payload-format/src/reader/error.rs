//! Errors of a payload's bytes.

use thiserror::Error;

use crate::digest::Sha256Digest;
use crate::header::HeaderError;
use crate::manifest::ManifestError;
use crate::op_id::OpId;

/// What is wrong with a payload, seen while it streams by.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The first bytes.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The manifest's content.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A manifest longer than [`crate::Limits::manifest_len`].
    #[error("the header claims a manifest of {len} bytes; at most {limit} are read")]
    ManifestLength {
        /// As the header says, in bytes.
        len: u64,
        /// In bytes.
        limit: u64,
    },
    /// More than [`crate::Manifest::MAX_SIGNATURES`] between manifest and data.
    #[error("the header claims {0} bytes of signatures of the metadata")]
    MetadataSignatureLength(u64),
    /// Header and manifest are not as long as offered.
    #[error("header and manifest have {found} bytes; the offer said {offered}")]
    MetadataSize {
        /// In bytes.
        found: u64,
        /// In bytes.
        offered: u64,
    },
    /// The manifest adds up to another length than offered.
    #[error("by its manifest the payload has {found} bytes; the offer said {offered}")]
    PayloadSize {
        /// In bytes.
        found: u64,
        /// In bytes.
        offered: u64,
    },
    /// Operation data is not what the manifest says.
    #[error("data of operation {op} has SHA-256 {found}, the manifest says {expected}")]
    OperationHash {
        /// Whose data.
        op: OpId,
        /// Of the bytes that came.
        found: Sha256Digest,
        /// Of the bytes that should have come.
        expected: Sha256Digest,
    },
    /// The payload ended early.
    #[error("the payload ends at byte {at}, within its {part}")]
    Truncated {
        /// Bytes that came.
        at: u64,
        /// What was being read.
        part: Part,
    },
    /// The payload goes on after its end.
    #[error("there are bytes after the payload's end at byte {0}")]
    TrailingBytes(u64),
    /// The reader refused this payload before.
    #[error("the payload was refused already")]
    Refused,
    /// A checkpoint that can't be read.
    #[error("the checkpoint can't be read")]
    Checkpoint,
    /// A checkpoint of another payload, or of an operation that this one hasn't.
    #[error("the checkpoint belongs to another payload")]
    ForeignCheckpoint,
}

/// Parts of a payload, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Magic, version, manifest length.
    Header,
    /// The manifest.
    Manifest,
    /// The signatures of header and manifest.
    MetadataSignatures,
    /// Operations' data.
    Data,
    /// The signature blob.
    Signatures,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Manifest => "manifest",
            Self::MetadataSignatures => "metadata signatures",
            Self::Data => "data",
            Self::Signatures => "signatures",
        })
    }
}
