//! Carrying a payload out on files: what a node does to its slot, on a build machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{
    Applier, ApplyError, Event, Image, ImageInfo, ImageKind, Manifest, OpId, ReadBlocks, Sha256Digest,
    Streamed, WriteBlocks,
};
use ring::digest;

use super::file::{PayloadError, PayloadFile};
use super::output::Output;
use super::trust::{Trust, Verdict};
use super::verify::{VerifyError, verify};

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
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file isn't what the payload says.
    #[error("the first {size} bytes of {path} have SHA-256 {actual}, not {expected} as the payload says")]
    Mismatch {
        /// Which.
        path: PathBuf,
        /// Bytes that were hashed.
        size: u64,
        /// Of these bytes.
        actual: Sha256Digest,
        /// By the manifest.
        expected: Sha256Digest,
    },
    /// An operation failed.
    #[error("cannot build {path}")]
    Operation {
        /// What was being built.
        path: PathBuf,
        /// Why not.
        source: ApplyError,
    },
    /// It was another payload the second time.
    #[error("{path} changed while it was applied")]
    Changed {
        /// The payload.
        path: PathBuf,
    },
}

impl From<PayloadError> for ApplicationError {
    fn from(error: PayloadError) -> Self {
        Self::Verify(error.into())
    }
}

/// Builds `images` from the payload. It is read twice: nothing is written before all of it was verified,
/// and nothing appears at a target before its hash is right. Only a block device, which has no second name,
/// is written in between.
///
/// # Errors
/// [`ApplicationError`]; targets that are files then hold what they held before.
pub fn apply(payload: &PayloadFile, images: &[Building], trust: &Trust) -> Result<Verdict, ApplicationError> {
    let manifest = payload.metadata()?.manifest;
    for building in images {
        check(&manifest, building)?;
    }
    let (verified, verdict) = verify(payload, trust)?;
    let mut sites = images
        .iter()
        .map(|image| Site::open(&manifest, image))
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
    sites.into_iter().try_for_each(Site::publish)?;
    Ok(verdict)
}

/// Whether an image can be built, seen before anything is read in full or written.
fn check(manifest: &Manifest, building: &Building) -> Result<(), ApplicationError> {
    let kind = building.kind;
    let image = manifest.image(kind).ok_or(ApplicationError::NoImage(kind))?;
    match (&image.old, &building.source) {
        (Some(_), None) => Err(ApplicationError::NoSource(kind)),
        (Some(old), Some(path)) => compare(path, &open(path)?, old),
        (None, _) => Ok(()),
    }
}

/// One image under construction.
struct Site {
    manifest: Arc<Manifest>,
    image: Image,
    target: PathBuf,
    output: Output,
    applier: Applier,
    /// An operation whose data comes in pieces.
    streamed: Option<(OpId, Streamed)>,
}

impl Site {
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
    fn take(&mut self, event: &Event) -> Result<(), ApplicationError> {
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
    fn complete(&self) -> Result<(), ApplicationError> {
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
