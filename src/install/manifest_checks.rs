//! Between the manifest and the first write: the last refusals that cost nothing, then the point from which
//! the other slot is gone.

use std::sync::Arc;

use payload_format::{
    ApplyError, ImageInfo, ImageKind, MajorVersion, Manifest, Metadata, PartitionName, Sha256Digest,
};
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::further::Further;
use super::read_back::ReadBack;
use super::saved::Ledger;
use super::{InstallError, Voucher, dirty_partitions, kernel, keys, preflight, verify};
use crate::disk::BlockTarget;
use crate::plan::ImageHashes;

/// Checks everything that only the manifest (`metadata`: all before the data, as it came) tells. Changes
/// nothing; reads the whole running slot if the payload is a delta, so that a wrong one is refused now.
///
/// # Errors
/// Metadata that no trusted key signed (in version 1: though the offer has a signature of it), unsigned payload, an image that
/// the node rolled back from, kernel that doesn't fit, a delta for another image.
pub(super) fn check(
    attempt: &Attempt,
    manifest: &Manifest,
    metadata: &[u8],
    further: &Further,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    fits(attempt, manifest, metadata)?;
    if let Some(old) = &manifest.partition().old {
        slot_is(attempt, old, cancel)?;
    }
    if let Some(old) = manifest.image(ImageKind::Kernel).and_then(|image| image.old) {
        kernel_is(attempt, &old)?;
    }
    for image in manifest.images() {
        if let (ImageKind::Further(name), Some(old)) = (image.kind, &image.old) {
            partition_is(name, Arc::clone(&further.pair(name)?.source), old, cancel)?;
        }
    }
    dirty_partitions::left_out(attempt, manifest, further).map(drop)
}

/// The part of it that takes no time.
///
/// # Errors
/// Metadata that no trusted key signed, unsigned payload, an image that the node rolled back from, kernel that doesn't fit,
/// a delta of a PCR policy.
pub(super) fn fits(attempt: &Attempt, manifest: &Manifest, metadata: &[u8]) -> Result<(), InstallError> {
    let voucher = metadata_is_signed(attempt, metadata)?;
    if !manifest.is_signed() {
        return Err(InstallError::Unsigned);
    }
    is_wanted(attempt, manifest, voucher)?;
    preflight::kernel_fits(attempt, kernel_size(attempt, manifest)?)?;
    let mut images = manifest.images().iter();
    match images.find(|image| image.is_delta() && !image.kind.has_old()) {
        Some(image) => Err(ApplyError::NoSource(image.kind).into()),
        None => Ok(()),
    }
}

/// The node has not rolled back from what the payload makes.
fn is_wanted(attempt: &Attempt, manifest: &Manifest, voucher: Voucher) -> Result<(), InstallError> {
    let image = made_by(manifest);
    let mut blamed = attempt.plan.blamed.iter();
    match blamed.find(|blamed| blamed.image.is(&image)) {
        None => Ok(()),
        Some(blamed) => Err(InstallError::Blamed {
            blamed: Box::new(blamed.clone()),
            image,
            voucher,
        }),
    }
}

/// The image that a payload makes.
pub(super) fn made_by(manifest: &Manifest) -> ImageHashes {
    let kernel = manifest.image(ImageKind::Kernel);
    ImageHashes {
        slot: *manifest.partition().new.sha256.as_bytes(),
        kernel: kernel.map(|image| *image.new.sha256.as_bytes()),
    }
}

/// A trusted key made the signature of the metadata: that in the payload, which major version 2 must have, and
/// that in the offer, if there is one. Tells whether there was any.
fn metadata_is_signed(attempt: &Attempt, metadata: &[u8]) -> Result<Voucher, InstallError> {
    let metadata = Metadata::parse(metadata).map_err(InstallError::Format)?;
    let keys = || keys::trusted(&attempt.plan.public_keys);
    let mut voucher = Voucher::Nobody;
    if metadata.version() == MajorVersion::V2 {
        let signed = metadata.verify(&keys()?);
        signed.map_err(InstallError::MetadataSignature)?;
        voucher = Voucher::TrustedKey;
    }
    let Some(claim) = &attempt.plan.metadata else {
        return match voucher {
            Voucher::Nobody if attempt.plan.signed_metadata => Err(InstallError::MetadataUnsigned),
            voucher => Ok(voucher),
        };
    };
    keys()?
        .verify_digest(&Sha256Digest::of(metadata.signed()), &claim.signature)
        .map_err(InstallError::MetadataSignature)?;
    Ok(Voucher::TrustedKey)
}

