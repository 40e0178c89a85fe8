//! Writing full payloads.
//!
//! ```text
//!             1 MiB chunks      all cores          in order
//!   image  ──▶ feeder ────────▶ compressed ──────▶ spool ──┐      ┌ header, manifest
//!   kernel ──▶ (hashes it)      or not: the smallest       │      │ signatures of these (version 2)
//!                                                          ├────▶ ┤ data
//!              offsets, lengths, hashes ──▶ manifest ──────┘      └ signatures of header, manifest, data
//! ```
//!
//! The manifest stands before the data and names the length of each piece, so compressed data goes to a
//! spool first: memory stays bounded (per thread about 12 MiB with bzip2, 36 with all of them) whatever the size of the image.
//!
//! The same input gives the same bytes, on any number of threads, and in version 1 with bzip2 the same bytes as
//! the original's generator where an image is a multiple of 1 MiB. (The last operation of another image ends with the
//! image's last block, so that it fits every slot that the image fits. The original's claims a whole
//! chunk.)
//!
//! Private keys are used here and nowhere else: payloads are signed where they are built, away from
//! nodes. See [`RsaSigner`]. Where the key is kept elsewhere, [`sign_unsigned`] adds the signatures to a payload that
//! was written without.

mod assemble;
mod chunk;
mod compressor;
mod delta;
mod draft;
mod error;
mod press;
mod sign;
mod stream;
mod unsigned;

use std::io::{Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use prost::Message as _;

use self::chunk::Effort;
pub use self::delta::{DeltaPayload, Snapshot};
pub use self::error::{Input, WriteError};
use self::press::{Press, Section};
pub use self::sign::{RsaSigner, SignError, Signer};
pub use self::unsigned::{Signed, UnsignedError, sign_unsigned};
use crate::apply::Compression;
use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::partition::{FurtherPartitions, PartitionName};

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
}

/// A full payload to be: what goes into it, and who signs it.
pub struct FullPayload<'a> {
    image: &'a mut (dyn Read + Send),
    kernel: Option<&'a mut (dyn Read + Send)>,
    further: Vec<(PartitionName, &'a mut (dyn Read + Send))>,
    signers: Vec<&'a dyn Signer>,
    threads: NonZeroUsize,
    version: MajorVersion,
    compressions: Vec<Compression>,
}

impl<'a> FullPayload<'a> {
    /// A payload of version 1 that writes `image` to a slot: unsigned, without kernel, compressed with bzip2 on
    /// one thread.
    #[must_use]
    pub fn new(image: &'a mut (dyn Read + Send)) -> Self {
        Self {
            image,
            kernel: None,
            further: Vec::new(),
            signers: Vec::new(),
            threads: NonZeroUsize::MIN,
            version: MajorVersion::V1,
            compressions: vec![Compression::Bzip2],
        }
    }

    /// Adds the kernel file that belongs to the image.
    #[must_use]
    pub fn with_kernel(mut self, kernel: &'a mut (dyn Read + Send)) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// Adds a partition beside the slot, of a name not added before. Version 2 alone has such.
    #[must_use]
    pub fn with_partition(mut self, name: PartitionName, image: &'a mut (dyn Read + Send)) -> Self {
        self.further.push((name, image));
        self
    }

    /// Writes this layout, each chunk in the smallest of these forms or as it is. Version 1 knows bzip2 alone.
    #[must_use]
    pub fn with_format(mut self, version: MajorVersion, compressions: &[Compression]) -> Self {
        self.version = version;
        self.compressions = compressions.to_vec();
        self
    }

    /// Adds a signature. In version 1 entry versions tell clients which one is theirs, and those of today look for
    /// version 2: a single signature gets 2, several get 1, 2, 3… in the order of the calls. So the second
    /// of several keys must be the one that clients know.
    #[must_use]
    pub fn with_signer(mut self, signer: &'a dyn Signer) -> Self {
        self.signers.push(signer);
        self
    }

    /// Compresses on so many threads.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Writes the payload to `out`. `spool` is an empty file for as long as this takes; it will hold all
    /// of the payload's data. `progress` is told how many bytes of the image and the kernel are done.
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
            further,
            signers,
            threads,
            version,
            compressions,
        } = self;
        supported(version, &compressions)?;
        if let (MajorVersion::V1, Some((name, _))) = (version, further.first()) {
            return Err(WriteError::Further(*name));
        }
        let effort = Effort {
            threads,
            compressions: &compressions,
        };
        let mut press = Press::new(spool, version, effort, progress);
        let image = press.section(Input::Image, image)?;
        let kernel = kernel
            .map(|kernel| press.section(Input::Kernel, kernel))
            .transpose()?;
        let further = further
            .into_iter()
            .map(|(name, image)| Ok((name, press.section(Input::Further(name), image)?)))
            .collect::<Result<_, WriteError>>()?;
        spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let contents = Contents {
            version,
            limits: anywhere(),
            image,
            kernel,
            further,
            signers: &signers,
        };
        contents.write(spool, out)
    }
}

impl std::fmt::Debug for FullPayload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FullPayload")
            .field("kernel", &self.kernel.is_some())
            .field("signers", &self.signers.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The limits of nodes, whatever slots and partitions they have.
const fn anywhere() -> Limits {
    Limits {
        further: FurtherPartitions::Any,
        ..Limits::for_slot(u64::MAX)
    }
}

/// All of a payload but its data.
struct Contents<'a> {
    version: MajorVersion,
    /// Of the nodes that read it.
    limits: Limits,
    image: Section,
    kernel: Option<Section>,
    further: Vec<(PartitionName, Section)>,
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
            further,
            signers,
        } = self;
        let (image_size, image_sha256, operations) = (image.size, image.sha256, image.operations.len());
        let files = kernel.iter().chain(further.iter().map(|(_, section)| section));
        let data_len = image.data_len + files.map(|section| section.data_len).sum::<u64>();
        let signatures_size = sign::blob_len(version, signers)?;
        let manifest = draft::manifest(version, image, kernel, further, signatures_size)?.encode_to_vec();
        // Readers have limits: whatever they would refuse isn't written. Which partitions a node has is its own affair.
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
