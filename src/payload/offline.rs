//! Offline signing, with keys that are kept elsewhere: the digests that they must sign, and their
//! signatures put into the payload.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use payload_format::writer::{SignError, Signed, Signer, UnsignedError, sign_unsigned};
use payload_format::{PublicKeys, Sha256Digest};

use super::file::{PayloadError, PayloadFile};
use super::output_file::OutputFile;

/// Why there is no digest, or no signed payload.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The unsigned payload is damaged, incomplete, or none.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A length that no trusted key's signatures have.
    #[error(
        "a signature of {0} bytes is none by an RSA key of {min} to {max} bits",
        min = PublicKeys::MIN_BITS,
        max = PublicKeys::MAX_BITS
    )]
    Size(usize),
    /// Signatures can't be put into this payload.
    #[error("cannot sign {path}")]
    Unsigned {
        /// The unsigned payload.
        path: PathBuf,
        /// The error of the unsigned payload.
        source: UnsignedError,
    },
    /// The signed payload's file can't be written.
    #[error("cannot write {path}")]
    Output {
        /// The signed payload.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// What one key made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signature of the payload, as the key made it.
    pub payload: Vec<u8>,
    /// The signature of the metadata: payloads of major version 2 need it, those of version 1 have no use for
    /// it.
    pub metadata: Option<Vec<u8>>,
}

/// Nothing to attach.
#[derive(Debug, thiserror::Error)]
#[error("no signature of SHA-256 {0} by a trusted key is among those given")]
struct Missing(Sha256Digest);

/// What keys must sign whose signatures have these lengths in bytes, in this order: one per key.
///
/// # Errors
/// [`OfflineError`], without `Output`.
pub fn digests(unsigned: &PayloadFile, sizes: &[usize]) -> Result<Signed, OfflineError> {
    let signers = sizes
        .iter()
        .map(|size| Placeholder::new(*size))
        .collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as _).collect();
    sign(unsigned, &signers, io::sink())
}

/// Puts `signatures` into a copy of `unsigned` at `out`, which holds either what it held before or
/// all of the signed payload. Each must be by one of `keys`: nobody else would notice that it is of
/// something else, but every node.
///
/// # Errors
/// [`OfflineError`].
pub fn attach(
    unsigned: &PayloadFile,
    signatures: &[Signature],
    keys: &PublicKeys,
    out: &Path,
) -> Result<Signed, OfflineError> {
    let signers = signatures
        .iter()
        .map(|signature| GivenSignature::new(signature, keys))
        .collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as _).collect();
    let failed = |source| OfflineError::Output {
        path: out.into(),
        source,
    };
    let output = OutputFile::begin(out).map_err(failed)?;
    let signed = sign(
        unsigned,
        &signers,
        BufWriter::with_capacity(1 << 20, output.file()),
    )?;
    output.publish().map_err(failed)?;
    Ok(signed)
}

/// The whole payload is checked first, so that nobody signs a damaged one.
fn sign(
    unsigned: &PayloadFile,
    signers: &[&dyn Signer],
    out: impl io::Write,
) -> Result<Signed, OfflineError> {
    unsigned.read("checking", u64::MAX, |_| Ok::<_, OfflineError>(()))?;
    let refused = |source| OfflineError::Unsigned {
        path: unsigned.path().into(),
        source,
    };
    let mut file = File::open(unsigned.path()).map_err(|source| refused(UnsignedError::Read(source)))?;
    sign_unsigned(&mut file, signers, out).map_err(refused)
}

fn plausible(size: usize) -> Result<usize, OfflineError> {
    let bits = size.saturating_mul(8);
    let fits = (PublicKeys::MIN_BITS..=PublicKeys::MAX_BITS).contains(&bits);
    fits.then_some(size).ok_or(OfflineError::Size(size))
}

/// Keeps a signature's place.
struct Placeholder(usize);

impl Placeholder {
    fn new(size: usize) -> Result<Self, OfflineError> {
        plausible(size).map(Self)
    }
}

impl Signer for Placeholder {
    fn signature_len(&self) -> usize {
        self.0
    }

    fn sign(&self, _: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        Ok(vec![0; self.0])
    }
}

/// Hands out what was signed elsewhere.
struct GivenSignature<'a> {
    signature: &'a Signature,
    keys: &'a PublicKeys,
}

impl<'a> GivenSignature<'a> {
    fn new(signature: &'a Signature, keys: &'a PublicKeys) -> Result<Self, OfflineError> {
        plausible(signature.payload.len())?;
        Ok(Self { signature, keys })
    }
}

impl Signer for GivenSignature<'_> {
    fn signature_len(&self) -> usize {
        self.signature.payload.len()
    }

    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        let Signature { payload, metadata } = self.signature;
        let mut made = [Some(payload), metadata.as_ref()].into_iter().flatten();
        let fits = |signature: &&Vec<u8>| self.keys.verify_digest(sha256, signature).is_ok();
        made.find(fits)
            .cloned()
            .ok_or_else(|| SignError::Other(Box::new(Missing(*sha256))))
    }
}
