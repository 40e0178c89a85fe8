//! Images in files, written and read like a device: the kernel, which is the target slot's file on the
//! boot partition, and the PCR policy, the expected measurements of the new image for the service that
//! attests this machine.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{ApplyError, Image, ImageInfo, ImageKind, Sha256Digest};
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::{ImageDevice, ImageTarget};
use crate::disk::BlockTarget;
use crate::fetch::Fetcher;
use crate::install::attempt::{AttemptSetup, blocking};
use crate::install::read_back::{ReadBack, digest_of};
use crate::install::{InstallError, kernel, preflight};

/// Bytes read at once.
const STEP: usize = 1 << 20;

/// A file that ends where its image does, seen as blocks: zeros are read past its end, and nothing
/// is written there. So a last block that is padded takes no more of a small boot partition than it
/// must.
struct FileImage {
    file: File,
    path: PathBuf,
    /// Bytes of the image.
    size: u64,
}

impl FileImage {
    pub(super) const fn new(file: File, path: PathBuf, size: u64) -> Self {
        Self { file, path, size }
    }

    /// Opens the file at `path` to be written, as long as its image will be. Old content is
    /// overwritten in place.
    ///
    /// # Errors
    /// If it can't be opened or made as long.
    pub(super) fn rewritten(
        attempt: &AttemptSetup,
        path: PathBuf,
        size: u64,
    ) -> Result<ImageDevice, InstallError> {
        let file = preflight::kernel_result(attempt, kernel::rewritten(&path, size))?;
        Ok(Arc::new(Self { file, path, size }))
    }

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

/// Reads the file at `path` back from the medium: it must be what the payload says.
///
/// # Errors
/// It differs, or can't be read.
pub(super) fn verify(image: ImageKind, path: PathBuf, new: ImageInfo) -> Result<(), InstallError> {
    let read = file_digest(&path);
    let (found, size) = read.map_err(InstallError::io("reading back", &path.display()))?;
    if (found, size) == (new.sha256, new.size) {
        return Ok(());
    }
    Err(InstallError::FileVerification {
        image,
        path,
        expected: Box::new(new),
        found,
        size,
    })
}

/// The SHA-256 and length of the file at `path`, read from the medium.
///
/// # Errors
/// Syncing or reading fails.
pub(in crate::install) fn file_digest(path: &Path) -> io::Result<(Sha256Digest, u64)> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    kernel::forget(&file, 0, 0);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; STEP];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            kernel::forget(&file, 0, 0);
            return Ok((digest_of(hash), size));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

/// The target slot's kernel. A payload that brings none makes it a copy of the running slot's: the
/// file would be that of an older version otherwise.
pub(in crate::install) struct KernelTarget<'a>(pub(in crate::install) &'a AttemptSetup);

impl KernelTarget<'_> {
    fn path(&self) -> PathBuf {
        self.0.path(&self.0.plan.target_kernel)
    }

    fn running(&self) -> PathBuf {
        self.0.path(&self.0.plan.source_kernel)
    }

    /// Bytes of the running slot's kernel.
    ///
    /// # Errors
    /// There is none, or it can't be looked at.
    pub(in crate::install) fn running_size(&self) -> Result<u64, InstallError> {
        preflight::kernel_result(self.0, kernel::require_size(&self.running()))
    }

    /// Makes the target a copy of the running slot's kernel. Reads that only, so that a cut repeats
    /// it.
    ///
    /// # Errors
    /// Reading, writing or syncing fails.
    pub(in crate::install) fn copy_running(&self) -> Result<(), InstallError> {
        preflight::kernel_result(self.0, kernel::copy(&self.running(), &self.path()))
    }

    /// Reads back from the medium that the target is a copy of the running slot's kernel.
    ///
    /// # Errors
    /// It differs, or one of them can't be read.
    pub(in crate::install) fn verify_copy(&self) -> Result<(), InstallError> {
        let path = self.running();
        let read = file_digest(&path).map_err(InstallError::io("reading", &path.display()));
        let (sha256, size) = read?;
        verify(ImageKind::Kernel, self.path(), ImageInfo { size, sha256 })
    }
}

impl ImageTarget for KernelTarget<'_> {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn open_source(&self, image: &Image) -> Result<Option<ImageDevice>, InstallError> {
        let Some(ImageInfo { size, .. }) = image.old else {
            return Ok(None);
        };
        let path = self.running();
        let file = File::open(&path).map_err(InstallError::source(&path.display()))?;
        Ok(Some(Arc::new(FileImage::new(file, path, size))))
    }

    fn open(&self, image: &Image) -> Result<ImageDevice, InstallError> {
        FileImage::rewritten(self.0, self.path(), image.new.size)
    }

    fn check_source(&self, old: &ImageInfo, _: &CancellationToken) -> Result<(), InstallError> {
        let path = self.running();
        let (found, size) = file_digest(&path).map_err(InstallError::source(&path.display()))?;
        if (found, size) == (old.sha256, old.size) {
            return Ok(());
        }
        Err(InstallError::WrongSourceKernel {
            path,
            expected: old.sha256,
            expected_size: old.size,
            found,
            size,
        })
    }

    fn verify(&self, new: ImageInfo, _: Option<ReadBack>, _: &CancellationToken) -> Result<(), InstallError> {
        verify(ImageKind::Kernel, self.path(), new)
    }
}

/// The target slot's policy, a file below the state directory. No delta is made of it: nodes keep
/// no old one.
pub(super) struct PcrPolicyTarget<'a>(pub(super) &'a AttemptSetup);

impl PcrPolicyTarget<'_> {
    fn path(&self) -> PathBuf {
        self.0.path(&self.0.plan.pcr_policy)
    }
}

impl ImageTarget for PcrPolicyTarget<'_> {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn open_source(&self, _: &Image) -> Result<Option<ImageDevice>, InstallError> {
        Ok(None)
    }

    fn open(&self, image: &Image) -> Result<ImageDevice, InstallError> {
        let path = self.path();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(InstallError::io("making", &parent.display()))?;
        }
        FileImage::rewritten(self.0, path, image.new.size)
    }

    fn check_source(&self, _: &ImageInfo, _: &CancellationToken) -> Result<(), InstallError> {
        Err(ApplyError::NoSource(ImageKind::PcrPolicy).into())
    }

    fn verify(&self, new: ImageInfo, _: Option<ReadBack>, _: &CancellationToken) -> Result<(), InstallError> {
        verify(ImageKind::PcrPolicy, self.path(), new)
    }
}

/// Posts the policy at `path` to `url`.
///
/// # Errors
/// If it can't be read, or the server doesn't take it.
pub(in crate::install) async fn post(fetcher: &Fetcher, path: &Path, url: &str) -> Result<(), InstallError> {
    let file = path.to_owned();
    let policy = blocking(move || {
        std::fs::read(&file).map_err(|source| InstallError::Io {
            action: "reading",
            what: file.display().to_string(),
            source,
        })
    })
    .await?;
    let posted = fetcher.post(url, "application/octet-stream", policy).await;
    posted.map_err(|source| InstallError::PcrPost {
        url: url.to_owned(),
        source,
    })
}
