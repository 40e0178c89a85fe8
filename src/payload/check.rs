//! The check whether nodes would install a payload: everything that each of them refuses and that
//! is known without one.
//!
//! Beside what [`verify`](super::verify) looks at, and before it: what nodes refuse of a manifest
//! ([`NodeRefusal`]). After it: operations are carried out by the code that carries them out on
//! nodes, so that data is unpacked with a node's limits. A full image is made and must have its
//! hash. Of a delta, zeros stand for the old image.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use payload_format::{
    Applier, ApplyError, ContentCopy, Event, Extent, ExtraPartitionLimits, Finished, Image, ImageKind,
    MajorVersion, Manifest, Operation, ReadBlocks, Sha256Digest, WriteBlocks,
};
use ring::digest::{Context, SHA256};

use super::construction::{Construction, ImageFile, hash, value};
use super::content::{self, BuildError};
use super::file::{PayloadError, PayloadFile};
use super::verify::{Trust, VerifyError, verify, verify_with};

/// Why nodes would not install a payload, or none can be said to.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is damaged, incomplete, no payload, or by nobody trusted.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What it brings is refused.
    #[error("{path} would be refused by every node")]
    Refused {
        /// The payload's file.
        path: PathBuf,
        /// The rule of nodes that it breaks.
        source: NodeRefusal,
    },
    /// An operation can't be carried out.
    #[error("{path} would fail on every node, at its {image} image")]
    Operation {
        /// The payload's file.
        path: PathBuf,
        /// The image that the operation makes.
        image: ImageKind,
        /// Why. Apart, since errors are returned from everywhere.
        source: Box<ApplyError>,
    },
    /// Its content doesn't make the image.
    #[error("{path} would fail on every node, at its content")]
    Content {
        /// The payload's file.
        path: PathBuf,
        /// Why. Apart, as above.
        source: Box<BuildError>,
    },
    /// Its operations make another image than it says.
    #[error(
        "{path} would fail on every node: its operations make a {image} image with SHA-256 {found}, the manifest says {expected}"
    )]
    Mismatch {
        /// The payload's file.
        path: PathBuf,
        /// The image that differs.
        image: ImageKind,
        /// As the manifest says.
        expected: Sha256Digest,
        /// SHA-256 of the image that the operations make.
        found: Sha256Digest,
    },
    /// There is no room for an image whose hash can't be taken on the way.
    #[error("cannot keep the {image} image of {path} below {} for a moment", std::env::temp_dir().display())]
    Spool {
        /// The payload's file.
        path: PathBuf,
        /// The image that is to be hashed.
        image: ImageKind,
        /// The system's error.
        source: io::Error,
    },
}

impl From<PayloadError> for CheckError {
    fn from(error: PayloadError) -> Self {
        Self::Verify(error.into())
    }
}

/// A payload that nodes take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Its hash and signatures.
    pub finished: Finished,
    /// The images whose result is not known, as they are made from old ones.
    pub deltas: Vec<ImageKind>,
}

/// Reads the whole payload: structure, hashes, signatures, what nodes refuse of manifests, and what
/// its operations do.
///
/// # Errors
/// [`CheckError`].
pub fn check(payload: &PayloadFile, trust: &Trust) -> Result<CheckReport, CheckError> {
    let path = || payload.path().to_owned();
    if payload.beginning()?.0.version == MajorVersion::V1 {
        // Nobody vouches for its metadata before its end: whoever made it would say how much is
        // unpacked here.
        verify(payload, trust)?;
    }
    let (mut trials, mut deltas) = (Vec::new(), Vec::new());
    let (finished, _) = verify_with(payload, trust, |event| {
        if let Event::Metadata { manifest, .. } = event {
            let images = manifest.images().iter();
            let kinds = images.clone().map(|image| (Some(image.kind), image.is_delta()));
            if let Some(source) = refusals_of_images(kinds).into_iter().next() {
                return Err(CheckError::Refused { path: path(), source });
            }
            deltas.extend(
                images
                    .clone()
                    .filter(|image| image.is_delta())
                    .map(|image| image.kind),
            );
            let begun = images.map(|image| TrialImage::begin(payload.path(), manifest, image));
            trials = begun.collect::<Result<_, _>>()?;
        }
        trials.iter_mut().try_for_each(|trial| trial.take(event))
    })?;
    let copies = trials
        .iter()
        .map(TrialImage::copy)
        .collect::<Result<Vec<_>, _>>()?;
    let copies: Vec<_> = copies.into_iter().flatten().collect();
    let mut built = trials.iter().map(|trial| trial.build_content(payload, &copies));
    built.try_for_each(|built| built)?;
    trials.into_iter().try_for_each(TrialImage::finish)?;
    Ok(CheckReport { finished, deltas })
}

