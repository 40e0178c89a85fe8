//! Events of the reader.

use std::sync::Arc;

use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::manifest::Manifest;
use crate::op_id::OpId;
use crate::signature::{PublicKeys, SignatureError};

/// One step of a payload. Events come in the same order, with the same content, however the bytes
/// were cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything before the data was read and holds together. Always the first event. Everything
    /// that can be refused before touching the slot can be refused here.
    Metadata {
        /// What will be done.
        manifest: Arc<Manifest>,
        /// Header, manifest and their signatures as they came: check them with [`super::Metadata`],
        /// keep them for [`super::Reader::resume`], or drop them.
        bytes: Vec<u8>,
        /// Of header and manifest: what signatures of the metadata sign.
        sha256: Sha256Digest,
    },
    /// An operation is due; its data is whole and verified. Empty if it has none.
    Operation {
        /// The operation that is due.
        op: OpId,
        /// All of its data.
        data: Vec<u8>,
    },
    /// A piece of an operation's data that is larger than [`crate::Limits::whole_data`], in order:
    /// 1 MiB, the last one shorter. Not verified yet.
    Piece {
        /// The operation that the data is of.
        op: OpId,
        /// The piece's bytes; never empty.
        data: Vec<u8>,
    },
    /// The next piece of a content payload's packed chunks, after all operations: 1 MiB, the last one
    /// shorter. Not verified: a [`crate::ContentBuilder`] does that.
    Content {
        /// The piece's bytes; never empty.
        data: Vec<u8>,
    },
    /// All pieces of the operation were handed out, and their hash is right.
    PiecesVerified {
        /// The operation that the data is of.
        op: OpId,
    },
}

/// What is known of a payload that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The layout that the payload has.
    pub version: MajorVersion,
    /// Of the whole payload: what the offer names.
    pub payload_sha256: Sha256Digest,
    /// In bytes.
    pub payload_len: u64,
    /// Of everything before the signature blob, the metadata's signatures left out: what it signs.
    pub signed_sha256: Sha256Digest,
    /// The signature blob; empty if unsigned.
    pub signatures: Vec<u8>,
}

impl Finished {
    /// Checks the payload's signature.
    ///
    /// # Errors
    /// [`SignatureError`] unless one of the keys made a signature for clients.
    pub fn verify(&self, keys: &PublicKeys) -> Result<(), SignatureError> {
        if self.signatures.is_empty() {
            return Err(SignatureError::Unsigned);
        }
        keys.verify_blob(self.version, &self.signed_sha256, &self.signatures)
    }
}
