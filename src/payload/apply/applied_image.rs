//! One image under construction.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{Applier, ApplyError, Event, Image, ImageInfo, Manifest, ReadBlocks};

use super::{ApplicationError, Building};
use crate::payload::construction::{Construction, ImageFile, hash};
use crate::payload::output_file::OutputFile;

/// One image under construction.
pub(super) struct AppliedImage {
    image: Image,
    target: PathBuf,
    output: OutputFile,
    construction: Construction,
}

impl AppliedImage {
    pub(super) fn open(manifest: &Arc<Manifest>, building: &Building) -> Result<Self, ApplicationError> {
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
    pub(super) fn take(&mut self, event: &Event) -> Result<(), ApplicationError> {
        let done = self.construction.take(event);
        done.map_err(|source| self.failed(source))
    }

    /// Copies what no operation writes, and checks the result.
    pub(super) fn complete(&self) -> Result<(), ApplicationError> {
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

    pub(super) fn publish(self) -> Result<(), ApplicationError> {
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

pub(super) fn open(path: &Path) -> Result<File, ApplicationError> {
    File::open(path).map_err(|source| ApplicationError::Read {
        path: path.into(),
        source,
    })
}

/// Whether a file begins with the image that the payload means.
pub(super) fn compare(path: &Path, file: &File, expected: &ImageInfo) -> Result<(), ApplicationError> {
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
