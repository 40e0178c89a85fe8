//! Application of a payload to files: what a node does to its slot, on a build machine.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{
    Applier, ApplyError, ContentCopy, Event, Image, ImageInfo, ImageKind, Manifest, ReadBlocks, Sha256Digest,
};

use super::construction::{Construction, ImageFile, hash};
use super::content::{self, BuildError, ContentReport};
use super::file::{PayloadError, PayloadFile};
use super::output_file::OutputFile;
use super::verify::{SignatureStatus, Trust, VerifyError, verify};

/// Where one image of a payload is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Building {
    /// The image of the payload.
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
) -> Result<(SignatureStatus, Option<ContentReport>), ApplicationError> {
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
    let copies = sites
        .iter()
        .map(AppliedImage::copy)
        .collect::<Result<Vec<_>, _>>()?;
    let copies: Vec<_> = copies.into_iter().flatten().collect();
    let mut report = None;
    for (site, building) in sites.iter().zip(images) {
        report = report.or(site.build_content(payload, building.source.as_deref(), &copies)?);
    }
    sites.iter().try_for_each(AppliedImage::complete)?;
    sites.into_iter().try_for_each(AppliedImage::publish)?;
    Ok((verdict, report))
}

/// Whether an image can be built, seen before anything is read in full or written.
fn check(manifest: &Manifest, building: &Building) -> Result<(), ApplicationError> {
    let kind = building.kind;
    let image = manifest.image(kind).ok_or(ApplicationError::NoImage(kind))?;
    match (&image.old, &building.source) {
        (None, Some(source)) if image.content.is_some() && is_same_device(source, &building.target) => {
            Err(ApplicationError::InPlace { path: source.clone() })
        }
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

/// Why a payload wasn't applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The payload is refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The payload doesn't build what was asked for.
    #[error("the payload holds no {0}")]
    NoImage(ImageKind),
    /// A delta without the image it is built from.
    #[error("the payload's {0} is built from an old one: name that, too")]
    NoSource(ImageKind),
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// Path of the file or device.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {path}")]
    Write {
        /// Path of the file or device.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file isn't what the payload says.
    #[error("the first {size} bytes of {path} have SHA-256 {actual}, not {expected} as the payload says")]
    Mismatch {
        /// Path of the file or device.
        path: PathBuf,
        /// Bytes that were hashed.
        size: u64,
        /// SHA-256 of these bytes.
        actual: Sha256Digest,
        /// By the manifest.
        expected: Sha256Digest,
    },
    /// An operation failed.
    #[error("cannot build {path}")]
    Operation {
        /// Path of the image that was being built.
        path: PathBuf,
        /// The error of the operation.
        source: ApplyError,
    },
    /// The image can't be built of its content.
    #[error("cannot build {path}")]
    Content {
        /// Path of the image that was being built.
        path: PathBuf,
        /// Why. Apart, since errors are returned from everywhere.
        source: Box<BuildError>,
    },
    /// A device would lose the old image while the new one is built from it.
    #[error(
        "{path} can't be both source and target: blocks of the old image would be lost before they are read"
    )]
    InPlace {
        /// The block device that was named twice.
        path: PathBuf,
    },
    /// It was another payload the second time.
    #[error("{path} changed while it was applied")]
    Changed {
        /// File of the payload.
        path: PathBuf,
    },
}

impl From<PayloadError> for ApplicationError {
    fn from(error: PayloadError) -> Self {
        Self::Verify(error.into())
    }
}

/// One image under construction.
struct AppliedImage {
    image: Image,
    target: PathBuf,
    output: OutputFile,
    construction: Construction,
}

impl AppliedImage {
    fn open(manifest: &Arc<Manifest>, building: &Building) -> Result<Self, ApplicationError> {
        let target = building.target.clone();
        let write = |source| ApplicationError::Write {
            path: target.clone(),
            source,
        };
        let image = manifest
            .image(building.kind)
            .ok_or(ApplicationError::NoImage(building.kind))?
            .clone();
        let old = building.source.as_deref().map(open).transpose()?;
        let old = old.map(|file| Arc::new(ImageFile(file)) as Arc<dyn ReadBlocks>);
        let output = OutputFile::begin(&target).map_err(write)?;
        let file = output.file().try_clone().map_err(write)?;
        let applier = Applier::new(
            Arc::clone(manifest),
            building.kind,
            old,
            Arc::new(ImageFile(file)),
        )
        .map_err(|source| ApplicationError::Operation {
            path: target.clone(),
            source,
        })?;
        Ok(Self {
            image,
            target,
            output,
            construction: Construction::new(manifest, building.kind, applier),
        })
    }

    /// Does what an event asks for, if it is about this image.
    fn take(&mut self, event: &Event) -> Result<(), ApplicationError> {
        let done = self.construction.take(event);
        done.map_err(|source| self.failed(source))
    }

    /// The part of the slot's content that it is, if it is one.
    fn copy(&self) -> Result<Option<ContentCopy>, ApplicationError> {
        let target = Arc::new(ImageFile(self.file()?));
        Ok(content::copy_of(&self.image, target))
    }

    /// What is written.
    fn file(&self) -> Result<File, ApplicationError> {
        let file = self.output.file().try_clone();
        file.map_err(|source| ApplicationError::Write {
            path: self.target.clone(),
            source,
        })
    }

    /// Builds the image of a content payload, and `copies` of its content.
    fn build_content(
        &self,
        payload: &PayloadFile,
        old: Option<&Path>,
        copies: &[ContentCopy],
    ) -> Result<Option<ContentReport>, ApplicationError> {
        let Some(tables) = &self.image.content else {
            return Ok(None);
        };
        let target = Arc::new(ImageFile(self.file()?));
        let image = (tables, self.image.new.size);
        let report = content::build(payload, image, old, (target, copies));
        report.map(Some).map_err(|source| ApplicationError::Content {
            path: self.target.clone(),
            source: Box::new(source),
        })
    }

    /// Copies what no operation writes, and checks the result.
    fn complete(&self) -> Result<(), ApplicationError> {
        for blocks in &self.image.unwritten {
            let applier = self.construction.applier();
            applier.copy(*blocks).map_err(|source| self.failed(source))?;
        }
        let write = |source| ApplicationError::Write {
            path: self.target.clone(),
            source,
        };
        self.output.cut(self.image.new.size).map_err(write)?;
        compare(&self.target, self.output.file(), &self.image.new)
    }

    fn publish(self) -> Result<(), ApplicationError> {
        self.output.publish().map_err(|source| ApplicationError::Write {
            path: self.target,
            source,
        })
    }

    fn failed(&self, source: ApplyError) -> ApplicationError {
        ApplicationError::Operation {
            path: self.target.clone(),
            source,
        }
    }
}

fn open(path: &Path) -> Result<File, ApplicationError> {
    File::open(path).map_err(|source| ApplicationError::Read {
        path: path.into(),
        source,
    })
}

/// Whether a file begins with the image that the payload means.
fn compare(path: &Path, file: &File, expected: &ImageInfo) -> Result<(), ApplicationError> {
    let read = |source| ApplicationError::Read {
        path: path.into(),
        source,
    };
    let actual = hash(file, expected.size).map_err(read)?;
    if actual == expected.sha256 {
        return Ok(());
    }
    let (path, expected, size) = (path.into(), expected.sha256, expected.size);
    Err(ApplicationError::Mismatch {
        path,
        size,
        actual,
        expected,
    })
}