/// Makes the other slot unbootable. After this its content may be written.
///
/// Order, and what a cut between leaves:
/// 1. the checkpoint of an earlier attempt is removed, unless this attempt resumes it: the slot as it was;
/// 2. the partitions beside it that the payload brings are on record as torn ([`dirty_partitions`]): the slot as it was;
/// 3. whoever waits for the slot is told otherwise (the node's own [`super::Slots`]), and it becomes unbootable, in both
///    copies of the table: a slot that is whole but not chosen;
/// 4. the first write: a torn slot, not chosen.
///
/// # Errors
/// If the running slot isn't good, kernels lie on another disk by now, or any step fails; nothing was written to the slot then.
pub(super) fn open(
    attempt: &Attempt,
    manifest: &Manifest,
    metadata: &[u8],
    beginning: Beginning,
) -> Result<Ledger, InstallError> {
    preflight::running_is_good(attempt)?;
    preflight::kernels_are_on_own_disk(attempt)?;
    let ledger = match beginning {
        Beginning::Resumed => Ledger::resume(attempt, metadata),
        Beginning::Fresh => Ledger::begin(attempt, metadata).map_err(InstallError::State)?,
    };
    dirty_partitions::begin(attempt, manifest).map_err(InstallError::State)?;
    let slot = attempt.plan.target;
    attempt
        .site
        .slots
        .make_unbootable(slot)
        .map_err(|source| InstallError::MakeUnbootable { slot, source })?;
    Ok(ledger)
}

/// Whether an attempt starts over or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// From the payload's first byte.
    Fresh,
    /// From a checkpoint.
    Resumed,
}

/// Bytes of the kernel that the target gets: the payload's, or a copy of the running one.
fn kernel_size(attempt: &Attempt, manifest: &Manifest) -> Result<u64, InstallError> {
    if let Some(image) = manifest.image(ImageKind::Kernel) {
        return Ok(image.new.size);
    }
    let path = attempt.path(&attempt.plan.source_kernel);
    preflight::kernel_result(attempt, kernel::require_size(&path))
}

/// The running slot holds what the delta was made from.
fn slot_is(attempt: &Attempt, old: &ImageInfo, cancel: &CancellationToken) -> Result<(), InstallError> {
    let slot = !attempt.plan.target;
    let source = attempt.site.slots.open_source(slot);
    let source = source.map_err(|source| InstallError::Open { slot, source })?;
    if source.len() < old.size {
        return Err(InstallError::SourceTooSmall {
            slot,
            expected: old.size,
            available: source.len(),
        });
    }
    let found = ReadBack::new(source, old.size)
        .finish(cancel)
        .map_err(InstallError::source(&slot))?
        .ok_or(InstallError::Cancelled)?;
    if found == old.sha256 {
        return Ok(());
    }
    Err(InstallError::WrongSource {
        slot,
        expected: old.sha256,
        found,
    })
}

/// The running system's partition is what its delta was made from.
fn partition_is(
    name: PartitionName,
    source: Arc<dyn BlockTarget>,
    old: &ImageInfo,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let found = ReadBack::new(source, old.size)
        .finish(cancel)
        .map_err(InstallError::source(&format_args!("partition {name}")))?
        .ok_or(InstallError::Cancelled)?;
    if found == old.sha256 {
        return Ok(());
    }
    Err(InstallError::WrongSourcePartition {
        name,
        expected: old.sha256,
        found,
    })
}

/// The running kernel is what its delta was made from.
fn kernel_is(attempt: &Attempt, old: &ImageInfo) -> Result<(), InstallError> {
    let path = attempt.path(&attempt.plan.source_kernel);
    let (found, size) = verify::file_digest(&path).map_err(InstallError::source(&path.display()))?;
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
