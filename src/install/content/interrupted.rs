//! The record of a content package whose image is being written: after a cut, what is in the other
//! slot already is not fetched again.
//!
//! `content`, below the state directory, holds, with integers big endian:
//!
//! ```text
//!  offset  length  what
//!  0       32      SHA-256 of the offer's payload
//!  32      8       size of the package in bytes
//!  40      1       letter of the slot that is written
//!  41      32      SHA-256 of the record `manifest`'s contents: the package's header and manifest
//!  73      rest    the package's name
//! ```
//!
//! Order of the writes, and what a cut between leaves:
//! 1. the slot is unbootable, and the record `manifest` has the package's metadata
//!    ([`crate::install::unbootable`]): nothing to go on with;
//! 2. this record: the slot is searched, and nothing of the image is found in it;
//! 3. blocks of the image: those that are on the medium are found, whatever was synced. No order is
//!    needed: a chunk counts by its hash, and the slot doesn't boot before all of it was read back.
//!
//! A record that doesn't fit, or can't be read, costs bytes.

use std::error::Error;
use std::sync::Arc;

use payload_format::{ContentTables, WrittenContent};
use ring::digest::{SHA256, digest};
use tokio_util::sync::CancellationToken;

use super::survey::Cancellable;
use super::{ContentFailure, InstallError};
use crate::install::attempt::AttemptSetup;
use crate::install::saved;
use crate::install::targets::Targets;
use crate::plan::ContentPackage;
use crate::store::record::{self, RecordError};

/// Header and manifest of the package, if an attempt at it for this slot was interrupted.
pub(super) fn metadata(attempt: &AttemptSetup, package: &ContentPackage) -> Option<Vec<u8>> {
    let loaded = load(attempt).unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn Error,
            "the content package is fetched from its beginning"
        );
        None
    });
    let Loaded { metadata, contents } = loaded?;
    (contents == identity(attempt, package, &metadata)).then_some(metadata)
}

/// Both records.
struct Loaded {
    metadata: Vec<u8>,
    contents: Vec<u8>,
}

fn load(attempt: &AttemptSetup) -> Result<Option<Loaded>, RecordError> {
    let Some(contents) = record::load(&attempt.path(saved::CONTENT), saved::VERSION)? else {
        return Ok(None);
    };
    let metadata = record::load(&attempt.path(saved::MANIFEST), saved::VERSION)?;
    Ok(metadata.map(|metadata| Loaded { metadata, contents }))
}

/// From here on the slot is written. Failing to remember that is logged: it costs bytes.
pub(super) fn begin(attempt: &AttemptSetup, package: &ContentPackage, metadata: &[u8]) {
    let contents = identity(attempt, package, metadata);
    if let Err(error) = record::save(&attempt.path(saved::CONTENT), saved::VERSION, &contents) {
        tracing::warn!(
            error = &error as &dyn Error,
            "after a restart the content package is fetched from its beginning"
        );
    }
}

/// What the other slot has of the content. Of what is `wanted`: the rest need not be read.
///
/// # Errors
/// The slot's.
pub(super) fn look_through(
    targets: &Targets,
    (tables, image_len): (&Arc<ContentTables>, u64),
    wanted: impl Fn(usize) -> bool,
    cancel: &CancellationToken,
) -> Result<WrittenContent, ContentFailure> {
    let image = Arc::new(Cancellable::new(Arc::clone(&targets.slot), cancel));
    let found = WrittenContent::find(image, image_len, Arc::clone(tables), wanted);
    found.map_err(|source| InstallError::io("reading", &"the other slot")(source).into())
}

fn identity(attempt: &AttemptSetup, package: &ContentPackage, metadata: &[u8]) -> Vec<u8> {
    let plan = &attempt.plan;
    let mut bytes = plan.payload_sha256.as_bytes().to_vec();
    bytes.extend_from_slice(&package.size.to_be_bytes());
    bytes.push(plan.target.letter() as u8);
    bytes.extend_from_slice(digest(&SHA256, metadata).as_ref());
    bytes.extend_from_slice(package.name.as_bytes());
    bytes
}