/// Why every node refuses a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeRefusal {
    /// No key can vouch for it.
    #[error("the payload is not signed")]
    Unsigned,
    /// No key can vouch for its metadata, as one must before the first write.
    #[error("its metadata is not signed, as that of major version 2 must be")]
    MetadataUnsigned,
    /// A delta of what is never kept.
    #[error("its {0} is a delta, and nodes keep no old one")]
    NoOld(ImageKind),
    /// More partitions than a configuration can name.
    #[error(
        "it brings {0} partitions beside usr, kernel and pcr_policy; a node's configuration names {max} at most",
        max = ExtraPartitionLimits::MAX
    )]
    Partitions(usize),
}

/// Of what it builds: each image by what it is on nodes, if it is any, and whether it is a delta.
pub(super) fn refusals_of_images(
    images: impl Iterator<Item = (Option<ImageKind>, bool)> + Clone,
) -> Vec<NodeRefusal> {
    let kinds = images.clone().filter_map(|(kind, _)| kind);
    let extra_partitions = kinds
        .filter(|kind| matches!(kind, ImageKind::ExtraPartition(_)))
        .count();
    let mut refusals: Vec<_> = images
        .filter_map(|(kind, is_delta)| kind.filter(|kind| is_delta && !kind.has_old()))
        .map(NodeRefusal::NoOld)
        .collect();
    if extra_partitions > ExtraPartitionLimits::MAX {
        refusals.push(NodeRefusal::Partitions(extra_partitions));
    }
    refusals
}

/// Of the bytes of its signatures: its own, and those of its metadata.
pub(super) fn refusals_of_signatures(version: MajorVersion, own: u64, of_metadata: u64) -> Vec<NodeRefusal> {
    let of_metadata = version == MajorVersion::V2 && of_metadata == 0;
    let of_metadata = of_metadata.then_some(NodeRefusal::MetadataUnsigned);
    let own = (own == 0).then_some(NodeRefusal::Unsigned);
    own.into_iter().chain(of_metadata).collect()
}

/// One image on trial.
struct TrialImage {
    path: PathBuf,
    kind: ImageKind,
    image: Image,
    construction: Construction,
    result: ResultSink,
}

/// What becomes of what operations write.
enum ResultSink {
    /// It is a delta's, and means nothing without the old image.
    Dropped,
    /// They write from front to back: it is hashed on the way.
    InOrder(Arc<InOrder>),
    /// It lies in a file without a name.
    Spooled(File),
}

impl TrialImage {
    /// Begins with one of the images of a payload at `path`.
    fn begin(path: &Path, manifest: &Arc<Manifest>, image: &Image) -> Result<Self, CheckError> {
        let kind = image.kind;
        let spool = |source| CheckError::Spool {
            path: path.to_owned(),
            image: kind,
            source,
        };
        let (result, target): (_, Arc<dyn WriteBlocks>) = if image.is_delta() {
            (ResultSink::Dropped, Arc::new(Nowhere))
        } else if !is_content(image) && is_in_order(manifest, image) {
            let hashed = Arc::new(InOrder::new(image.new.size));
            (ResultSink::InOrder(Arc::clone(&hashed)), hashed)
        } else {
            let file = tempfile::tempfile().map_err(spool)?;
            let target = file.try_clone().map_err(spool)?;
            (ResultSink::Spooled(file), Arc::new(ImageFile(target)))
        };
        let applier = Applier::without_old(Arc::clone(manifest), kind, target);
        let applier = applier.map_err(|source| failed(path, kind, source))?;
        Ok(Self {
            path: path.to_owned(),
            kind,
            image: image.clone(),
            construction: Construction::new(manifest, kind, applier),
            result,
        })
    }

