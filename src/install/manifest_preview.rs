//! The preview of a payload's manifest, for a dry run: its first bytes, with header, manifest and
//! their signatures, and what they refuse. The data after them is not waited for.

use std::sync::Arc;

use payload_format::{Event, ImageKind, Manifest, Reader};

use super::attempt::{AttemptSetup, blocking};
use super::preflight_result::PreflightVerdict;
use super::targets::Targets;
use super::{InstallError, manifest_checks, pipeline};
use crate::amounts::bytes;

/// Looks at the beginning of the payload. Of a delta the source is not read: that takes its time.
///
/// # Errors
/// What an attempt would refuse when it gets there.
pub(super) async fn payload(
    attempt: &Arc<AttemptSetup>,
    targets: &Targets,
) -> Result<PreflightVerdict, InstallError> {
    let reader = Reader::new(pipeline::limits(attempt, targets));
    let metadata = metadata(attempt, reader).await;
    let (manifest, bytes) = metadata.map_err(|error| targets.extra_partitions.explain(error))?;
    let (at, of) = (Arc::clone(attempt), Arc::clone(&manifest));
    blocking(move || manifest_checks::fits(&at, &of, &bytes)).await?;
    Ok(PreflightVerdict::Fine(contents(&manifest)))
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
