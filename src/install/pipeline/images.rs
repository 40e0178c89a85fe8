//! The sources and targets of operations: for each image that the payload builds, the old one and
//! the one under construction.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use payload_format::{
    Applier, ApplyError, BlockRange, ContentCopy, Image, ImageKind, Manifest, OpId, ReadBlocks, Streamed,
    WriteBlocks,
};

use crate::disk::BlockTarget;
use crate::install::InstallError;
use crate::install::attempt::AttemptSetup;
use crate::install::targets::{ImageDevice, Targets};

/// All images that a payload builds.
pub(in crate::install) struct OpenImages {
    manifest: Arc<Manifest>,
    sites: Vec<OpenImage>,
}

/// One image under construction.
struct OpenImage {
    kind: ImageKind,
    name: String,
    target: ImageDevice,
    /// The old image, if operations read one.
    source: Option<ImageDevice>,
    applier: Applier,
}

impl OpenImages {
    /// Opens what the manifest's operations need. Files that are missing are made.
    ///
    /// # Errors
    /// If anything can't be opened.
    pub(in crate::install) fn open(
        attempt: &AttemptSetup,
        manifest: &Arc<Manifest>,
        targets: &Targets,
    ) -> Result<Self, InstallError> {
        let site = |image: &Image| {
            let place = targets.of(attempt, image.kind)?;
            let (source, target) = (place.open_source(image)?, place.open(image)?);
            let old = source.clone();
            let old = old.map(|old| Arc::new(OldBlocks::new(old)) as Arc<dyn ReadBlocks>);
            let new = Arc::new(NewBlocks::new(Arc::clone(&target)));
            let applier = Applier::new(Arc::clone(manifest), image.kind, old, new)?;
            Ok(OpenImage {
                kind: image.kind,
                name: place.name(),
                target,
                source,
                applier,
            })
        };
        let sites = manifest.images().iter().map(site);
        Ok(Self {
            manifest: Arc::clone(manifest),
            sites: sites.collect::<Result<_, InstallError>>()?,
        })
    }

    /// Carries out an operation.
    ///
    /// # Errors
    /// See [`Applier::apply`].
    pub(in crate::install) fn apply(&self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        self.applier(op)?.apply(op, data)
    }

    /// Begins an operation whose data comes in pieces.
    ///
    /// # Errors
    /// See [`Applier::stream`].
    pub(in crate::install) fn stream(&self, op: OpId) -> Result<Streamed, ApplyError> {
        self.applier(op)?.stream(op)
    }

    /// Copies blocks from the old image.
    ///
    /// # Errors
    /// See [`Applier::copy`].
    pub(super) fn copy(&self, image: ImageKind, blocks: BlockRange) -> Result<(), ApplyError> {
        self.site(image)?.applier.copy(blocks)
    }

    /// The images that are part of the slot's content, and where they are written.
    pub(in crate::install) fn content_copies(&self) -> Vec<ContentCopy> {
        let copy = |image: &Image| {
            let start = image.content_start?;
            let site = self.site(image.kind).ok()?;
            Some(ContentCopy {
                start,
                len: image.new.size,
                target: Arc::new(NewBlocks::new(Arc::clone(&site.target))),
            })
        };
        self.manifest.images().iter().filter_map(copy).collect()
    }

    fn applier(&self, op: OpId) -> Result<&Applier, ApplyError> {
        let image = self.manifest.operation(op).map(|operation| operation.image);
        let site = self.site(image.unwrap_or(ImageKind::Slot))?;
        Ok(&site.applier)
    }

    fn site(&self, image: ImageKind) -> Result<&OpenImage, ApplyError> {
        let site = self.sites.iter().find(|site| site.kind == image);
        site.ok_or(ApplyError::NoImage(image))
    }

    /// Returns once everything written so far is on the medium, and gives up its pages and those
    /// read.
    ///
    /// # Errors
    /// The first one that can't be synced.
    pub(in crate::install) fn sync(&self) -> Result<(), InstallError> {
        for site in &self.sites {
            site.target
                .sync()
                .map_err(InstallError::io("syncing", &site.name))?;
            site.target.forget(0, site.target.len());
            if let Some(source) = &site.source {
                source.forget(0, source.len());
            }
        }
        Ok(())
    }
}

/// A target as operations see it. What they write is synced now and then even within one of them:
/// some write hundreds of MiB.
pub(in crate::install) struct NewBlocks {
    image: Arc<dyn BlockTarget>,
    /// Bytes since the last sync from here.
    written: AtomicU64,
}

impl NewBlocks {
    /// Bytes that may be dirty.
    const DIRTY: u64 = 16 << 20;

    pub(in crate::install) const fn new(image: Arc<dyn BlockTarget>) -> Self {
        Self {
            image,
            written: AtomicU64::new(0),
        }
    }
}

impl ReadBlocks for NewBlocks {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.image.read_at(buf, offset)
    }
}

impl WriteBlocks for NewBlocks {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.image.write_at(buf, offset)?;
        if is_due(&self.written, buf, Self::DIRTY) {
            self.image.sync()?;
            self.image.forget(0, self.image.len());
        }
        Ok(())
    }
}

/// Adds to the bytes so far; true once they have come to `limit`, and they begin anew then.
fn is_due(bytes: &AtomicU64, more: &[u8], limit: u64) -> bool {
    let more = more.len() as u64;
    let due = bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more) >= limit;
    if due {
        bytes.store(0, Ordering::Relaxed);
    }
    due
}

/// An old image as operations see it. What they read leaves the page cache again.
pub(in crate::install) struct OldBlocks {
    image: Arc<dyn BlockTarget>,
    /// Bytes since pages were dropped.
    read: AtomicU64,
}

impl OldBlocks {
    /// Bytes that may stay in the page cache.
    const KEPT: u64 = 8 << 20;

    pub(in crate::install) fn new(image: Arc<dyn BlockTarget>) -> Self {
        Self {
            image,
            read: AtomicU64::new(0),
        }
    }
}

impl ReadBlocks for OldBlocks {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.image.read_at(buf, offset)?;
        if is_due(&self.read, buf, Self::KEPT) {
            self.image.forget(0, self.image.len());
        }
        Ok(())
    }
}
