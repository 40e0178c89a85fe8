//! Reading back what was written, from the medium.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use payload_format::{Image, ImageInfo, ImageKind, Manifest, Sha256Digest};
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::{InstallError, kernel};
use crate::disk::BlockTarget;

/// Read at once.
const STEP: usize = 1 << 20;

/// Reads back every image that the payload builds.
///
/// # Errors
/// The first one that differs, can't be read, or was cancelled.
pub(super) fn all(
    attempt: &Attempt,
    target: &dyn BlockTarget,
    manifest: &Manifest,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    for image in manifest.images() {
        match image.kind {
            ImageKind::Partition => slot(attempt, target, image, cancel)?,
            ImageKind::Kernel | ImageKind::PcrPolicy => file(attempt, image.kind, image.new)?,
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
    target: &dyn BlockTarget,
    image: &Image,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let slot = attempt.plan.target;
    let found = slot_digest(target, image.new.size, cancel)
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
        expected: new.sha256,
        expected_size: new.size,
        found,
        size,
    })
}

/// The SHA-256 of the first `size` bytes of `slot`, read from the medium: synced and dropped from the page
/// cache first, and while it is read. None if cancelled.
///
/// # Errors
/// Syncing or reading fails.
pub(super) fn slot_digest(
    slot: &dyn BlockTarget,
    size: u64,
    cancel: &CancellationToken,
) -> io::Result<Option<Sha256Digest>> {
    slot.sync()?;
    slot.forget(0, slot.len());
    let digest = read_through(slot, size, cancel);
    // What was read ahead lies past the last piece.
    slot.forget(0, slot.len());
    digest
}

fn read_through(
    slot: &dyn BlockTarget,
    size: u64,
    cancel: &CancellationToken,
) -> io::Result<Option<Sha256Digest>> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; STEP];
    let mut offset = 0;
    while offset < size {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let left = usize::try_from(size - offset).unwrap_or(STEP).min(STEP);
        let piece = &mut buffer[..left];
        slot.read_at(piece, offset)?;
        hash.update(piece);
        offset += left as u64;
        // From the slot's start: the cache holds large pieces that straddle ours, and keeps those that a
        // range only touches.
        slot.forget(0, offset);
    }
    Ok(Some(finish(hash)))
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
            return Ok((finish(hash), size));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

fn finish(hash: digest::Context) -> Sha256Digest {
    let mut bytes = [0; Sha256Digest::LEN];
    bytes.copy_from_slice(hash.finish().as_ref());
    Sha256Digest::from(bytes)
}