    /// Does what an event asks for, if it is about this image.
    fn take(&mut self, event: &Event) -> Result<(), CheckError> {
        let done = self.construction.take(event);
        done.map_err(|source| failed(&self.path, self.kind, source))
    }

    /// Holds what came of it against what the manifest says.
    fn finish(self) -> Result<(), CheckError> {
        let new = self.image.new;
        let (path, image, expected) = (self.path, self.kind, new.sha256);
        let found = match self.result {
            ResultSink::Dropped => return Ok(()),
            ResultSink::InOrder(hashed) => hashed.value(),
            ResultSink::Spooled(file) => match hash(&file, new.size) {
                Ok(found) => found,
                Err(source) => return Err(CheckError::Spool { path, image, source }),
            },
        };
        if found == expected {
            return Ok(());
        }
        Err(CheckError::Mismatch {
            path,
            image,
            expected,
            found,
        })
    }
}

impl TrialImage {
    /// Where the image of a content payload is made, or one that is part of its content.
    fn target(&self) -> Result<Option<Arc<ImageFile>>, CheckError> {
        let ResultSink::Spooled(file) = &self.result else {
            return Ok(None);
        };
        let target = file.try_clone().map_err(|source| CheckError::Spool {
            path: self.path.clone(),
            image: self.kind,
            source,
        })?;
        Ok(Some(Arc::new(ImageFile(target))))
    }

    /// The part of the slot's content that it is, if it is one.
    fn copy(&self) -> Result<Option<ContentCopy>, CheckError> {
        let target = self.target()?;
        Ok(target.and_then(|target| content::copy_of(&self.image, target)))
    }

    /// Makes the image of a content payload, all of it from the payload, and `copies` of its
    /// content.
    fn build_content(&self, payload: &PayloadFile, copies: &[ContentCopy]) -> Result<(), CheckError> {
        let (Some(tables), Some(target)) = (&self.image.content, self.target()?) else {
            return Ok(());
        };
        let image = (tables, self.image.new.size);
        let built = content::build(payload, image, None, (target, copies));
        built.map(drop).map_err(|source| CheckError::Content {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }
}

fn failed(path: &Path, image: ImageKind, source: payload_format::ApplyError) -> CheckError {
    CheckError::Operation {
        path: path.to_owned(),
        image,
        source: Box::new(source),
    }
}

/// Whether it is made of content: its own, or the slot's.
const fn is_content(image: &Image) -> bool {
    image.content.is_some() || image.content_start.is_some()
}

/// Whether the operations write each block once, from the first on, and read none.
fn is_in_order(manifest: &Manifest, image: &Image) -> bool {
    let mut next = 0;
    let mut continues = |extent: &Extent| match extent {
        Extent::Hole(_) => true,
        Extent::Blocks(range) => std::mem::replace(&mut next, range.end()) == range.start(),
    };
    let mut operations = manifest.operations_of(image).iter();
    operations.all(|operation: &Operation| {
        operation.kind.source().is_none() && operation.destination.iter().all(&mut continues)
    })
}

/// Hashes an image that is written from front to back.
struct InOrder {
    /// Bytes of the image; what is written behind them doesn't count.
    size: u64,
    so_far: Mutex<(Context, u64)>,
}

impl InOrder {
    fn new(size: u64) -> Self {
        Self {
            size,
            so_far: Mutex::new((Context::new(&SHA256), 0)),
        }
    }

    fn value(&self) -> Sha256Digest {
        let so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        value(so_far.0.clone())
    }
}

impl ReadBlocks for InOrder {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        // Only operations with a source read.
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl WriteBlocks for InOrder {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let (context, written) = &mut *so_far;
        if *written != offset {
            return Err(io::Error::other(format!("{offset} is written after {written}")));
        }
        let counts = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        context.update(&bytes[..bytes.len().min(counts)]);
        *written += bytes.len() as u64;
        Ok(())
    }
}

/// Holds zeros, whatever is written.
struct Nowhere;

impl ReadBlocks for Nowhere {
    fn read_at(&self, bytes: &mut [u8], _: u64) -> io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

impl WriteBlocks for Nowhere {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}
