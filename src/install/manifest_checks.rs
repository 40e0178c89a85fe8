//! The checks of a manifest before the first write: the last refusals that cost nothing. And the
//! preview of a payload's manifest, for a dry run: its first bytes, with header, manifest and their
//! signatures, and what they refuse. The data after them is not waited for.

use std::sync::Arc;

use payload_format::{ApplyError, Event, ImageKind, MajorVersion, Manifest, Metadata, Reader, Sha256Digest};
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptSetup, blocking, trusted_keys};
use super::image_check::{self, ImageWarnings};
use super::preflight;
use super::preflight_result::{EXTENSION_LOOK, PAYLOAD_LOOK, PreflightResult, PreflightVerdict};
use super::targets::{KernelTarget, Targets};
use super::{InstallError, Voucher, dirty_partitions, pipeline};
use crate::amounts::bytes;
use crate::omaha::MetadataClaim;
use crate::plan::ImageHashes;

/// Checks everything that only the manifest (`metadata`: all before the data, as it came) tells.
/// Changes nothing; reads the whole running slot if the payload is a delta, so that a wrong one is
/// refused now.
///
/// # Errors
/// Metadata that no trusted key signed (in version 1: though the offer has a signature of it),
/// unsigned payload, an image that the node rolled back from or that is for another node, kernel
/// that doesn't fit, a delta for another image.
pub(super) fn check(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    metadata: &[u8],
    targets: &Targets,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    fits(attempt, manifest, metadata)?;
    targets.check_sources(attempt, manifest, cancel)?;
    dirty_partitions::left_out(attempt, manifest, targets).map(drop)
}

/// The same of a content payload, of whose metadata an offer claims nothing: its own signature
/// counts.
///
/// # Errors
/// As for [`check`], and for any payload that isn't of version 2.
pub(super) fn check_content(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    metadata: &[u8],
    targets: &Targets,
) -> Result<(), InstallError> {
    if manifest.version() != MajorVersion::V2 {
        return Err(InstallError::MetadataUnsigned);
    }
    fits_claim(attempt, manifest, metadata, None)?;
    dirty_partitions::left_out(attempt, manifest, targets).map(drop)
}

/// The part of it that takes no time. Gives what operators should hear of the image.
///
/// # Errors
/// Metadata that no trusted key signed, unsigned payload, an image that the node rolled back from
/// or that is for another node, kernel that doesn't fit, a delta of a PCR policy.
pub(super) fn fits(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    metadata: &[u8],
) -> Result<ImageWarnings, InstallError> {
    fits_claim(attempt, manifest, metadata, attempt.plan.metadata.as_ref())
}

fn fits_claim(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    metadata: &[u8],
    claim: Option<&MetadataClaim>,
) -> Result<ImageWarnings, InstallError> {
    let voucher = metadata_is_signed(attempt, metadata, claim)?;
    if !manifest.is_signed() {
        return Err(InstallError::Unsigned);
    }
    is_wanted(attempt, manifest, voucher)?;
    let warnings = manifest
        .release()
        .map(|release| image_check::of_manifest(attempt, release));
    let warnings = warnings.transpose()?.unwrap_or_default();
    preflight::kernel_fits(attempt, kernel_size(attempt, manifest)?)?;
    let mut images = manifest.images().iter();
    match images.find(|image| image.is_delta() && !image.kind.has_old()) {
        Some(image) => Err(ApplyError::NoSource(image.kind).into()),
        None => Ok(warnings),
    }
}

/// The node has not rolled back from what the payload makes.
fn is_wanted(attempt: &AttemptSetup, manifest: &Manifest, voucher: Voucher) -> Result<(), InstallError> {
    let image = made_by(manifest);
    let mut blocked = attempt.plan.blocked_images.iter();
    match blocked.find(|blocked| blocked.image.is(&image)) {
        None => Ok(()),
        Some(blocked) => Err(InstallError::Blocked {
            blocked: Box::new(blocked.clone()),
            image,
            voucher,
        }),
    }
}

/// The image that a payload makes.
pub(super) fn made_by(manifest: &Manifest) -> ImageHashes {
    let kernel = manifest.image(ImageKind::Kernel);
    ImageHashes {
        slot: manifest.partition().new.sha256,
        kernel: kernel.map(|image| image.new.sha256),
    }
}

