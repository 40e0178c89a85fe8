//! Verification of a payload: whether it is complete, unchanged and signed by a trusted key.

use payload_format::{Event, Finished, Metadata, SignatureError};

use super::file::{PayloadError, PayloadFile};
use super::trust::{SignatureStatus, Trust};
use std::path::PathBuf;

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
