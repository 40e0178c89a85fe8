//! The payload writer.
//!
//! ```text
//!             1 MiB chunks      all cores          in order
//!   image  ──▶ feeder ────────▶ compressed ──────▶ spool ──┐      ┌ header, manifest
//!   kernel ──▶ (hashes it)      or not: the smallest       │      │ signatures of these (version 2)
//!                                                          ├────▶ ┤ data
//!              offsets, lengths, hashes ──▶ manifest ──────┘      └ signatures of header, manifest, data
//! ```
//!
//! The manifest stands before the data and names the length of each piece, so compressed data goes
//! to a spool first: memory stays bounded (per thread about 12 MiB with bzip2, 36 with all of them)
//! whatever the size of the image.
//!
//! The same input gives the same bytes, on any number of threads, and in version 1 with bzip2 the
//! same bytes as the original's generator where an image is a multiple of 1 MiB. (The last
//! operation of another image ends with the image's last block, so that it fits every slot that the
//! image fits. The original's claims a whole chunk.)
//!
//! Private keys are used here and nowhere else: payloads are signed where they are built, away from
//! nodes. See [`RsaSigner`]. Where the key is kept elsewhere, [`sign_unsigned`] adds the signatures
//! to a payload that was written without.

mod assemble;
mod builder;
mod chunk;
mod compressor;
mod content;
mod delta;
mod error;
mod hashing_writer;
mod manifest_builder;
mod section;
mod sign;
mod unsigned;

use std::io::{Read, Seek, SeekFrom, Write};

use prost::Message as _;

pub use self::builder::{ContentPayload, DeltaImage, DeltaPayload, FullPayload, PayloadBuilder};
use self::chunk::CompressionOptions;
pub use self::content::ContentOptions;
pub use self::delta::{ImageFiles, Snapshot};
pub use self::error::{Input, WriteError};
use self::section::{Section, SectionBuilder};
pub use self::sign::{RsaSigner, SignError, Signer};
pub use self::unsigned::{Signed, UnsignedError, sign_unsigned};
use crate::apply::Compression;
use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::{ImageRelease, Manifest};
use crate::partition::PartitionName;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the payload.
    pub payload_size: u64,
    /// SHA-256 of the payload, for the offer.
    pub payload_sha256: Sha256Digest,
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// Bytes of the image.
    pub image_size: u64,
    /// SHA-256 of the image.
    pub image_sha256: Sha256Digest,
    /// Operations for the partition.
    pub operations: usize,
    /// Signatures at its end.
    pub signatures: usize,
    /// Whether its manifest says what the image is.
    pub has_release: bool,
}

impl<'a> FullPayload<'a> {
    /// A payload of version 1 that writes `image` to a slot: unsigned, without kernel, compressed
    /// with bzip2 on one thread.
    #[must_use]
    pub fn new(image: &'a mut (dyn Read + Send)) -> Self {
        Self::of(image)
    }

    /// Writes this layout. Version 1 knows bzip2 alone.
    #[must_use]
    pub fn with_version(mut self, version: MajorVersion) -> Self {
        self.version = version;
        self
    }

    /// Writes the payload to `out`. `spool` is an empty file for as long as this takes; it will
    /// hold all of the payload's data. `progress` is told how many bytes of the image and the
    /// kernel are done.
    ///
    /// # Errors
    /// [`WriteError`]; `out` then holds nothing of use.
    pub fn write<S, W>(
        self,
        spool: &mut S,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Summary, WriteError>
    where
        S: Read + Write + Seek,
        W: Write,
    {
        let Self {
            image,
            kernel,
            extra_partitions,
            signers,
            threads,
            version,
            compressions,
            limits,
            release,
            ..
        } = self;
        supported(version, &compressions)?;
        if let (MajorVersion::V1, Some((name, _))) = (version, extra_partitions.first()) {
            return Err(WriteError::ExtraPartition(*name));
        }
        let options = CompressionOptions {
            threads,
            compressions: &compressions,
        };
        let mut sections = SectionBuilder::new(spool, version, options, progress);
        let image = sections.section(Input::Image, image)?;
        let kernel = kernel
            .map(|kernel| sections.section(Input::Kernel, kernel))
            .transpose()?;
        let extra_partitions = extra_partitions
            .into_iter()
            .map(|(name, image)| Ok((name, sections.section(Input::ExtraPartition(name), image)?)))
            .collect::<Result<_, WriteError>>()?;
        spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let contents = Contents {
            version,
            limits,
            image,
            kernel,
            extra_partitions,
            release,
            signers: &signers,
        };
        contents.write(spool, out)
    }
}

/// All of a payload but its data.
struct Contents<'a> {
    version: MajorVersion,
    /// Of the nodes that read it.
    limits: Limits,
    image: Section,
    kernel: Option<Section>,
    extra_partitions: Vec<(PartitionName, Section)>,
    release: Option<ImageRelease>,
    signers: &'a [&'a dyn Signer],
}

impl Contents<'_> {
    /// Writes the payload, with the data that the sections speak of.
    fn write(self, data: impl Read, out: impl Write) -> Result<Summary, WriteError> {
        let Self {
            version,
            limits,
            image,
            kernel,
            extra_partitions,
            release,
            signers,
        } = self;
        let (image_size, image_sha256, operations) = (image.size, image.sha256, image.operations.len());
        let files = kernel
            .iter()
            .chain(extra_partitions.iter().map(|(_, section)| section));
        let data_len = image.data_len + files.map(|section| section.data_len).sum::<u64>();
        let signatures_size = sign::blob_len(version, signers)?;
        let mut manifest =
            manifest_builder::build(version, image, kernel, extra_partitions, signatures_size)?;
        if version == MajorVersion::V2 {
            manifest.image_release = release.as_ref().map(Into::into);
        }
        let has_release = manifest.image_release.is_some();
        let manifest = manifest.encode_to_vec();
        // Readers have limits: whatever they would refuse isn't written. Which partitions a node
        // has is its own affair.
        let (len, limit) = (manifest.len() as u64, limits.manifest_len);
        if len > limit {
            return Err(WriteError::TooLong { len, limit });
        }
        Manifest::parse(&manifest, version, &limits).map_err(WriteError::Refused)?;
        let assembled = assemble::assemble(version, &manifest, (data, data_len), signers, out)?;
        Ok(Summary {
            payload_size: assembled.payload_size,
            payload_sha256: assembled.payload_sha256,
            metadata_size: assembled.metadata_size,
            image_size,
            image_sha256,
            operations,
            signatures: signers.len(),
            has_release,
        })
    }
}

fn supported(version: MajorVersion, compressions: &[Compression]) -> Result<(), WriteError> {
    let foreign = |compression: &&Compression| **compression != Compression::Bzip2;
    match (version, compressions.iter().find(foreign)) {
        (MajorVersion::V1, Some(compression)) => Err(WriteError::Compression(*compression)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
