//! The staged image: what a slot and its kernel hold once they are verified and not made bootable,
//! told so that it can be recognized later.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use payload_format::{ImageInfo, ImageKind, Manifest, PartitionName, Sha256Digest};
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::attempt::AttemptSetup;
use super::read_back::{ReadBack, digest_of};
use super::targets::file_digest;
use super::{InstallError, PostinstMode, PostinstOutcome};
use crate::disk::{BlockTarget, SlotName};
use crate::plan::{InstallPlan, PartitionImage};

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
    /// Extra partitions that the payload has brought.
    pub partitions: Vec<PartitionImage>,
    /// Whether the image's postinst has agreed.
    pub has_run_postinst: bool,
    /// Whether it has reported an error all the same (exit code 3), which the server is told.
    pub is_told_as_failed: bool,
}

/// What of an update was verified on the medium and is to be recognized later.
#[derive(Debug, Clone)]
pub(super) struct VerifiedImages {
    /// The slot's.
    pub(super) slot: ImageInfo,
    partitions: Vec<(PartitionName, ImageInfo)>,
}

impl VerifiedImages {
    /// What `manifest` says.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let partitions = manifest.images().iter().filter_map(|image| match image.kind {
            ImageKind::ExtraPartition(name) => Some((name, image.new)),
            _ => None,
        });
        Self {
            slot: manifest.partition().new,
            partitions: partitions.collect(),
        }
    }

    /// Those beside the slot, where `plan` puts them.
    fn partitions_at(&self, plan: &InstallPlan) -> Vec<PartitionImage> {
        let placed = |(name, image): &(PartitionName, ImageInfo)| {
            let mut targets = plan.extra_partitions.iter();
            // Invariant: only those that have a target are built.
            let target = targets.find(|target| target.name == *name)?;
            Some(PartitionImage {
                path: target.pair.path(plan.target),
                sha256: image.sha256,
                bytes: image.size,
            })
        };
        self.partitions.iter().filter_map(placed).collect()
    }
}

impl StagedImage {
    /// What `attempt` has verified.
    ///
    /// # Errors
    /// The kernel can't be read.
    pub(super) fn of(
        attempt: &AttemptSetup,
        verified: &VerifiedImages,
        outcome: PostinstOutcome,
    ) -> Result<Self, InstallError> {
        let slot = attempt.plan.target;
        let kernel_path = attempt.plan.target_kernel.clone();
        let kernel = read_kernel(&attempt.path(&kernel_path));
        Ok(Self {
            slot,
            image: verified.slot,
            partitions: verified.partitions_at(&attempt.plan),
            kernel: kernel.map_err(|source| InstallError::Staging { slot, source })?,
            kernel_path,
            has_run_postinst: attempt.site.postinst != PostinstMode::Skip,
            is_told_as_failed: outcome == PostinstOutcome::AfterError,
        })
    }
}

/// SHA-256 of the first `bytes` bytes of `target`, read from the medium; none if cancelled.
///
/// # Errors
/// It can't be read.
pub fn read_image(
    target: &Arc<dyn BlockTarget>,
    bytes: u64,
    cancel: &CancellationToken,
) -> io::Result<Option<Sha256Digest>> {
    if bytes > target.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    ReadBack::new(Arc::clone(target), bytes).finish(cancel)
}

/// Size and SHA-256 of the kernel at `path`.
///
/// # Errors
/// It isn't there, or can't be read.
pub fn read_kernel(path: &Path) -> io::Result<ImageInfo> {
    let (sha256, size) = file_digest(path)?;
    Ok(ImageInfo { size, sha256 })
}

/// SHA-256 of the kernel at `path`, which should have `bytes` bytes, as others would read it now; none
/// if it isn't read by `until`.
///
/// # Errors
/// It isn't there, or can't be read.
pub fn read_kernel_until(path: &Path, bytes: u64, until: Instant) -> io::Result<Option<Sha256Digest>> {
    const STEP: usize = 1 << 20;
    // One byte more shows a file that has grown.
    let mut file = File::open(path)?.take(bytes.saturating_add(1));
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; STEP];
    loop {
        if Instant::now() >= until {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Some(digest_of(hash))),
            count => hash.update(&buffer[..count]),
        }
    }
}
