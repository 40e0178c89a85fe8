//! The metadata of a content package: header, manifest and their signatures, and nothing else of it.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use payload_format::{Event, FormatError, Header, Limits, MajorVersion, Manifest, Reader};

use super::{ContentFailure, interrupted};
use crate::fetch::FetchRequest;
use crate::install::InstallError;
use crate::install::attempt::AttemptSetup;
use crate::install::targets::Targets;
use crate::plan::ContentPackage;

/// Bytes of a header of major version 2.
const HEADER: u64 = MajorVersion::V2.header_len() as u64;

/// What stands before a package's data. Nobody has vouched for it yet.
pub(super) struct PackageMetadata {
    /// Stands before the data of the first operation.
    pub(super) reader: Reader,
    pub(super) manifest: Arc<Manifest>,
    /// As it came.
    pub(super) bytes: Vec<u8>,
    /// Asks the server that gave it.
    pub(super) request: FetchRequest,
    /// An attempt at the package was interrupted, which has left it: nothing was fetched.
    pub(super) is_resumed: bool,
}

impl PackageMetadata {
    /// Bytes of it that were fetched.
    pub(super) const fn fetched(&self) -> u64 {
        if self.is_resumed {
            0
        } else {
            self.bytes.len() as u64
        }
    }
}

/// Fetches the metadata, of the first URL that has the package.
///
/// # Errors
/// The last URL's.
pub(super) async fn fetch(
    attempt: &AttemptSetup,
    targets: &Targets,
    package: &ContentPackage,
) -> Result<PackageMetadata, ContentFailure> {
    let limits = Limits {
        payload_size: Some(package.size),
        extra_partitions: targets.extra_partitions.limits(),
        content_payloads: true,
        ..Limits::for_slot(targets.slot.len())
    };
    let mut request = FetchRequest {
        url: package.url.clone(),
        fallbacks: package.fallback_urls.clone(),
        start: 0,
        entity: None,
        size: package.size,
        credentials: attempt.plan.credentials.clone(),
    };
    if let Some(bytes) = interrupted::metadata(attempt, package) {
        match resumed(bytes, limits, &request) {
            Ok(Some(metadata)) => return Ok(metadata),
            // Nobody has written that.
            Ok(None) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn Error,
                "the package's metadata is fetched anew"
            ),
        }
    }
    loop {
        let here = FetchRequest {
            fallbacks: Vec::new(),
            ..request.clone()
        };
        match fetch_here(attempt, limits, here).await {
            Err(failure) if is_elsewhere(&failure) && !request.fallbacks.is_empty() => {
                tracing::warn!(error = &failure as &dyn Error, "a further URL is asked");
                request.url = request.fallbacks.remove(0);
            }
            fetched => {
                let fetched = fetched?;
                return Ok(PackageMetadata { request, ..fetched });
            }
        }
    }
}

fn resumed(
    bytes: Vec<u8>,
    limits: Limits,
    request: &FetchRequest,
) -> Result<Option<PackageMetadata>, FormatError> {
    let mut reader = Reader::new(limits);
    let event = reader.read(&mut &bytes[..])?;
    let Some(Event::Metadata { manifest, .. }) = event else {
        return Ok(None);
    };
    let request = request.clone();
    Ok(Some(PackageMetadata {
        reader,
        manifest,
        bytes,
        request,
        is_resumed: true,
    }))
}

/// Whether another URL may have the package.
fn is_elsewhere(failure: &ContentFailure) -> bool {
    let ContentFailure::Install(error) = failure else {
        return false;
    };
    matches!(error.as_ref(), InstallError::Fetch(error) if error.lets_another_url_try())
}

async fn fetch_here(
    attempt: &AttemptSetup,
    limits: Limits,
    request: FetchRequest,
) -> Result<PackageMetadata, ContentFailure> {
    let mut reader = Reader::new(limits);
    let header = read(attempt, &mut reader, &request, 0..HEADER.min(request.size)).await?;
    let header = match header {
        MetadataPart::Header(bytes) => Header::parse(&bytes).map_err(FormatError::from)?,
        MetadataPart::Whole(..) => None,
    };
    let header = header.ok_or(ContentFailure::NoContent)?;
    if header.version != MajorVersion::V2 {
        return Err(ContentFailure::NoContent);
    }
    let end = HEADER
        .saturating_add(header.manifest_len)
        .saturating_add(header.metadata_signatures_len.into());
    let rest = read(attempt, &mut reader, &request, HEADER..end.min(request.size)).await?;
    let MetadataPart::Whole(manifest, bytes) = rest else {
        return Err(ContentFailure::NoContent);
    };
    Ok(PackageMetadata {
        reader,
        manifest,
        bytes,
        request,
        is_resumed: false,
    })
}

/// What has come of the metadata.
enum MetadataPart {
    /// The header, or less.
    Header(Vec<u8>),
    /// All of it: the manifest, and everything as it came.
    Whole(Arc<Manifest>, Vec<u8>),
}

/// Has the reader take a range, which ends where the metadata does, or before. It refuses what is
/// too long before it has come.
async fn read(
    attempt: &AttemptSetup,
    reader: &mut Reader,
    request: &FetchRequest,
    range: Range<u64>,
) -> Result<MetadataPart, ContentFailure> {
    let mut stream = attempt.site.fetcher.ranges(request.clone(), vec![range]);
    let mut found = Vec::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        let event = reader.read(&mut &bytes[..])?;
        if let Some(Event::Metadata { manifest, bytes, .. }) = event {
            return Ok(MetadataPart::Whole(manifest, bytes));
        }
        // No more than the header is of use.
        let room = HEADER.saturating_sub(found.len() as u64);
        let room = usize::try_from(room).unwrap_or(0).min(bytes.len());
        found.extend_from_slice(&bytes[..room]);
    }
    Ok(MetadataPart::Header(found))
}
