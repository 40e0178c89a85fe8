//! Image targets: the place on this node that each image of a payload is written to.
//!
//! | image | target | old image of a delta |
//! |---|---|---|
//! | slot | the other slot, opened exclusively by preflight | the running slot |
//! | kernel | the target slot's file on the boot partition, rewritten in place | the running slot's file |
//! | PCR policy | a file below the state directory, rewritten in place | none |
//! | extra partition | the target slot's partition of its pair, opened exclusively by preflight | the running slot's |
//!
//! Another kind of image is one more implementation of [`ImageTarget`], and a line in
//! [`Targets::of`].

mod extra_partitions;
mod file_image;
mod slot;

use std::sync::Arc;

use payload_format::{Image, ImageInfo, ImageKind, Manifest, Sha256Digest};
use tokio_util::sync::CancellationToken;

use self::extra_partitions::ExtraPartitionTarget;
pub(super) use self::extra_partitions::{ExtraPartitions, path_of_partition};
use self::file_image::PcrPolicyTarget;
pub(super) use self::file_image::post as post_pcr_policy;
pub(super) use self::file_image::{KernelTarget, file_digest};
use self::slot::SlotTarget;
use super::InstallError;
use super::attempt::AttemptSetup;
use super::read_back::ReadBack;
use crate::disk::BlockTarget;

/// What images are read from and written to.
pub(super) type ImageDevice = Arc<dyn BlockTarget>;

/// The partitions that an attempt may write, held exclusively from preflight until they were read
/// back.
pub(super) struct Targets {
    /// The slot that doesn't run.
    pub(super) slot: ImageDevice,
    /// Those that configuration has a pair for.
    pub(super) extra_partitions: ExtraPartitions,
}

/// The place of one image.
pub(super) trait ImageTarget {
    /// What errors call it: the slot, or a path.
    fn name(&self) -> String;

    /// Opens the old image that a delta's operations read; `None` if `image` is none.
    ///
    /// # Errors
    /// It can't be opened.
    fn open_source(&self, image: &Image) -> Result<Option<ImageDevice>, InstallError>;

    /// Opens the target for `image`. Files that are missing are made, and get the new image's
    /// length.
    ///
    /// # Errors
    /// It can't be opened, or made as long.
    fn open(&self, image: &Image) -> Result<ImageDevice, InstallError>;

    /// Reads the old image whole: it must be what the delta was made from. Changes nothing.
    ///
    /// # Errors
    /// It differs, can't be read, or `cancel` was called.
    fn check_source(&self, old: &ImageInfo, cancel: &CancellationToken) -> Result<(), InstallError>;

    /// Reads the target back from the medium: it must be what the payload says. `begun` is what of
    /// it was read back while it was written.
    ///
    /// # Errors
    /// It differs, can't be read, or `cancel` was called.
    fn verify(
        &self,
        new: ImageInfo,
        begun: Option<ReadBack>,
        cancel: &CancellationToken,
    ) -> Result<(), InstallError>;
}

impl Targets {
    /// The target of the image of this kind.
    ///
    /// # Errors
    /// An extra partition that has no pair, or whose pair can't be used.
    pub(super) fn of<'a>(
        &'a self,
        attempt: &'a AttemptSetup,
        kind: ImageKind,
    ) -> Result<Box<dyn ImageTarget + 'a>, InstallError> {
        Ok(match kind {
            ImageKind::Slot => Box::new(SlotTarget::new(attempt, &self.slot)),
            ImageKind::Kernel => Box::new(KernelTarget(attempt)),
            ImageKind::PcrPolicy => Box::new(PcrPolicyTarget(attempt)),
            ImageKind::ExtraPartition(name) => {
                let pair = self.extra_partitions.pair(name)?;
                Box::new(ExtraPartitionTarget { attempt, name, pair })
            }
        })
    }

    /// Reads every old image that the payload's deltas are made from: the slot's first, then the
    /// kernel's. Changes nothing.
    ///
    /// # Errors
    /// The first one that differs, can't be read, or was cancelled.
    pub(super) fn check_sources(
        &self,
        attempt: &AttemptSetup,
        manifest: &Manifest,
        cancel: &CancellationToken,
    ) -> Result<(), InstallError> {
        for image in in_order(manifest, &[ImageKind::Slot, ImageKind::Kernel]) {
            if let Some(old) = &image.old {
                self.of(attempt, image.kind)?.check_source(old, cancel)?;
            }
        }
        Ok(())
    }

    /// Reads every image that the payload builds back from the medium: the slot first, of which
    /// `begun` was read while it was written; and the kernel, if it is a copy of the running one.
    ///
    /// # Errors
    /// The first one that differs, can't be read, or was cancelled.
    pub(super) fn verify(
        &self,
        attempt: &AttemptSetup,
        (manifest, begun): (&Manifest, ReadBack),
        cancel: &CancellationToken,
    ) -> Result<(), InstallError> {
        let mut begun = Some(begun);
        for image in in_order(manifest, &[ImageKind::Slot]) {
            let begun = begun.take().filter(|_| image.kind == ImageKind::Slot);
            self.of(attempt, image.kind)?.verify(image.new, begun, cancel)?;
        }
        match manifest.image(ImageKind::Kernel) {
            Some(_) => Ok(()),
            None => KernelTarget(attempt).verify_copy(),
        }
    }
}

/// The payload's images, those of the kinds `first` before the others.
fn in_order<'a>(manifest: &'a Manifest, first: &'a [ImageKind]) -> impl Iterator<Item = &'a Image> {
    let others = manifest
        .images()
        .iter()
        .filter(|image| !first.contains(&image.kind));
    first
        .iter()
        .filter_map(|kind| manifest.image(*kind))
        .chain(others)
}

/// The hash of the first `size` bytes of the old image on `device`, which errors call `name`.
fn source_hash(
    device: ImageDevice,
    size: u64,
    name: &impl std::fmt::Display,
    cancel: &CancellationToken,
) -> Result<Sha256Digest, InstallError> {
    let read = ReadBack::new(device, size).finish(cancel);
    read.map_err(InstallError::source(name))?
        .ok_or(InstallError::Cancelled)
}

/// The hash of the first `size` bytes of `device`, read from the medium from where `begun` has come
/// to.
fn hash(
    begun: ReadBack,
    name: &impl std::fmt::Display,
    cancel: &CancellationToken,
) -> Result<Sha256Digest, InstallError> {
    let read = begun.finish(cancel);
    read.map_err(InstallError::io("reading back", name))?
        .ok_or(InstallError::Cancelled)
}
