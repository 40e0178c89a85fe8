//! The checked manifest: once it exists, every place, length and reference in it holds.
//!
//! ```text
//!  bytes ──scan──▶ counts within limits ──prost──▶ wire messages ──check──▶ Manifest
//!                  (nothing allocated yet)         (every field optional)     └ in-place plan per image
//! ```

mod check;
pub(crate) mod cursor;
mod error;
mod image;
mod operation;
mod release;
mod room;
mod scan;

pub use error::{ManifestError, OperationError};
pub use release::ImageRelease;

use std::sync::Arc;

use prost::Message;

use crate::block::BlockSize;
use crate::content::ContentTables;
use crate::header::MajorVersion;
use crate::image::{Image, ImageKind};
use crate::limits::Limits;
use crate::op_id::OpId;
use crate::operation::Operation;
use crate::wire;

/// What a payload does. Made by [`Self::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    version: MajorVersion,
    block_size: BlockSize,
    images: Vec<Image>,
    /// Where the slot's image stands among them.
    partition: usize,
    operations: Vec<Operation>,
    /// Of operations and content.
    data_len: u64,
    signatures_len: u64,
    release: Option<ImageRelease>,
}

impl Manifest {
    /// Bytes of a signature blob at most: some hundred signatures.
    pub const MAX_SIGNATURES: u64 = 64 << 10;

    /// The last minor version of major version 2 that was there when this was written. Minor
    /// versions tell which operations a reader must know; here the operations tell it themselves.
    pub const MAX_MINOR_VERSION: u32 = 10;

    /// The minor version of content payloads, which readers that know no content tables refuse.
    pub const CONTENT_MINOR_VERSION: u32 = 50_001;

    /// Reads the manifest's bytes.
    ///
    /// # Errors
    /// [`ManifestError`] says which field or operation is wrong, with its value.
    pub fn parse(bytes: &[u8], version: MajorVersion, limits: &Limits) -> Result<Self, ManifestError> {
        let sifted = scan::sift(bytes, limits)?;
        let wire = wire::DeltaArchiveManifest::decode(&sifted.rest[..]).map_err(ManifestError::Protobuf)?;
        check::manifest(wire, sifted, version, limits, &mut Err)
    }

    /// Everything that [`Self::parse`] may refuse, of each image the first: for people, who want to
    /// know all of it. Empty if it refuses nothing.
    #[must_use]
    pub fn refusals(bytes: &[u8], version: MajorVersion, limits: &Limits) -> Vec<ManifestError> {
        let mut refusals = Vec::new();
        let result = scan::sift(bytes, limits).and_then(|sifted| {
            let wire = wire::DeltaArchiveManifest::decode(&sifted.rest[..]);
            let mut refuse = |error| {
                refusals.push(error);
                Ok(())
            };
            check::manifest(
                wire.map_err(ManifestError::Protobuf)?,
                sifted,
                version,
                limits,
                &mut refuse,
            )
        });
        match result {
            // Without a slot there is no manifest; why there is none has been told.
            Err(ManifestError::NoPartition) | Ok(_) => {}
            Err(error) => refusals.push(error),
        }
        refusals
    }

    /// The layout that the payload has.
    #[must_use]
    pub const fn version(&self) -> MajorVersion {
        self.version
    }

    /// The unit of all extents.
    #[must_use]
    pub const fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// The slot's image.
    #[must_use]
    pub fn partition(&self) -> &Image {
        // Invariant: an index into `images`, by `check::manifest`.
        &self.images[self.partition]
    }

    /// The image of that kind, if this payload builds it.
    #[must_use]
    pub fn image(&self, kind: ImageKind) -> Option<&Image> {
        self.images.iter().find(|image| image.kind == kind)
    }

    /// All images in the payload's order.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// All operations, by [`OpId`].
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// One operation, if there are so many.
    #[must_use]
    pub fn operation(&self, id: OpId) -> Option<&Operation> {
        self.operations.get(id.index())
    }

    /// The operations of one image, in order.
    #[must_use]
    pub fn operations_of(&self, image: &Image) -> &[Operation] {
        self.operations.get(image.indices()).unwrap_or_default()
    }

    /// The partition is built from an old one.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.partition().is_delta()
    }

    /// There is a signature blob. An unsigned payload can be refused here, before anything is
    /// written; what the blob is worth is known at the end.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signatures_len > 0
    }

    /// What the slot's image says of itself, in payloads of version 2 whose generator has written it
    /// down.
    #[must_use]
    pub const fn release(&self) -> Option<&ImageRelease> {
        self.release.as_ref()
    }

    /// Bytes of memory that it takes, about. Mostly far below a megabyte; within the limits it can
    /// be some twenty.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let operations = self.operations.iter();
        let memory: usize = operations.map(Operation::memory).sum();
        memory as u64 + self.content().map_or(0, |content| content.memory())
    }

    /// The content tables of the slot's image, in content payloads.
    #[must_use]
    pub fn content(&self) -> Option<&Arc<ContentTables>> {
        self.partition().content.as_ref()
    }

    /// Bytes of all operations' data, and of all content.
    #[must_use]
    pub const fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Bytes of the signature blob; 0 if unsigned.
    #[must_use]
    pub const fn signatures_len(&self) -> u64 {
        self.signatures_len
    }
}

#[cfg(test)]
mod tests;
