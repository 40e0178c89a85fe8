//! Verification: everything written is read back from the medium and hashed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{Image, ImageInfo, ImageKind, Manifest, Sha256Digest};
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::further::Further;
use super::read_back::{ReadBack, digest_of};
use super::{InstallError, kernel};

/// Read at once.
const STEP: usize = 1 << 20;

/// Reads back every image that the payload builds; of the slot, what was not read while it was written.
///
/// # Errors
/// The first one that differs, can't be read, or was cancelled.
pub(super) fn all(
    attempt: &Attempt,
    manifest: &Manifest,
    (begun, further): (ReadBack, &Further),
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    if let Some(image) = manifest.image(ImageKind::Partition) {
        slot(attempt, begun, image, cancel)?;
    }
    for image in manifest.images() {
        match image.kind {
            ImageKind::Partition => {}
            ImageKind::Kernel | ImageKind::PcrPolicy => file(attempt, image.kind, image.new)?,
            ImageKind::Further(name) => {
                let written = ReadBack::new(Arc::clone(&further.pair(name)?.target), image.new.size);
                partition(written, image, attempt.further_path(name), cancel)?;
            }
        }
    }
    if manifest.image(ImageKind::Kernel).is_some() {
        return Ok(());
    }
    copied_kernel(attempt)
}

/// The target's kernel is a copy of the running one.
fn copied_kernel(attempt: &Attempt) -> Result<(), InstallError> {
    let path = attempt.path(&attempt.plan.source_kernel);
    let read = file_digest(&path).map_err(InstallError::io("reading", &path.display()));
    let (sha256, size) = read?;
    file(attempt, ImageKind::Kernel, ImageInfo { size, sha256 })
}

fn slot(
    attempt: &Attempt,
    begun: ReadBack,
    image: &Image,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let slot = attempt.plan.target;
    let found = begun
        .finish(cancel)
        .map_err(InstallError::io("reading back", &slot))?
        .ok_or(InstallError::Cancelled)?;
    let expected = image.new.sha256;
    if found == expected {
        return Ok(());
    }
    Err(InstallError::SlotVerification {
        slot,
        expected,
        found,
    })
}

fn partition(
    written: ReadBack,
    image: &Image,
    path: PathBuf,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let ImageInfo { size, sha256 } = image.new;
    let found = written
        .finish(cancel)
        .map_err(InstallError::io("reading back", &path.display()))?
        .ok_or(InstallError::Cancelled)?;
    if found == sha256 {
        return Ok(());
    }
    Err(InstallError::FileVerification {
        image: image.kind,
        path,
        expected: Box::new(image.new),
        found,
        size,
    })
}

fn file(attempt: &Attempt, image: ImageKind, new: ImageInfo) -> Result<(), InstallError> {
    let path = attempt.file_of(image);
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

/// The SHA-256 and length of the file at `path`, read from the medium likewise.
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
