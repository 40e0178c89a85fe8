//! Trusted keys and the signatures they check.
//!
//! RSASSA-PKCS1-v1_5 over a SHA-256 digest that is known already: the payload's is taken while it
//! streams by, and exported with checkpoints. That rules out libraries which insist on hashing the
//! message themselves, so `rsa` does the check: a public-key operation on public data, where its
//! timing behaviour doesn't matter.

use std::fmt;

use prost::Message;
use rsa::pkcs8::Document;
use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::der::pem::PemLabel as _;
use rsa::pkcs8::spki::{self, SubjectPublicKeyInfoRef};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey, pkcs1};
use thiserror::Error;

use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::wire;

/// `DigestInfo` of SHA-256 up to the digest itself, in DER (RFC 8017, 9.2, note 1).
pub(crate) const SHA256_PREFIX: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Why a payload isn't trusted.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// Nobody is trusted, so nothing is.
    #[error("there is no trusted public key")]
    NoKeys,
    /// A file that holds no key.
    #[error("public key {index} is no RSA key in PEM (SubjectPublicKeyInfo)")]
    Key {
        /// Position among the keys, from 0.
        index: usize,
        /// What the decoder says.
        #[source]
        source: rsa::pkcs8::spki::Error,
    },
    /// A key that can be broken.
    #[error(
        "public key {index} has {bits} bits; at least {} are needed",
        PublicKeys::MIN_BITS
    )]
    WeakKey {
        /// Position among the keys, from 0.
        index: usize,
        /// Of its modulus.
        bits: usize,
    },
    /// No signature blob.
    #[error("the payload is not signed")]
    Unsigned,
    /// The blob is no list of signatures.
    #[error("the signature blob is malformed")]
    Malformed(#[source] prost::DecodeError),
    /// Signatures, but none for clients of this format.
    #[error("none of the {0} signatures is one for clients")]
    NoClientSignature(usize),
    /// No signature by a trusted key.
    #[error("none of the {keys} trusted keys made the signature")]
    Mismatch {
        /// How many were tried.
        keys: usize,
    },
}

/// Keys of which each alone is trusted: RSA of 2048 to 16384 bits.
#[derive(Clone)]
pub struct PublicKeys(Vec<RsaPublicKey>);

impl PublicKeys {
    /// Bits of a modulus at least.
    pub const MIN_BITS: usize = 2048;

    /// Bits of a modulus at most: a signature by a longer one takes seconds to check.
    pub const MAX_BITS: usize = 16384;

    /// Reads keys from PEM texts, one key each.
    ///
    /// # Errors
    /// [`SignatureError::NoKeys`], `Key` or `WeakKey`: one bad key refuses them all, since a typo
    /// must not silently leave fewer.
    pub fn from_pems<T: AsRef<str>>(pems: impl IntoIterator<Item = T>) -> Result<Self, SignatureError> {
        let keys: Vec<_> = pems
            .into_iter()
            .enumerate()
            .map(|(index, pem)| public_key(index, pem.as_ref()))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        Ok(Self(keys))
    }

    /// Checks a bare signature of a digest, as an offer carries one for the metadata.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn verify_digest(&self, digest: &Sha256Digest, signature: &[u8]) -> Result<(), SignatureError> {
        let good = self
            .0
            .iter()
            .any(|key| key.verify(scheme(), digest.as_bytes(), signature).is_ok());
        good.then_some(())
            .ok_or(SignatureError::Mismatch { keys: self.0.len() })
    }

    /// Checks a signature blob of a payload of that version against the digest of what it signs.
    ///
    /// # Errors
    /// [`SignatureError`] unless one of the keys made an entry: in version 1 one for clients, in
    /// version 2 any, since there entries have no version of their own.
    pub fn verify_blob(
        &self,
        version: MajorVersion,
        digest: &Sha256Digest,
        blob: &[u8],
    ) -> Result<(), SignatureError> {
        let signatures = wire::Signatures::decode(blob)
            .map_err(SignatureError::Malformed)?
            .signatures;
        if signatures.is_empty() {
            return Err(SignatureError::Unsigned);
        }
        let total = signatures.len();
        let is_ours = |signature: &wire::Signature| match version {
            MajorVersion::V1 => signature.version == Some(wire::CLIENT_SIGNATURE_VERSION),
            MajorVersion::V2 => true,
        };
        let mut ours = signatures
            .into_iter()
            .filter(is_ours)
            .filter_map(unpadded)
            .peekable();
        if ours.peek().is_none() {
            return Err(SignatureError::NoClientSignature(total));
        }
        let good = ours.any(|signature| self.verify_digest(digest, &signature).is_ok());
        good.then_some(())
            .ok_or(SignatureError::Mismatch { keys: self.0.len() })
    }
}

/// The part of the data that counts; none if that is more than there is.
fn unpadded(signature: wire::Signature) -> Option<Vec<u8>> {
    let mut data = signature.data?;
    if let Some(len) = signature.unpadded_signature_size {
        let len = usize::try_from(len).ok().filter(|len| *len <= data.len())?;
        data.truncate(len);
    }
    Some(data)
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKeys")
            .field("count", &self.0.len())
            .finish()
    }
}

fn public_key(index: usize, pem: &str) -> Result<RsaPublicKey, SignatureError> {
    let key = decode(pem).map_err(|source| SignatureError::Key { index, source })?;
    let bits = key.n().bits();
    if bits < PublicKeys::MIN_BITS {
        return Err(SignatureError::WeakKey { index, bits });
    }
    Ok(key)
}

/// As `RsaPublicKey::from_public_key_pem`, which takes no more than 4096 bits.
fn decode(pem: &str) -> spki::Result<RsaPublicKey> {
    let (label, document) = Document::from_pem(pem)?;
    SubjectPublicKeyInfoRef::validate_pem_label(label)?;
    let info = SubjectPublicKeyInfoRef::try_from(document.as_bytes())?;
    info.algorithm.assert_algorithm_oid(pkcs1::ALGORITHM_OID)?;
    let bits = info
        .subject_public_key
        .as_bytes()
        .ok_or(spki::Error::KeyMalformed)?;
    let numbers = pkcs1::RsaPublicKey::from_der(bits)?;
    let number = |bytes| BigUint::from_bytes_be(bytes);
    let (modulus, exponent) = (
        number(numbers.modulus.as_bytes()),
        number(numbers.public_exponent.as_bytes()),
    );
    RsaPublicKey::new_with_max_size(modulus, exponent, PublicKeys::MAX_BITS)
        .map_err(|_| spki::Error::KeyMalformed)
}

/// The signature scheme, for verifying and for signing.
pub(crate) fn scheme() -> Pkcs1v15Sign {
    Pkcs1v15Sign {
        hash_len: Some(Sha256Digest::LEN),
        prefix: SHA256_PREFIX.into(),
    }
}
