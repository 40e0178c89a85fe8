//! The checkpoint: a place where a reader can go on later, in another process.

use sha2::Sha256;
use sha2::digest::common::hazmat::SerializedState;

use super::{FormatError, Hashes};
use crate::digest::{RunningHash, Sha256Digest};
use crate::op_id::OpId;

/// A place between two operations, and the hash of everything before it. It vouches for nothing by
/// itself: record it only once the results of all operations before it are durable.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub(super) next: OpId,
    pub(super) offset: u64,
    /// Of everything before the data, so that no other payload is resumed with it.
    pub(super) metadata: Sha256Digest,
    pub(super) hashes: Hashes,
}

impl Checkpoint {
    /// The first operation that is not done.
    #[must_use]
    pub const fn next_operation(&self) -> OpId {
        self.next
    }

    /// The first byte of the payload that is needed next.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// For storage: next operation (4 bytes) and offset (8), little-endian, SHA-256 of the
    /// metadata, state of one hash or two. No checksum, no version: those are the store's.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.next.number().to_le_bytes());
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(self.metadata.as_bytes());
        for hash in std::iter::once(&self.hashes.payload).chain(&self.hashes.signed) {
            bytes.extend_from_slice(&hash.export());
        }
        bytes
    }

    /// Reads [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`FormatError::Checkpoint`] for any other bytes, those of an incompatible version included.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode(bytes).ok_or(FormatError::Checkpoint)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (next, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (metadata, state) = rest.split_first_chunk::<{ Sha256Digest::LEN }>()?;
        let mut states = state.chunks(SerializedState::<Sha256>::default().len());
        let hashes = Hashes {
            payload: hash(states.next()?)?,
            signed: states
                .next()
                .map(|state| hash(state).ok_or(()))
                .transpose()
                .ok()?,
        };
        if states.next().is_some() {
            return None;
        }
        Some(Self {
            next: OpId::new(u32::from_le_bytes(*next)),
            offset: u64::from_le_bytes(*offset),
            metadata: Sha256Digest::from(*metadata),
            hashes,
        })
    }
}

fn hash(state: &[u8]) -> Option<RunningHash> {
    let state = SerializedState::<Sha256>::try_from(state).ok()?;
    RunningHash::import(&state).ok()
}
