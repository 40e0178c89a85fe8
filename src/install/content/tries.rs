//! The record of attempts at a content package that ended with the daemon or the machine: a package by
//! which that happens again and again gives way to the payload.
//!
//! `content-tries`, below the state directory, holds the SHA-256 of the offer's payload (32 bytes), the
//! package's size (8, big endian), how many attempts were begun and not ended (1), and the package's name.
//! It is there from before anything of the package is read until the attempt ends, however it does.
//!
//! What can't be read or saved costs one more attempt at the package at most: it is logged.

use std::path::PathBuf;

use super::ContentFailure;
use crate::install::attempt::AttemptSetup;
use crate::install::saved;
use crate::plan::ContentPackage;
use crate::store::record;

/// Attempts at a package that may end with the daemon.
const MOST: u8 = 3;

/// An attempt that is under way: dropped when it ends, and when the daemon stops. Not if that dies.
pub(super) struct Try(PathBuf);

/// Counts an attempt at `package`.
///
/// # Errors
/// [`ContentFailure::WentDown`] if too many have ended with the daemon.
pub(super) fn begin(attempt: &AttemptSetup, package: &ContentPackage) -> Result<Try, ContentFailure> {
    let path = attempt.path(saved::CONTENT_TRIES);
    let contents = |tries: u8| {
        let mut contents = attempt.plan.payload_sha256.as_bytes().to_vec();
        contents.extend_from_slice(&package.size.to_be_bytes());
        contents.push(tries);
        contents.extend_from_slice(package.name.as_bytes());
        contents
    };
    let loaded = record::load(&path, saved::VERSION).unwrap_or_else(|error| {
        tracing::warn!(%error, "earlier attempts at the content package are not known");
        None
    });
    let earlier = loaded.and_then(|loaded| (1..=MOST).find(|tries| loaded == contents(*tries)));
    let earlier = earlier.unwrap_or(0);
    if earlier == MOST {
        return Err(ContentFailure::WentDown(earlier));
    }
    if let Err(error) = record::save(&path, saved::VERSION, &contents(earlier + 1)) {
        tracing::warn!(%error, "this attempt at the content package isn't counted");
    }
    Ok(Try(path))
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Err(error) = record::remove(&self.0) {
            tracing::warn!(%error, "an attempt at the content package that is over counts as under way");
        }
    }
}
