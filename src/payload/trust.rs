//! Trust in payloads: the keys of which one must have signed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use payload_format::{Finished, MajorVersion, Metadata, PublicKeys, SignatureError};

/// Longest key file: PEM keys take a few KiB.
const MAX_KEY: u64 = 64 << 10;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Its file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// The key.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its file holds no key to trust.
    #[error("cannot trust {path}")]
    Key {
        /// The key.
        path: PathBuf,
        /// Why.
        source: SignatureError,
    },
}

/// What is asked of a payload's signature.
#[derive(Debug, Clone)]
pub enum Trust {
    /// One of these keys made it.
    Keys(PublicKeys),
    /// One of these keys made it, or there is none.
    KeysOrUnsigned(PublicKeys),
    /// Nothing: neither the signature nor its absence counts.
    Anyone,
}

/// What a payload's signature turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureStatus {
    /// Made by a trusted key.
    Signed,
    /// Missing, or by whomever: and that was accepted.
    Unchecked,
}

impl Trust {
    /// Trusts the keys in these PEM files.
    ///
    /// # Errors
    /// [`TrustError`]; none of the keys is taken if one can't be, and it isn't enough to name none.
    pub fn in_keys(paths: &[PathBuf]) -> Result<PublicKeys, TrustError> {
        let pems = paths
            .iter()
            .map(|path| read(path))
            .collect::<Result<Vec<_>, _>>()?;
        let untrusted = |path: &Path, source| TrustError::Key {
            path: path.into(),
            source,
        };
        for (path, pem) in paths.iter().zip(&pems) {
            // One by one, so that the bad one can be named.
            PublicKeys::from_pems([pem]).map_err(|source| untrusted(path, source))?;
        }
        PublicKeys::from_pems(&pems).map_err(|source| untrusted(Path::new("no key"), source))
    }

    /// Whether a payload without signature is taken.
    #[must_use]
    pub fn takes_unsigned(&self) -> bool {
        !matches!(self, Self::Keys(_))
    }

    /// Judges what stands before a payload's data. Major version 1 has no signature there.
    ///
    /// # Errors
    /// [`SignatureError`] if it isn't trusted.
    pub fn judge_metadata(&self, metadata: &Metadata<'_>) -> Result<(), SignatureError> {
        match (self, metadata.version()) {
            (Self::Anyone, _) | (_, MajorVersion::V1) => Ok(()),
            (Self::KeysOrUnsigned(_), _) if metadata.signatures().is_empty() => Ok(()),
            (Self::Keys(keys) | Self::KeysOrUnsigned(keys), MajorVersion::V2) => metadata.verify(keys),
        }
    }

    /// Judges a payload that was read to its end.
    ///
    /// # Errors
    /// [`SignatureError`] if it isn't trusted.
    pub fn judge(&self, finished: &Finished) -> Result<SignatureStatus, SignatureError> {
        match self {
            Self::Anyone => Ok(SignatureStatus::Unchecked),
            Self::KeysOrUnsigned(_) if finished.signatures.is_empty() => Ok(SignatureStatus::Unchecked),
            Self::Keys(keys) | Self::KeysOrUnsigned(keys) => {
                finished.verify(keys).map(|()| SignatureStatus::Signed)
            }
        }
    }
}

fn read(path: &Path) -> Result<String, TrustError> {
    let mut pem = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEY).read_to_string(&mut pem));
    read.map_err(|source| TrustError::Read {
        path: path.into(),
        source,
    })?;
    Ok(pem)
}
