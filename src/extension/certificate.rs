//! A certificate and the signature that may be its key's: the few structures of X.509 and PKCS #7 that
//! say who signed. Pure; read in place, any of them hostile.
//!
//! ```text
//!   Certificate   SEQ { tbs SEQ { [0] version, serial, algorithm, issuer, validity, subject, key } … }
//!   PKCS #7       SEQ { signed-data, [0] SEQ { version, digests, contents, …, SET { signer } } }
//!   signer        SEQ { version, SEQ { issuer, serial }, digest, [0] attributes, algorithm, signature }
//! ```
//!
//! OpenSSL looks for the first certificate with the signer's issuer and serial number, and believes
//! no other. That is what is done here, with names compared byte by byte.
//!
//! Sources: RFC 2315, RFC 5280, X.690; `PKCS7_verify(3)`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
/// `[0]`, of several elements.
const FIRST: u8 = 0xa0;
/// `[1]`, likewise.
const SECOND: u8 = 0xa1;

// Object identifiers, encoded.
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

/// Elements of DER that follow each other.
struct DerElements<'a>(&'a [u8]);

struct DerElement<'a> {
    tag: u8,
    contents: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

impl<'a> DerElements<'a> {
    /// The next one; none at the end, or if it isn't one.
    fn take(&mut self) -> Option<DerElement<'a>> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        let (len, header) = if *first < 0x80 {
            (usize::from(*first), 2)
        } else {
            let bytes = rest.get(..usize::from(*first & 0x7f))?;
            // Four bytes hold the length of more than any of these may have.
            if !(1..=4).contains(&bytes.len()) {
                return None;
            }
            let len = bytes.iter().fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
            (usize::try_from(len).ok()?, 2 + bytes.len())
        };
        let (whole, rest) = self.0.split_at_checked(header.checked_add(len)?)?;
        self.0 = rest;
        Some(DerElement {
            tag: *tag,
            contents: whole.get(header..)?,
            whole,
        })
    }

    fn expect(&mut self, tag: u8) -> Option<DerElement<'a>> {
        self.take().filter(|element| element.tag == tag)
    }

    /// The elements in the next one.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        Some(Self(self.expect(tag)?.contents))
    }

    /// Passes over the next one if it has this tag.
    fn skip(&mut self, tag: u8) -> bool {
        let is_next = self.0.first() == Some(&tag);
        is_next && self.take().is_some()
    }
}

/// Who signed: the issuer of the signer's certificate, encoded, and its serial number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SignerId {
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

/// A certificate, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    id: SignerId,
    /// Algorithm, and the curve of an elliptic one.
    algorithm: (Vec<u8>, Vec<u8>),
    key: Vec<u8>,
}

impl Certificate {
    /// Parses DER.
    #[must_use]
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = DerElements(der);
        let mut tbs = outer.enter(SEQUENCE)?.enter(SEQUENCE)?;
        if !outer.0.is_empty() {
            return None;
        }
        tbs.skip(FIRST);
        let serial = tbs.expect(INTEGER)?.contents.to_vec();
        tbs.expect(SEQUENCE)?;
        let issuer = tbs.expect(SEQUENCE)?.whole.to_vec();
        tbs.expect(SEQUENCE)?;
        tbs.expect(SEQUENCE)?;
        let mut key = tbs.enter(SEQUENCE)?;
        let mut algorithm = key.enter(SEQUENCE)?;
        let name = algorithm.expect(OBJECT)?.contents.to_vec();
        let curve = algorithm.take().map(|curve| curve.contents.to_vec());
        // The first byte counts unused bits.
        let (0, key) = key.expect(BIT_STRING)?.contents.split_first()? else {
            return None;
        };
        Some(Self {
            id: SignerId { issuer, serial },
            algorithm: (name, curve.unwrap_or_default()),
            key: key.to_vec(),
        })
    }

    /// The base64 of the certificate in a PEM file, in its usual form; none of one in any other form,
    /// of which OpenSSL takes some and some not.
    #[must_use]
    pub(super) fn base64_of_pem(pem: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(pem).ok()?;
        let (before, rest) = text.split_once("-----BEGIN CERTIFICATE-----\n")?;
        let (body, _) = rest.split_once("\n-----END CERTIFICATE-----")?;
        let is_usual = (before.is_empty() || before.ends_with('\n'))
            && !before.contains("-----BEGIN")
            && body.lines().all(|line| (1..=64).contains(&line.len()));
        let body: String = body.lines().collect();
        let certificate = Self::of_base64(&body);
        certificate.filter(|_| is_usual).map(|_| body)
    }

    /// The certificate whose DER this is in base64.
    #[must_use]
    pub(super) fn of_base64(base64: &str) -> Option<Self> {
        Self::parse(&STANDARD.decode(base64).ok()?)
    }
}

