//! The builder of a payload: the images that it makes, and its options.

use std::io::Read;
use std::num::NonZeroUsize;

use super::{Signer, Snapshot};
use crate::apply::Compression;
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::ImageRelease;
use crate::operation::PatchKind;
use crate::partition::{ExtraPartitionLimits, PartitionName};

/// A payload to be, made of images of type `I`: see [`FullPayload`] and [`DeltaPayload`].
pub struct PayloadBuilder<'a, I> {
    pub(super) image: I,
    pub(super) kernel: Option<I>,
    pub(super) extra_partitions: Vec<(PartitionName, I)>,
    pub(super) signers: Vec<&'a dyn Signer>,
    pub(super) threads: NonZeroUsize,
    pub(super) version: MajorVersion,
    pub(super) compressions: Vec<Compression>,
    /// Of the nodes that read it.
    pub(super) limits: Limits,
    /// Of deltas; a full payload has none.
    pub(super) patches: Vec<PatchKind>,
    pub(super) release: Option<ImageRelease>,
    /// Of content payloads: old images that there are patches for.
    pub(super) predecessors: Vec<Snapshot<'a>>,
}

/// A payload that needs no old image. Each image is read once, from its beginning.
pub type FullPayload<'a> = PayloadBuilder<'a, &'a mut (dyn Read + Send)>;

/// A payload of version 2 that makes images of old ones.
pub type DeltaPayload<'a> = PayloadBuilder<'a, DeltaImage<'a>>;

/// A payload of version 2 whose image is made of its content, whatever of it nodes have. Kernel and
/// extra partitions are sent as in a full payload.
pub type ContentPayload<'a> = PayloadBuilder<'a, Snapshot<'a>>;

/// An image of a delta.
#[derive(Debug, Clone, Copy)]
pub struct DeltaImage<'a> {
    /// What it is made from; without, it is sent whole.
    pub old: Option<Snapshot<'a>>,
    /// What it becomes.
    pub new: Snapshot<'a>,
}

impl<'a, I> PayloadBuilder<'a, I> {
    pub(super) fn of(image: I) -> Self {
        Self {
            image,
            kernel: None,
            extra_partitions: Vec::new(),
            signers: Vec::new(),
            threads: NonZeroUsize::MIN,
            version: MajorVersion::V1,
            compressions: vec![Compression::Bzip2],
            limits: anywhere(),
            patches: Vec::new(),
            release: None,
            predecessors: Vec::new(),
        }
    }

    /// Adds the kernel file that belongs to the image. A delta of it needs exactly the old one
    /// beside the old image.
    #[must_use]
    pub fn with_kernel(mut self, kernel: I) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// Adds an extra partition, of a name not added before. Version 2 alone has such. A delta of it
    /// needs exactly the old one beside the old image.
    #[must_use]
    pub fn with_partition(mut self, name: PartitionName, image: I) -> Self {
        self.extra_partitions.push((name, image));
        self
    }

    /// Writes down what the image says of itself, so that nodes can judge it before they write
    /// anything. Version 2 alone has a place for it.
    #[must_use]
    pub fn with_release(mut self, release: ImageRelease) -> Self {
        self.release = Some(release);
        self
    }

    /// Adds a signature; in version 2, of metadata and payload, and any one by a key that nodes
    /// trust will do. In version 1 entry versions tell clients which one is theirs, and those of
    /// today look for version 2: a single signature gets 2, several get 1, 2, 3… in the order of
    /// the calls. So the second of several keys must be the one that clients know.
    #[must_use]
    pub fn with_signer(mut self, signer: &'a dyn Signer) -> Self {
        self.signers.push(signer);
        self
    }

    /// Packs what is new in the smallest of these forms, or leaves it as it is.
    #[must_use]
    pub fn with_compressions(mut self, compressions: &[Compression]) -> Self {
        self.compressions = compressions.to_vec();
        self
    }

    /// Works on so many threads.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }
}

impl<I> std::fmt::Debug for PayloadBuilder<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadBuilder")
            .field("kernel", &self.kernel.is_some())
            .field("signers", &self.signers.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The limits of nodes, whatever slots and partitions they have.
const fn anywhere() -> Limits {
    Limits {
        extra_partitions: ExtraPartitionLimits::Any,
        ..Limits::for_slot(u64::MAX)
    }
}
