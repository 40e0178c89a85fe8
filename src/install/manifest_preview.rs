//! The payload's first bytes, for whoever wants to know what would happen: header, manifest and their signatures, and
//! what they refuse. The data after them is not waited for.

use std::sync::Arc;

use payload_format::{Event, ImageKind, Manifest, Reader};

use super::attempt::{Attempt, blocking};
use super::further::Further;
use super::preflight_result::Verdict;
use super::{InstallError, manifest_checks, pipeline};
use crate::amounts::bytes;
use crate::disk::BlockTarget;

/// Looks at the beginning of the payload. Of a delta the source is not read: that takes its time.
///
/// # Errors
/// What an attempt would refuse when it gets there.
pub(super) async fn payload(
    attempt: &Arc<Attempt>,
    target: &dyn BlockTarget,
    further: &Further,
) -> Result<Verdict, InstallError> {
    let reader = Reader::new(pipeline::limits(attempt, target, further));
    let metadata = metadata(attempt, reader).await;
    let (manifest, bytes) = metadata.map_err(|error| further.explain(error))?;
    let (at, of) = (Arc::clone(attempt), Arc::clone(&manifest));
    blocking(move || manifest_checks::fits(&at, &of, &bytes)).await?;
    Ok(Verdict::Fine(contents(&manifest)))
}

async fn metadata(attempt: &Attempt, mut reader: Reader) -> Result<(Arc<Manifest>, Vec<u8>), InstallError> {
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
            ImageKind::Partition => "image".to_owned(),
            ImageKind::Kernel => "kernel".to_owned(),
            ImageKind::PcrPolicy => "PCR policy".to_owned(),
            ImageKind::Further(name) => format!("partition {name}"),
        };
        let delta = if image.is_delta() { " as a delta" } else { "" };
        format!("{what} of {}{delta}", bytes(image.new.size))
    });
    let images: Vec<_> = images.collect();
    format!("signed, and all of it fits: {}", images.join(", "))
}
