//! Verification of a payload: whether it is complete, unchanged, and signed by one of the keys that are
//! trusted.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use payload_format::{Event, Finished, MajorVersion, Metadata, PublicKeys, SignatureError};

use super::file::{PayloadError, PayloadFile};

/// Longest key file: PEM keys take a few KiB.
const MAX_KEY: u64 = 64 << 10;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Its file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// File of the key.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Its file holds no key to trust.
    #[error("cannot trust {path}")]
    Key {
        /// File of the key.
        path: PathBuf,
        /// The error of key or signature.
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

/// Why a payload isn't good.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is damaged, incomplete, or no payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It isn't by anyone we trust.
    #[error("{path} is not trusted")]
    Signature {
        /// The payload's file.
        path: PathBuf,
        /// What is wrong with its signature.
        source: SignatureError,
    },
}

/// Reads the whole payload: structure, the hash of each operation's data, and the signatures: first
/// that of the metadata, which major version 2 has.
///
/// # Errors
/// [`VerifyError`].
pub(super) fn verify(
    payload: &PayloadFile,
    trust: &Trust,
) -> Result<(Finished, SignatureStatus), VerifyError> {
    verify_with(payload, trust, |_| Ok(()))
}

/// Likewise, and tells `take` every event. That of the metadata is trusted then, as far as the
/// metadata is signed.
///
/// # Errors
/// [`VerifyError`], or what `take` answers.
pub(super) fn verify_with<E: From<PayloadError> + From<VerifyError>>(
    payload: &PayloadFile,
    trust: &Trust,
    mut take: impl FnMut(&Event) -> Result<(), E>,
) -> Result<(Finished, SignatureStatus), E> {
    let untrusted = |source| VerifyError::Signature {
        path: payload.path().into(),
        source,
    };
    let finished = payload.read("verifying", u64::MAX, |event| {
        if let Event::Metadata { manifest, bytes, .. } = &event {
            // Before reading the rest of it, which may be long.
            if !manifest.is_signed() && !trust.takes_unsigned() {
                return Err(untrusted(SignatureError::Unsigned).into());
            }
            let metadata = Metadata::parse(bytes).map_err(|error| payload.refused(error))?;
            trust.judge_metadata(&metadata).map_err(untrusted)?;
        }
        take(&event)
    })?;
    let verdict = trust.judge(&finished).map_err(untrusted)?;
    Ok((finished, verdict))
}
