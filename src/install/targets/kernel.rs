//! The kernel as an image target: the file of the target slot on the boot partition.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use payload_format::{Image, ImageInfo, ImageKind};
use tokio_util::sync::CancellationToken;

use super::file_image::{FileImage, file_digest, verify};
use super::{ImageDevice, ImageTarget};
use crate::install::attempt::AttemptSetup;
use crate::install::read_back::ReadBack;
use crate::install::{InstallError, kernel, preflight};

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
