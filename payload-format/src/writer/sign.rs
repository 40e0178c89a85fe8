//! Signatures of a payload: RSASSA-PKCS1-v1_5 over SHA-256 of everything before the signatures.

use prost::Message as _;
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts as _;

use super::WriteError;
use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::signature::{self, PublicKeys};
use crate::wire::{CLIENT_SIGNATURE_VERSION, Signature, Signatures};

/// Why a key can't sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Neither a PKCS#8 nor a PKCS#1 RSA key in PEM.
    #[error("not an RSA private key in PEM form")]
    Key(#[source] rsa::pkcs8::Error),
    /// Too short to trust.
    #[error("the key has {bits} bits, at least {} are required", PublicKeys::MIN_BITS)]
    Short {
        /// Bits of its modulus.
        bits: usize,
    },
    /// The operation itself failed.
    #[error("the RSA operation failed")]
    Rsa(#[from] rsa::Error),
    /// The manifest promises the signatures' size before they are made.
    #[error("the signature has {actual} bytes instead of {promised}")]
    Length {
        /// What [`Signer::signature_len`] said.
        promised: usize,
        /// What [`Signer::sign`] returned.
        actual: usize,
    },
    /// A signer of the caller's own failed.
    #[error("the signer failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Someone who holds a private key: in memory ([`RsaSigner`]), or behind a device or a service.
pub trait Signer {
    /// Length of every signature it makes, in bytes: that of the key's modulus.
    fn signature_len(&self) -> usize;

    /// The RSASSA-PKCS1-v1_5 signature of `sha256`, the digest of the message.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError>;
}

/// An RSA private key in memory.
///
/// For the machine that builds payloads, never for a node: the `rsa` crate does not compute with
/// private keys in constant time (RUSTSEC-2023-0071), and on a node others could watch the clock.
/// Blinding with fresh randomness takes the value of what is observed away, and an offline tool
/// that signs once in a release gives nobody anything to measure; keys that matter more belong into
/// a device, behind [`Signer`].
pub struct RsaSigner(RsaPrivateKey);

impl RsaSigner {
    /// Reads a PEM private key: PKCS#8 (`BEGIN PRIVATE KEY`) or PKCS#1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`SignError::Key`], [`SignError::Short`].
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|error| RsaPrivateKey::from_pkcs1_pem(pem).map_err(|_| error))
            .map_err(SignError::Key)?;
        let bits = key.n().bits();
        if bits < PublicKeys::MIN_BITS {
            return Err(SignError::Short { bits });
        }
        Ok(Self(key))
    }
}

impl Signer for RsaSigner {
    fn signature_len(&self) -> usize {
        self.0.size()
    }

    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        Ok(self
            .0
            .sign_with_rng(&mut OsRng, signature::scheme(), sha256.as_bytes())?)
    }
}

impl std::fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RsaSigner")
            .field("bits", &self.0.n().bits())
            .finish_non_exhaustive()
    }
}

/// Length of the blob that [`sign`] will make; 0 without signers.
pub(super) fn blob_len(version: MajorVersion, signers: &[&dyn Signer]) -> Result<u64, WriteError> {
    if signers.is_empty() {
        return Ok(0);
    }
    let placeholder = signers
        .iter()
        .map(|signer| vec![0; signer.signature_len()])
        .collect();
    u64::try_from(blob(version, placeholder).len()).map_err(|_| WriteError::TooLarge)
}

/// The blob of everyone's signatures of `sha256`.
pub(super) fn sign(
    version: MajorVersion,
    signers: &[&dyn Signer],
    sha256: &Sha256Digest,
) -> Result<Vec<u8>, WriteError> {
    let sign = |(index, signer): (usize, &&dyn Signer)| {
        let signed = sign_exactly(*signer, sha256);
        signed.map_err(|source| WriteError::Sign {
            number: index + 1,
            source,
        })
    };
    Ok(blob(
        version,
        signers.iter().enumerate().map(sign).collect::<Result<_, _>>()?,
    ))
}

fn sign_exactly(signer: &dyn Signer, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
    let signature = signer.sign(sha256)?;
    let (promised, actual) = (signer.signature_len(), signature.len());
    if promised != actual {
        return Err(SignError::Length { promised, actual });
    }
    Ok(signature)
}

/// In version 1 a single signature is for the clients of today; several are numbered from 1.
/// Version 2 has no numbers.
fn blob(version: MajorVersion, signatures: Vec<Vec<u8>>) -> Vec<u8> {
    let first = if signatures.len() == 1 {
        CLIENT_SIGNATURE_VERSION
    } else {
        1
    };
    let entry = |(number, data): (u32, Vec<u8>)| match version {
        MajorVersion::V1 => Signature {
            version: Some(number),
            data: Some(data),
            unpadded_signature_size: None,
        },
        MajorVersion::V2 => Signature {
            version: None,
            unpadded_signature_size: u32::try_from(data.len()).ok(),
            data: Some(data),
        },
    };
    Signatures {
        signatures: (first..).zip(signatures).map(entry).collect(),
    }
    .encode_to_vec()
}
