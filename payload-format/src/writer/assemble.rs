//! The assembly of a payload: header, manifest, data and signatures, one after the other.

use std::io::{self, Read, Write};

use super::hashing_writer::HashingWriter;
use super::{Signer, WriteError, sign};
use crate::digest::Sha256Digest;
use crate::header::{Header, MajorVersion};

/// What was put together.
pub(super) struct Assembled {
    /// Bytes of the payload.
    pub(super) payload_size: u64,
    pub(super) payload_sha256: Sha256Digest,
    /// Bytes of header and manifest.
    pub(super) metadata_size: u64,
    /// Of header and manifest.
    pub(super) metadata_sha256: Sha256Digest,
    /// Of everything but signatures.
    pub(super) signed_sha256: Sha256Digest,
}

/// Writes a payload with `data_len` bytes of `data`. The manifest must promise what `signers` will
/// make.
pub(super) fn assemble<W: Write>(
    version: MajorVersion,
    manifest: &[u8],
    (data, data_len): (impl Read, u64),
    signers: &[&dyn Signer],
    out: W,
) -> Result<Assembled, WriteError> {
    let mut out = HashingWriter::new(out);
    let (metadata_size, metadata_sha256) = put_metadata(&mut out, version, manifest, signers)?;
    copy(data.take(data_len), &mut out)?;
    let signed_sha256 = out.signed_digest();
    if !signers.is_empty() {
        let signatures = sign::sign(version, signers, &signed_sha256)?;
        out.write_all(&signatures).map_err(WriteError::Output)?;
    }
    out.flush().map_err(WriteError::Output)?;
    Ok(Assembled {
        payload_size: out.written(),
        payload_sha256: out.digest(),
        metadata_size,
        metadata_sha256,
        signed_sha256,
    })
}

/// Header, manifest and, in version 2, the signatures of both; returns the length of both in bytes
/// and their SHA-256.
fn put_metadata<W: Write>(
    out: &mut HashingWriter<W>,
    version: MajorVersion,
    manifest: &[u8],
    signers: &[&dyn Signer],
) -> Result<(u64, Sha256Digest), WriteError> {
    let signatures_len = match version {
        MajorVersion::V1 => 0,
        MajorVersion::V2 => sign::blob_len(version, signers)?,
    };
    let header = Header {
        version,
        manifest_len: manifest.len() as u64,
        metadata_signatures_len: u32::try_from(signatures_len).map_err(|_| WriteError::TooLarge)?,
    };
    let put = |out: &mut HashingWriter<W>| {
        out.write_all(&header.to_bytes())?;
        out.write_all(manifest)
    };
    put(out).map_err(WriteError::Output)?;
    let (metadata_len, sha256) = (out.written(), out.digest());
    if signatures_len > 0 {
        let signatures = sign::sign(version, signers, &sha256)?;
        out.write_apart(&signatures).map_err(WriteError::Output)?;
    }
    Ok((metadata_len, sha256))
}

/// Like [`io::copy`], but of all that was promised, and says which side failed.
fn copy(mut from: io::Take<impl Read>, to: &mut impl Write) -> Result<(), WriteError> {
    let mut buffer = vec![0; 256 << 10];
    while from.limit() > 0 {
        let n = from.read(&mut buffer).map_err(WriteError::Spool)?;
        if n == 0 {
            return Err(WriteError::Spool(io::ErrorKind::UnexpectedEof.into()));
        }
        to.write_all(&buffer[..n]).map_err(WriteError::Output)?;
    }
    Ok(())
}
