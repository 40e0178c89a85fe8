//! Errors of applying a payload.

use std::io;
use std::path::PathBuf;

use payload_format::{ApplyError, ImageKind, Sha256Digest};

use crate::payload::file::PayloadError;
use crate::payload::verify::VerifyError;

/// Why a payload wasn't applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The payload is refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The payload doesn't build what was asked for.
    #[error("the payload holds no {0}")]
    NoImage(ImageKind),
    /// A delta without the image it is built from.
    #[error("the payload's {0} is built from an old one: name that, too")]
    NoSource(ImageKind),
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file isn't what the payload says.
    #[error("the first {size} bytes of {path} have SHA-256 {actual}, not {expected} as the payload says")]
    Mismatch {
        /// Which.
        path: PathBuf,
        /// Bytes that were hashed.
        size: u64,
        /// Of these bytes.
        actual: Sha256Digest,
        /// By the manifest.
        expected: Sha256Digest,
    },
    /// An operation failed.
    #[error("cannot build {path}")]
    Operation {
        /// What was being built.
        path: PathBuf,
        /// Why not.
        source: ApplyError,
    },
    /// A device would lose the old image while the new one is built from it.
    #[error(
        "{path} can't be both source and target: blocks of the old image would be lost before they are read"
    )]
    InPlace {
        /// The device.
        path: PathBuf,
    },
    /// It was another payload the second time.
    #[error("{path} changed while it was applied")]
    Changed {
        /// The payload.
        path: PathBuf,
    },
}

impl From<PayloadError> for ApplicationError {
    fn from(error: PayloadError) -> Self {
        Self::Verify(error.into())
    }
}
