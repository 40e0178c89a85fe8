//! One image under construction.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{
    Applier, ApplyError, Event, Image, ImageInfo, Manifest, OpId, ReadBlocks, Sha256Digest, Streamed,
    WriteBlocks,
};
use ring::digest;

use super::{ApplicationError, Building};
use crate::payload::output::Output;

/// One image under construction.
pub(super) struct Site {
    manifest: Arc<Manifest>,
    image: Image,
    target: PathBuf,
    output: Output,
    applier: Applier,
    /// An operation whose data comes in pieces.
    streamed: Option<(OpId, Streamed)>,
}

impl Site {
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
        let output = Output::begin(&target).map_err(write)?;
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
            manifest: Arc::clone(manifest),
            image,
            target,
            output,
            applier,
            streamed: None,
        })
    }

    /// Does what an event asks for, if it is about this image.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), ApplicationError> {
        let result = match event {
            Event::Operation { op, data } if self.is_mine(*op) => self.applier.apply(*op, data),
            Event::Piece { op, data } if self.is_mine(*op) => self.piece(*op, data),
            Event::PiecesVerified { op } if self.is_mine(*op) => match self.streamed.take() {
                Some((_, streamed)) => streamed.finish(),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        result.map_err(|source| self.failed(source))
    }

    fn is_mine(&self, op: OpId) -> bool {
        self.manifest
            .operation(op)
            .is_some_and(|operation| operation.image == self.image.kind)
    }

    fn piece(&mut self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        let (_, streamed) = match &mut self.streamed {
            Some(current) if current.0 == op => current,
            other => other.insert((op, self.applier.stream(op)?)),
        };
        streamed.write(data)
    }

    /// Copies what no operation writes, and checks the result.
    pub(super) fn complete(&self) -> Result<(), ApplicationError> {
        for blocks in &self.image.unwritten {
            self.applier.copy(*blocks).map_err(|source| self.failed(source))?;
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

/// A file or block device as an image.
struct ImageFile(File);

impl ReadBlocks for ImageFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

impl WriteBlocks for ImageFile {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
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

/// SHA-256 of the first `len` bytes.
fn hash(file: &File, len: u64) -> io::Result<Sha256Digest> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < len {
        let now = usize::try_from(len - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.read_exact_at(&mut buffer[..now], offset)?;
        context.update(&buffer[..now]);
        offset += now as u64;
    }
    let mut bytes = [0; Sha256Digest::LEN];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok(bytes.into())
}
