//! The record of attempts at a content package during which the daemon or the machine went down: after
//! too many of them the package is given up, and the payload fetched.
//!
//! `content-tries`, below the state directory, holds the SHA-256 of the offer's payload (32 bytes), the
//! package's size (8, big endian), how many attempts were begun and not ended (1), and the package's name.
//! It is there from before anything of the package is read until the attempt ends, however it does.
//!
//! An attempt whose record can't be read or saved isn't counted: that is logged.

use std::error::Error;
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

/// How many attempts at `package` have ended with the daemon.
///
/// # Errors
/// [`ContentFailure::WentDown`] if that is too many.
pub(super) fn earlier(attempt: &AttemptSetup, package: &ContentPackage) -> Result<u8, ContentFailure> {
    let loaded = record::load(&attempt.path(saved::CONTENT_TRIES), saved::VERSION);
    let loaded = loaded.unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn Error,
            "earlier attempts at the content package are not known"
        );
        None
    });
    let is = |tries: &u8| {
        let loaded = loaded.as_ref();
        loaded.is_some_and(|loaded| *loaded == contents(attempt, package, *tries))
    };
    match (1..=MOST).find(is) {
        Some(MOST) => Err(ContentFailure::WentDown(MOST)),
        tries => Ok(tries.unwrap_or(0)),
    }
}

/// Counts an attempt at `package`.
///
/// # Errors
/// [`ContentFailure::WentDown`] if too many have ended with the daemon.
pub(super) fn begin(attempt: &AttemptSetup, package: &ContentPackage) -> Result<Try, ContentFailure> {
    let path = attempt.path(saved::CONTENT_TRIES);
    let tries = earlier(attempt, package)? + 1;
    if let Err(error) = record::save(&path, saved::VERSION, &contents(attempt, package, tries)) {
        tracing::warn!(
            error = &error as &dyn Error,
            "this attempt at the content package isn't counted"
        );
    }
    Ok(Try(path))
}

fn contents(attempt: &AttemptSetup, package: &ContentPackage, tries: u8) -> Vec<u8> {
    let mut contents = attempt.plan.payload_sha256.as_bytes().to_vec();
    contents.extend_from_slice(&package.size.to_be_bytes());
    contents.push(tries);
    contents.extend_from_slice(package.name.as_bytes());
    contents
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Err(error) = record::remove(&self.0) {
            tracing::warn!(
                error = &error as &dyn Error,
                "an attempt at the content package that is over counts as under way"
            );
        }
    }
}
