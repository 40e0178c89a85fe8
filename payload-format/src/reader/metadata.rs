//! Header and manifest.

use std::sync::Arc;

use super::operations::Operations;
use super::{Event, FormatError, Intake, Part};
use crate::digest::Sha256Digest;
use crate::header::{Header, MajorVersion};
use crate::limits::Limits;
use crate::manifest::Manifest;

/// Bytes so far, the header's included.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    bytes: Vec<u8>,
}

impl Metadata {
    pub(super) fn part(&self) -> Part {
        if self.bytes.len() < Header::LEN {
            Part::Header
        } else {
            Part::Manifest
        }
    }

    /// Reads on; the event and what follows once all is there.
    pub(super) fn read(
        &mut self,
        intake: &mut Intake,
        limits: &Limits,
        input: &mut &[u8],
    ) -> Result<Option<(Event, Operations)>, FormatError> {
        if !intake.fill(&mut self.bytes, Header::LEN as u64, input) {
            return Ok(None);
        }
        let len = header(&self.bytes, limits)?.metadata_len;
        if !intake.fill(&mut self.bytes, len, input) {
            return Ok(None);
        }
        let manifest = Arc::new(parse(&self.bytes, limits)?);
        let sha256 = intake.hash.value();
        let operations = Operations::new(Arc::clone(&manifest), sha256, intake);
        let bytes = std::mem::take(&mut self.bytes);
        Ok(Some((
            Event::Metadata {
                manifest,
                bytes,
                sha256,
            },
            operations,
        )))
    }
}

/// What the header says, held against the limits.
struct Checked {
    version: MajorVersion,
    /// Of header and manifest.
    metadata_len: u64,
}

fn header(bytes: &[u8], limits: &Limits) -> Result<Checked, FormatError> {
    let truncated = FormatError::Truncated {
        at: bytes.len() as u64,
        part: Part::Header,
    };
    let header = Header::parse(bytes.first_chunk().ok_or(truncated)?)?;
    if header.manifest_len > limits.manifest_len {
        return Err(FormatError::ManifestLength {
            len: header.manifest_len,
            limit: limits.manifest_len,
        });
    }
    let metadata_len = header.manifest_len.saturating_add(Header::LEN as u64);
    match limits.metadata_size {
        Some(offered) if offered != metadata_len => Err(FormatError::MetadataSize {
            found: metadata_len,
            offered,
        }),
        _ => Ok(Checked {
            version: header.version,
            metadata_len,
        }),
    }
}

/// Header and manifest, whole.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Manifest, FormatError> {
    let header = header(bytes, limits)?;
    if header.metadata_len != bytes.len() as u64 {
        return Err(FormatError::Truncated {
            at: bytes.len() as u64,
            part: Part::Manifest,
        });
    }
    let manifest = match header.version {
        MajorVersion::V1 => Manifest::parse(&bytes[Header::LEN..], limits)?,
    };
    check_size(&manifest, header.metadata_len, limits)?;
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
            super::Checkpoint {
                next: crate::operation::OpId::FIRST,
                offset: intake.offset,
                metadata,
                payload: intake.hash.clone(),
            },
        )
    }
}