/// Why it can't be told whose a signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSignature {
    /// It is not PKCS #7, or damaged.
    #[error("it is no PKCS #7 signature")]
    Form,
    /// It signs more than the root hash, or not alone.
    #[error("it has attributes, contents or several signers")]
    Kind,
    /// Its digest is another one than SHA-256, SHA-384 and SHA-512.
    #[error("its digest is unknown")]
    Digest,
}

/// A detached PKCS #7 signature by one signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DetachedSignature {
    signer: SignerId,
    digest: SignatureDigest,
    signature: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignatureDigest {
    Sha256,
    Sha384,
    Sha512,
}

impl DetachedSignature {
    /// Parses DER.
    ///
    /// # Errors
    /// [`UnknownSignature`].
    pub(super) fn parse(der: &[u8]) -> Result<Self, UnknownSignature> {
        let (mut signers, has_contents) = signers(der).ok_or(UnknownSignature::Form)?;
        let mut signer = signers.enter(SEQUENCE).ok_or(UnknownSignature::Form)?;
        if has_contents || !signers.0.is_empty() {
            return Err(UnknownSignature::Kind);
        }
        let (id, digest) = id_and_digest(&mut signer).ok_or(UnknownSignature::Form)?;
        if signer.skip(FIRST) {
            return Err(UnknownSignature::Kind);
        }
        let digest = match digest {
            SHA256 => SignatureDigest::Sha256,
            SHA384 => SignatureDigest::Sha384,
            SHA512 => SignatureDigest::Sha512,
            _ => return Err(UnknownSignature::Digest),
        };
        let signature = signer.expect(SEQUENCE).and_then(|_| signer.expect(OCTET_STRING));
        let signature = signature.ok_or(UnknownSignature::Form)?.contents.to_vec();
        Ok(Self {
            signer: id,
            digest,
            signature,
        })
    }

    /// Whether it names this certificate as its signer's.
    #[must_use]
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        self.signer == certificate.id
    }

    /// Whether it is a signature of `text` by the key of a certificate.
    #[must_use]
    pub(super) fn is_of(&self, text: &[u8], certificate: &Certificate) -> bool {
        use SignatureDigest::{Sha256, Sha384, Sha512};
        let (algorithm, curve) = &certificate.algorithm;
        let algorithm: &'static dyn VerificationAlgorithm =
            match (algorithm.as_slice(), curve.as_slice(), self.digest) {
                (RSA, _, Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
                (RSA, _, Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
                (RSA, _, Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
                (EC, P256, Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
                (EC, P256, Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
                (EC, P384, Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
                (EC, P384, Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
                _ => return false,
            };
        UnparsedPublicKey::new(algorithm, &certificate.key)
            .verify(text, &self.signature)
            .is_ok()
    }
}

/// The signers of signed data, and whether what was signed is in it.
fn signers(der: &[u8]) -> Option<(DerElements<'_>, bool)> {
    let mut message = DerElements(der).enter(SEQUENCE)?;
    if message.expect(OBJECT)?.contents != SIGNED_DATA {
        return None;
    }
    let mut signed = message.enter(FIRST)?.enter(SEQUENCE)?;
    signed.expect(INTEGER)?;
    signed.expect(SET)?;
    let mut contents = signed.enter(SEQUENCE)?;
    let is_data = contents.expect(OBJECT)?.contents == DATA;
    let has_contents = !is_data || !contents.0.is_empty();
    // Certificates and lists of withdrawn ones, which nobody looks at.
    signed.skip(FIRST);
    signed.skip(SECOND);
    Some((signed.enter(SET)?, has_contents))
}

fn id_and_digest<'a>(signer: &mut DerElements<'a>) -> Option<(SignerId, &'a [u8])> {
    signer.expect(INTEGER)?;
    let mut id = signer.enter(SEQUENCE)?;
    let issuer = id.expect(SEQUENCE)?.whole.to_vec();
    let serial = id.expect(INTEGER)?.contents.to_vec();
    let digest = signer.enter(SEQUENCE)?.expect(OBJECT)?.contents;
    Some((SignerId { issuer, serial }, digest))
}