/// A trusted key made the signature of the metadata: that in the payload, which major version 2
/// must have, and that in the offer, if there is one. Tells whether there was any.
fn metadata_is_signed(
    attempt: &AttemptSetup,
    metadata: &[u8],
    claim: Option<&MetadataClaim>,
) -> Result<Voucher, InstallError> {
    let metadata = Metadata::parse(metadata).map_err(InstallError::Format)?;
    let keys = || trusted_keys(&attempt.plan.public_keys);
    let mut voucher = Voucher::Nobody;
    if metadata.version() == MajorVersion::V2 {
        let signed = metadata.verify(&keys()?);
        signed.map_err(InstallError::MetadataSignature)?;
        voucher = Voucher::TrustedKey;
    }
    let Some(claim) = claim else {
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

/// Bytes of the kernel that the target gets: the payload's, or a copy of the running one.
fn kernel_size(attempt: &AttemptSetup, manifest: &Manifest) -> Result<u64, InstallError> {
    if let Some(image) = manifest.image(ImageKind::Kernel) {
        return Ok(image.new.size);
    }
    KernelTarget(attempt).running_size()
}

/// Looks at the beginning of the payload. Of a delta the source is not read: that takes its time.
/// The first result is that of the payload; what else is doubtful of its image comes after it.
///
/// # Errors
/// What an attempt would refuse when it gets there.
pub(super) async fn preview(
    attempt: &Arc<AttemptSetup>,
    targets: &Targets,
) -> Result<Vec<PreflightResult>, InstallError> {
    let reader = Reader::new(pipeline::limits(attempt, targets));
    let metadata = metadata(attempt, reader).await;
    let (manifest, bytes) = metadata.map_err(|error| targets.extra_partitions.explain(error))?;
    let (at, of) = (Arc::clone(attempt), Arc::clone(&manifest));
    let warnings = blocking(move || fits(&at, &of, &bytes)).await?;
    let mut results = vec![PreflightResult::new(
        PAYLOAD_LOOK,
        PreflightVerdict::Fine(contents(&manifest)),
    )];
    let distribution = warnings.distribution.map(PreflightVerdict::Standing);
    results.extend(distribution.map(|verdict| PreflightResult::new("distribution", verdict)));
    let verdicts = [
        (warnings.extensions, PreflightVerdict::Doubtful as fn(String) -> _),
        (warnings.not_told, PreflightVerdict::Standing),
    ];
    for (sentences, verdict) in verdicts {
        if !sentences.is_empty() {
            let verdict = verdict(sentences.join("; "));
            results.push(PreflightResult::new(EXTENSION_LOOK, verdict));
        }
    }
    Ok(results)
}

async fn metadata(
    attempt: &AttemptSetup,
    mut reader: Reader,
) -> Result<(Arc<Manifest>, Vec<u8>), InstallError> {
    let request = pipeline::request(attempt, 0, None);
    let stream = attempt.site.fetcher.open(request).await;
    let mut stream = stream.map_err(InstallError::Fetch)?;
    let encoding = stream.encoding();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(InstallError::Fetch)?;
        let event = reader
            .read(&mut &bytes[..])
            .map_err(|error| InstallError::Format(error).came_in(encoding.get()))?;
        // Always the first one.
        if let Some(Event::Metadata { manifest, bytes, .. }) = event {
            return Ok((manifest, bytes));
        }
    }
    // It ended before its metadata did.
    match reader.finish() {
        Err(error) => Err(InstallError::Format(error).came_in(encoding.get())),
        Ok(_) => Err(InstallError::Unsigned),
    }
}

fn contents(manifest: &Manifest) -> String {
    let images = manifest.images().iter().map(|image| {
        let what = match image.kind {
            ImageKind::Slot => "image".to_owned(),
            other => other.to_string(),
        };
        let delta = if image.is_delta() { " as a delta" } else { "" };
        format!("{what} of {}{delta}", bytes(image.new.size))
    });
    let images: Vec<_> = images.collect();
    format!("signed, and all of it fits: {}", images.join(", "))
}
