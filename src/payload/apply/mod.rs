//! Application of a payload to files: what a node does to its slot, on a build machine.

mod applied_image;
mod error;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use payload_format::{ImageKind, Manifest};

use self::applied_image::{AppliedImage, compare, open};
pub use self::error::ApplicationError;
use super::file::PayloadFile;
use super::trust::{SignatureStatus, Trust};
use super::verify::verify;

/// Where one image of a payload is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Building {
    /// Which image.
    pub kind: ImageKind,
    /// The file or block device that becomes it.
    pub target: PathBuf,
    /// The image it is built from; needed for deltas only.
    pub source: Option<PathBuf>,
}

/// Builds `images` from the payload. It is read twice: nothing is written before all of it was
/// verified, and nothing appears at a target before its hash is right. Only a block device, which
/// has no second name, is written in between.
///
/// # Errors
/// [`ApplicationError`]; targets that are files then hold what they held before.
pub fn apply(
    payload: &PayloadFile,
    images: &[Building],
    trust: &Trust,
) -> Result<SignatureStatus, ApplicationError> {
    let manifest = payload.metadata()?.manifest;
    for building in images {
        check(&manifest, building)?;
    }
    let (verified, verdict) = verify(payload, trust)?;
    let mut sites = images
        .iter()
        .map(|image| AppliedImage::open(&manifest, image))
        .collect::<Result<Vec<_>, _>>()?;
    let applied = payload.read("applying", u64::MAX, |event| {
        sites.iter_mut().try_for_each(|site| site.take(&event))
    })?;
    if applied != verified {
        return Err(ApplicationError::Changed {
            path: payload.path().into(),
        });
    }
    for site in &sites {
        site.complete()?;
    }
    sites.into_iter().try_for_each(AppliedImage::publish)?;
    Ok(verdict)
}

/// Whether an image can be built, seen before anything is read in full or written.
fn check(manifest: &Manifest, building: &Building) -> Result<(), ApplicationError> {
    let kind = building.kind;
    let image = manifest.image(kind).ok_or(ApplicationError::NoImage(kind))?;
    match (&image.old, &building.source) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(ApplicationError::NoSource(kind)),
        (Some(_), Some(source)) if is_same_device(source, &building.target) => {
            Err(ApplicationError::InPlace { path: source.clone() })
        }
        (Some(old), Some(source)) => compare(source, &open(source)?, old),
    }
}

fn is_same_device(one: &Path, other: &Path) -> bool {
    let device = |path| {
        fs::metadata(path)
            .ok()
            .filter(|found| found.file_type().is_block_device())
    };
    device(one)
        .zip(device(other))
        .is_some_and(|(one, other)| one.rdev() == other.rdev())
}
