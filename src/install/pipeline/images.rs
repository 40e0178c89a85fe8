//! The sources and targets of operations: for each image that the payload builds, the old one and the
//! one under construction.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use payload_format::{
    Applier, ApplyError, BlockRange, Image, ImageInfo, ImageKind, Manifest, OpId, ReadBlocks, Streamed,
    WriteBlocks,
};

use crate::disk::BlockTarget;
use crate::install::attempt::Attempt;
use crate::install::further::Further;
use crate::install::{InstallError, kernel, preflight};

/// All images that a payload builds.
pub(super) struct Images {
    manifest: Arc<Manifest>,
    sites: Vec<Site>,
}

/// One image under construction.
struct Site {
    kind: ImageKind,
    name: String,
    target: Arc<dyn BlockTarget>,
    /// The old image, if operations read one.
    source: OldImage,
    applier: Applier,
}

impl Images {
    /// Opens what the manifest's operations need. Files that are missing are made.
    ///
    /// # Errors
    /// If anything can't be opened.
    pub(super) fn open(
        attempt: &Attempt,
        manifest: &Arc<Manifest>,
        slot: &Arc<dyn BlockTarget>,
        further: &Further,
    ) -> Result<Self, InstallError> {
        let site = |image: &Image| {
            let (name, source, target) = match image.kind {
                ImageKind::Partition => (
                    attempt.plan.target.to_string(),
                    old_slot(attempt, image)?,
                    Arc::clone(slot),
                ),
                ImageKind::Further(name) => {
                    let pair = further.pair(name)?;
                    let source = image.is_delta().then(|| Arc::clone(&pair.source));
                    let path = attempt.further_path(name).display().to_string();
                    (path, source, Arc::clone(&pair.target))
                }
                ImageKind::Kernel | ImageKind::PcrPolicy => (
                    attempt.file_of(image.kind).display().to_string(),
                    old_kernel(attempt, image)?,
                    new_file(attempt, image)?,
                ),
            };
            let old = source.clone();
            let old = old.map(|old| Arc::new(OldBlocks::new(old)) as Arc<dyn ReadBlocks>);
            let new = Arc::new(NewBlocks::new(Arc::clone(&target)));
            let applier = Applier::new(Arc::clone(manifest), image.kind, old, new)?;
            Ok(Site {
                kind: image.kind,
                name,
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
    pub(super) fn apply(&self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        self.applier(op)?.apply(op, data)
    }

    /// Begins an operation whose data comes in pieces.
    ///
    /// # Errors
    /// See [`Applier::stream`].
    pub(super) fn stream(&self, op: OpId) -> Result<Streamed, ApplyError> {
        self.applier(op)?.stream(op)
    }

    /// Copies blocks from the old image.
    ///
    /// # Errors
    /// See [`Applier::copy`].
    pub(super) fn copy(&self, image: ImageKind, blocks: BlockRange) -> Result<(), ApplyError> {
        self.site(image)?.applier.copy(blocks)
    }

    fn applier(&self, op: OpId) -> Result<&Applier, ApplyError> {
        let image = self.manifest.operation(op).map(|operation| operation.image);
        let site = self.site(image.unwrap_or(ImageKind::Partition))?;
        Ok(&site.applier)
    }

    fn site(&self, image: ImageKind) -> Result<&Site, ApplyError> {
        let site = self.sites.iter().find(|site| site.kind == image);
        site.ok_or(ApplyError::NoImage(image))
    }

    /// Returns once everything written so far is on the medium, and gives up its pages and those read.
    ///
    /// # Errors
    /// The first one that can't be synced.
    pub(super) fn sync(&self) -> Result<(), InstallError> {
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

/// A target as operations see it. What they write is synced now and then even within one of them: some write
/// hundreds of MiB.
struct NewBlocks {
    image: Arc<dyn BlockTarget>,
    /// Bytes since the last sync from here.
    written: AtomicU64,
}

impl NewBlocks {
    /// Bytes that may be dirty.
    const DIRTY: u64 = 16 << 20;

    const fn new(image: Arc<dyn BlockTarget>) -> Self {
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
struct OldBlocks {
    image: Arc<dyn BlockTarget>,
    /// Bytes since pages were dropped.
    read: AtomicU64,
}

impl OldBlocks {
    /// Bytes that may stay in the page cache.
    const KEPT: u64 = 8 << 20;

    fn new(image: Arc<dyn BlockTarget>) -> Self {
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

type OldImage = Option<Arc<dyn BlockTarget>>;

fn old_slot(attempt: &Attempt, image: &Image) -> Result<OldImage, InstallError> {
    if !image.is_delta() {
        return Ok(None);
    }
    let slot = !attempt.plan.target;
    let source = attempt.site.slots.open_source(slot);
    source
        .map(Some)
        .map_err(|source| InstallError::Open { slot, source })
}

fn old_kernel(attempt: &Attempt, image: &Image) -> Result<OldImage, InstallError> {
    let Some(ImageInfo { size, .. }) = image.old.filter(|_| image.kind == ImageKind::Kernel) else {
        return Ok(None);
    };
    let path = attempt.path(&attempt.plan.source_kernel);
    let file = File::open(&path).map_err(InstallError::source(&path.display()))?;
    Ok(Some(Arc::new(FileImage { file, path, size })))
}

/// The file to be written, as long as its image will be. Old content is overwritten in place.
fn new_file(attempt: &Attempt, image: &Image) -> Result<Arc<dyn BlockTarget>, InstallError> {
    let (path, size) = (attempt.file_of(image.kind), image.new.size);
    if let (ImageKind::PcrPolicy, Some(parent)) = (image.kind, path.parent()) {
        std::fs::create_dir_all(parent).map_err(InstallError::io("making", &parent.display()))?;
    }
    let file = preflight::kernel_result(attempt, kernel::rewritten(&path, size))?;
    Ok(Arc::new(FileImage { file, path, size }))
}

/// A file that ends where its image does, seen as blocks: zeros are read past its end, and nothing is
/// written there. So a last block that is padded takes no more of a small boot partition than it must.
struct FileImage {
    file: File,
    path: PathBuf,
    /// Bytes of the image.
    size: u64,
}

impl FileImage {
    /// How many of `len` bytes at `offset` lie within the image.
    fn within(&self, offset: u64, len: usize) -> usize {
        let left = self.size.saturating_sub(offset);
        usize::try_from(left).map_or(len, |left| left.min(len))
    }
}

impl BlockTarget for FileImage {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (content, padding) = buf.split_at_mut(self.within(offset, buf.len()));
        padding.fill(0);
        self.file.read_exact_at(content, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file
            .write_all_at(&buf[..self.within(offset, buf.len())], offset)
    }

    fn sync(&self) -> io::Result<()> {
        kernel::sync_with_directory(&self.file, &self.path)
    }

    fn forget(&self, offset: u64, len: u64) {
        kernel::forget(&self.file, offset, len);
    }
}
