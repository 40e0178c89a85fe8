//! Unsigned payloads, signed later where the key is.
//!
//! ```text
//!   generate, no key ──▶ unsigned ──▶ sign_unsigned, placeholders ──▶ digests ──▶ device with the key
//!                           └───────▶ sign_unsigned, signatures ◀───────────────────────┘
//! ```
//!
//! The manifest says how long the signatures are, and is itself signed: their lengths must be known
//! before they are made. With RSA that is the key's, whatever is signed. What comes out is, byte
//! for byte, what [`FullPayload`](super::FullPayload) writes with the keys at hand.

use std::io::{self, Read, Seek, SeekFrom, Write};

use prost::{DecodeError, Message as _};

use super::{Signer, WriteError, assemble, manifest_builder, sign};
use crate::digest::Sha256Digest;
use crate::header::{Header, HeaderError, MajorVersion};
use crate::limits::Limits;
use crate::wire::DeltaArchiveManifest;

/// Why a payload can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum UnsignedError {
    /// It can't be read.
    #[error("cannot read the unsigned payload")]
    Read(#[source] io::Error),
    /// It is no payload.
    #[error("not a payload")]
    Header(#[from] HeaderError),
    /// A manifest of such a length is none.
    #[error("the manifest has {0} bytes; {max} are the limit", max = LIMITS.manifest_len)]
    ManifestTooLong(u64),
    /// The manifest is no protobuf message.
    #[error("the manifest is malformed")]
    Malformed(#[source] DecodeError),
    /// It has signatures, of which new ones would be one too many.
    #[error("the payload is signed already; make it without a key")]
    Signed,
    /// Writing the manifest anew would lose what this crate doesn't know.
    #[error("the manifest has fields that are unknown here or spelled unusually, and can't be rewritten")]
    Foreign,
    /// The signed payload can't be made.
    #[error(transparent)]
    Write(#[from] WriteError),
}

const LIMITS: Limits = Limits::for_slot(u64::MAX);

/// A payload that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its layout. Version 1 has no signatures of the metadata inside.
    pub version: MajorVersion,
    /// Bytes of the payload.
    pub payload_size: u64,
    /// SHA-256 of the payload, for the offer.
    pub payload_sha256: Sha256Digest,
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// SHA-256 of header and manifest: what signatures of the metadata sign.
    pub metadata_sha256: Sha256Digest,
    /// SHA-256 of everything but signatures: what signatures of the payload sign.
    pub signed_sha256: Sha256Digest,
}

/// Writes the payload `unsigned` to `out`, with the signatures of `signers`, at least one, in their
/// order. Of the payload only header and manifest are understood: see to it that the rest is
/// complete.
///
/// # Errors
/// [`UnsignedError`]; `out` then holds nothing of use.
pub fn sign_unsigned<R: Read + Seek, W: Write>(
    unsigned: &mut R,
    signers: &[&dyn Signer],
    out: W,
) -> Result<Signed, UnsignedError> {
    let (version, mut manifest) = metadata(unsigned)?;
    let data = unsigned.stream_position().map_err(UnsignedError::Read)?;
    let end = unsigned.seek(SeekFrom::End(0)).map_err(UnsignedError::Read)?;
    unsigned
        .seek(SeekFrom::Start(data))
        .map_err(UnsignedError::Read)?;
    let signatures = sign::blob_len(version, signers)?;
    let data_len = end.saturating_sub(data);
    manifest_builder::promise_signatures(version, &mut manifest, data_len, signatures)?;
    let manifest = manifest.encode_to_vec();
    let written = assemble::assemble(version, &manifest, (unsigned, data_len), signers, out);
    let written = written.map_err(|error| match error {
        WriteError::Spool(source) => UnsignedError::Read(source),
        other => other.into(),
    })?;
    Ok(Signed {
        version,
        payload_size: written.payload_size,
        payload_sha256: written.payload_sha256,
        metadata_size: written.metadata_size,
        metadata_sha256: written.metadata_sha256,
        signed_sha256: written.signed_sha256,
    })
}

/// What stands before the data.
fn metadata<R: Read + Seek>(payload: &mut R) -> Result<(MajorVersion, DeltaArchiveManifest), UnsignedError> {
    payload.rewind().map_err(UnsignedError::Read)?;
    let header = header(payload)?;
    if header.metadata_signatures_len > 0 {
        return Err(UnsignedError::Signed);
    }
    if header.manifest_len > LIMITS.manifest_len {
        return Err(UnsignedError::ManifestTooLong(header.manifest_len));
    }
    let bytes = exactly(payload, header.manifest_len)?;
    let manifest = DeltaArchiveManifest::decode(bytes.as_slice()).map_err(UnsignedError::Malformed)?;
    if manifest.signatures_size.is_some_and(|size| size > 0) {
        return Err(UnsignedError::Signed);
    }
    if manifest.encode_to_vec() != bytes {
        return Err(UnsignedError::Foreign);
    }
    Ok((header.version, manifest))
}

fn header(payload: &mut impl Read) -> Result<Header, UnsignedError> {
    let mut bytes = exactly(payload, Header::MIN_LEN as u64)?;
    if let Some(header) = Header::parse(&bytes)? {
        return Ok(header);
    }
    let more = MajorVersion::V2.header_len() - Header::MIN_LEN;
    bytes.extend(exactly(payload, more as u64)?);
    let cut_off = || UnsignedError::Read(io::ErrorKind::UnexpectedEof.into());
    Header::parse(&bytes)?.ok_or_else(cut_off)
}

fn exactly(payload: &mut impl Read, len: u64) -> Result<Vec<u8>, UnsignedError> {
    let mut bytes = Vec::new();
    let n = payload
        .take(len)
        .read_to_end(&mut bytes)
        .map_err(UnsignedError::Read)?;
    if n as u64 != len {
        return Err(UnsignedError::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}
