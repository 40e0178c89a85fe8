//! Header, manifest and, from major version 2 on, the signatures of both.

use std::sync::Arc;

use super::operations::Operations;
use super::{Checkpoint, Event, FormatError, Hashes, Intake, Part};
use crate::digest::{RunningHash, Sha256Digest};
use crate::header::{Header, MajorVersion};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op_id::OpId;
use crate::signature::{PublicKeys, SignatureError};

/// What stands before a payload's data, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a> {
    version: MajorVersion,
    signed: &'a [u8],
    signatures: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// Takes the bytes of [`Event::Metadata`] apart. Of the manifest only its place is known.
    ///
    /// # Errors
    /// [`FormatError`] if they are not header, manifest and signatures, whole and alone.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let truncated = |part| FormatError::Truncated {
            at: bytes.len() as u64,
            part,
        };
        let header = Header::parse(bytes)?.ok_or_else(|| truncated(Part::Header))?;
        let MetadataLengths { signed, whole } = MetadataLengths::of(&header);
        let signed = usize::try_from(signed)
            .ok()
            .and_then(|len| bytes.split_at_checked(len));
        let (signed, signatures) = signed.ok_or_else(|| truncated(Part::Manifest))?;
        match whole.cmp(&(bytes.len() as u64)) {
            std::cmp::Ordering::Less => Err(FormatError::TrailingBytes(whole)),
            std::cmp::Ordering::Greater => Err(truncated(Part::MetadataSignatures)),
            std::cmp::Ordering::Equal => Ok(Self {
                version: header.version,
                signed,
                signatures,
            }),
        }
    }

    /// Of the payload.
    #[must_use]
    pub const fn version(&self) -> MajorVersion {
        self.version
    }

    /// Header and manifest: what signatures of the metadata sign, those in an offer included.
    #[must_use]
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// The blob of signatures after the manifest: empty in version 1, and if there are none.
    #[must_use]
    pub const fn signatures(&self) -> &'a [u8] {
        self.signatures
    }

    /// Checks the payload's own signatures of its metadata. After that every place, length and hash
    /// in the manifest is by the key's owner, and so all data that an operation is handed.
    ///
    /// # Errors
    /// [`SignatureError`] unless one of the keys made one. Version 1 has none:
    /// [`SignatureError::Unsigned`].
    pub fn verify(&self, keys: &PublicKeys) -> Result<(), SignatureError> {
        if self.signatures.is_empty() {
            return Err(SignatureError::Unsigned);
        }
        keys.verify_blob(self.version, &Sha256Digest::of(self.signed), self.signatures)
    }

    fn manifest(&self, limits: &Limits) -> Result<Manifest, FormatError> {
        let bytes = self.signed.get(self.version.header_len()..).unwrap_or_default();
        Ok(Manifest::parse(bytes, self.version, limits)?)
    }
}

/// What the header says of lengths, in bytes.
struct MetadataLengths {
    /// Of header and manifest.
    signed: u64,
    /// With the signatures of both.
    whole: u64,
}

impl MetadataLengths {
    fn of(header: &Header) -> Self {
        let signed = header
            .manifest_len
            .saturating_add(header.version.header_len() as u64);
        Self {
            signed,
            whole: signed.saturating_add(u64::from(header.metadata_signatures_len)),
        }
    }
}

/// The metadata as far as it came, header included.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    pub(super) fn part(&self) -> Part {
        match Header::parse(&self.bytes) {
            Ok(Some(header)) if (self.bytes.len() as u64) < MetadataLengths::of(&header).signed => {
                Part::Manifest
            }
            Ok(Some(_)) => Part::MetadataSignatures,
            Ok(None) | Err(_) => Part::Header,
        }
    }

    /// Reads on; the event and what follows once all is there.
    pub(super) fn read(
        &mut self,
        intake: &mut Intake,
        limits: &Limits,
        input: &mut &[u8],
    ) -> Result<Option<(Event, Operations)>, FormatError> {
        let Some(header) = self.header(intake, input)? else {
            return Ok(None);
        };
        let MetadataLengths { signed, whole } = check(&header, limits)?;
        // Within the limits; growth by doubling would take up to twice that.
        let missing = whole.saturating_sub(self.bytes.len() as u64);
        self.bytes.reserve_exact(usize::try_from(missing).unwrap_or(0));
        if !intake.fill(&mut self.bytes, signed, input) {
            return Ok(None);
        }
        // The payload's signatures leave those of the metadata out, so that both can be made at
        // once.
        if header.version == MajorVersion::V2 && intake.hashes.signed.is_none() {
            intake.hashes.signed = Some(intake.hashes.payload.clone());
        }
        if !intake.fill_unsigned(&mut self.bytes, whole, input) {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.bytes);
        let manifest = Arc::new(parse(&bytes, limits)?);
        let sha256 = intake.hashes.signed().value();
        let operations = Operations::new(Arc::clone(&manifest), Sha256Digest::of(&bytes), intake);
        let event = Event::Metadata {
            manifest,
            bytes,
            sha256,
        };
        Ok(Some((event, operations)))
    }

    fn header(&mut self, intake: &mut Intake, input: &mut &[u8]) -> Result<Option<Header>, FormatError> {
        for version in [MajorVersion::V1, MajorVersion::V2] {
            if !intake.fill(&mut self.bytes, version.header_len() as u64, input) {
                return Ok(None);
            }
            if let Some(header) = Header::parse(&self.bytes)? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// Holds what the header says against the limits.
fn check(header: &Header, limits: &Limits) -> Result<MetadataLengths, FormatError> {
    if header.manifest_len > limits.manifest_len {
        return Err(FormatError::ManifestLength {
            len: header.manifest_len,
            limit: limits.manifest_len,
        });
    }
    let signatures = u64::from(header.metadata_signatures_len);
    if signatures > Manifest::MAX_SIGNATURES {
        return Err(FormatError::MetadataSignatureLength(signatures));
    }
    let lengths = MetadataLengths::of(header);
    match limits.metadata_size {
        Some(offered) if offered != lengths.signed => Err(FormatError::MetadataSize {
            found: lengths.signed,
            offered,
        }),
        _ => Ok(lengths),
    }
}

/// All of the metadata.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Manifest, FormatError> {
    if let Some(header) = Header::parse(bytes)? {
        check(&header, limits)?;
    }
    let manifest = Metadata::parse(bytes)?.manifest(limits)?;
    check_size(&manifest, bytes.len() as u64, limits)?;
    Ok(manifest)
}

fn check_size(manifest: &Manifest, metadata_len: u64, limits: &Limits) -> Result<(), FormatError> {
    let len = metadata_len
        .saturating_add(manifest.data_len())
        .saturating_add(manifest.signatures_len());
    match limits.payload_size {
        Some(offered) if offered != len => Err(FormatError::PayloadSize { found: len, offered }),
        _ => Ok(()),
    }
}

impl Operations {
    /// Before the first operation, right after the metadata.
    fn new(manifest: Arc<Manifest>, metadata: Sha256Digest, intake: &Intake) -> Self {
        Self::at(
            manifest,
            Checkpoint {
                next: OpId::FIRST,
                offset: intake.offset,
                metadata,
                hashes: intake.hashes.clone(),
            },
        )
    }
}

impl Hashes {
    /// Of what the payload's signatures sign.
    pub(super) fn signed(&self) -> &RunningHash {
        self.signed.as_ref().unwrap_or(&self.payload)
    }
}
