//! A file image: a kernel or PCR policy, written and read like a device.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{ImageInfo, ImageKind, Sha256Digest};
use ring::digest;

use super::ImageDevice;
use crate::disk::BlockTarget;
use crate::install::attempt::AttemptSetup;
use crate::install::read_back::digest_of;
use crate::install::{InstallError, kernel, preflight};

/// Bytes read at once.
const STEP: usize = 1 << 20;

/// A file that ends where its image does, seen as blocks: zeros are read past its end, and nothing
/// is written there. So a last block that is padded takes no more of a small boot partition than it
/// must.
pub(super) struct FileImage {
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
pub(super) fn file_digest(path: &Path) -> io::Result<(Sha256Digest, u64)> {
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
