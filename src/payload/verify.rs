//! Is a payload complete, unchanged and by someone we trust?

use payload_format::{Event, Finished, Metadata, SignatureError};

use super::file::{PayloadError, PayloadFile};
use super::trust::{Trust, Verdict};
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
        /// The payload.
        path: PathBuf,
        /// Why.
        source: SignatureError,
    },
}

/// Reads the whole payload: structure, the hash of each operation's data, and the signatures: first that of
/// the metadata, which major version 2 has.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(payload: &PayloadFile, trust: &Trust) -> Result<(Finished, Verdict), VerifyError> {
    let untrusted = |source| VerifyError::Signature {
        path: payload.path().into(),
        source,
    };
    let finished = payload.read("verifying", u64::MAX, |event| match event {
        // Before reading the rest of it, which may be long.
        Event::Metadata { manifest, .. } if !manifest.is_signed() && !trust.takes_unsigned() => {
            Err(untrusted(SignatureError::Unsigned))
        }
        Event::Metadata { bytes, .. } => match Metadata::parse(&bytes) {
            Ok(metadata) => trust.judge_metadata(&metadata).map_err(untrusted),
            Err(error) => Err(payload.refused(error).into()),
        },
        _ => Ok(()),
    })?;
    let verdict = trust.judge(&finished).map_err(untrusted)?;
    Ok((finished, verdict))
}
