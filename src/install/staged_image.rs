//! The staged image: what a slot and its kernel hold once they are verified and not made bootable,
//! told so that it can be recognized later.

use std::io;
use std::path::Path;
use std::sync::Arc;

use payload_format::{ImageInfo, Sha256Digest};
use tokio_util::sync::CancellationToken;

use super::attempt::AttemptSetup;
use super::read_back::ReadBack;
use super::targets::file_digest;
use super::{InstallError, PostinstMode};
use crate::disk::{BlockTarget, SlotName};

/// What was staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedImage {
    /// In which slot.
    pub slot: SlotName,
    /// The slot's image.
    pub image: ImageInfo,
    /// Path of the slot's kernel on the host.
    pub kernel_path: String,
    /// The kernel, as its file holds it.
    pub kernel: ImageInfo,
    /// Whether the image's postinst has agreed.
    pub has_run_postinst: bool,
}

impl StagedImage {
    /// What `attempt` has verified, of which `image` is the slot's.
    ///
    /// # Errors
    /// The kernel can't be read.
    pub(super) fn of(attempt: &AttemptSetup, image: ImageInfo) -> Result<Self, InstallError> {
        let slot = attempt.plan.target;
        let kernel_path = attempt.plan.target_kernel.clone();
        let kernel = read_kernel(&attempt.path(&kernel_path));
        Ok(Self {
            slot,
            image,
            kernel: kernel.map_err(|source| InstallError::Staging { slot, source })?,
            kernel_path,
            has_run_postinst: attempt.site.postinst != PostinstMode::Skip,
        })
    }
}

/// SHA-256 of the first `bytes` bytes of `slot`, read from the medium; none if cancelled.
///
/// # Errors
/// It can't be read.
pub fn read_slot(
    slot: &Arc<dyn BlockTarget>,
    bytes: u64,
    cancel: &CancellationToken,
) -> io::Result<Option<Sha256Digest>> {
    if bytes > slot.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    ReadBack::new(Arc::clone(slot), bytes).finish(cancel)
}

/// Size and SHA-256 of the kernel at `path`.
///
/// # Errors
/// It isn't there, or can't be read.
pub fn read_kernel(path: &Path) -> io::Result<ImageInfo> {
    let (sha256, size) = file_digest(path)?;
    Ok(ImageInfo { size, sha256 })
}
