//! SHA-256 values, and a running hash whose state can be kept across restarts.

use std::fmt;

use sha2::digest::common::hazmat::{DeserializeStateError, SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// A SHA-256 value. Displayed in lower-case hexadecimal, serialized as a list of 32 numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sha256Digest([u8; Self::LEN]);

impl Sha256Digest {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The hash of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The bytes of the value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for Sha256Digest {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash over bytes that arrive in pieces.
#[derive(Clone, Default)]
pub(crate) struct RunningHash(Sha256);

impl RunningHash {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far; more may follow.
    pub(crate) fn value(&self) -> Sha256Digest {
        Sha256Digest(self.0.clone().finalize().into())
    }

    /// The inner state. Readable by the same minor version of `sha2` only, which a checkpoint
    /// tolerates: one that can't be read means starting over.
    pub(crate) fn export(&self) -> SerializedState<Sha256> {
        self.0.serialize()
    }

    pub(crate) fn import(state: &SerializedState<Sha256>) -> Result<Self, DeserializeStateError> {
        Sha256::deserialize(state).map(Self)
    }
}

impl fmt::Debug for RunningHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningHash").finish_non_exhaustive()
    }
}
