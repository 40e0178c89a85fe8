//! The trial run of one image, built only for its hash.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use payload_format::{
    Applier, Event, Extent, Image, ImageInfo, ImageKind, Manifest, Operation, ReadBlocks, Sha256Digest,
    WriteBlocks,
};
use ring::digest::{Context, SHA256};

use super::CheckError;
use crate::payload::construction::{Construction, ImageFile, hash, value};

/// One image on trial.
pub(super) struct TrialImage {
    path: PathBuf,
    kind: ImageKind,
    new: ImageInfo,
    construction: Construction,
    result: ResultSink,
}

/// What becomes of what operations write.
enum ResultSink {
    /// It is a delta's, and means nothing without the old image.
    Dropped,
    /// They write from front to back: it is hashed on the way.
    InOrder(Arc<InOrder>),
    /// It lies in a file without a name.
    Spooled(File),
}

impl TrialImage {
    /// Begins with one of the images of a payload at `path`.
    pub(super) fn begin(path: &Path, manifest: &Arc<Manifest>, image: &Image) -> Result<Self, CheckError> {
        let kind = image.kind;
        let spool = |source| CheckError::Spool {
            path: path.to_owned(),
            image: kind,
            source,
        };
        let (result, target): (_, Arc<dyn WriteBlocks>) = if image.is_delta() {
            (ResultSink::Dropped, Arc::new(Nowhere))
        } else if is_in_order(manifest, image) {
            let hashed = Arc::new(InOrder::new(image.new.size));
            (ResultSink::InOrder(Arc::clone(&hashed)), hashed)
        } else {
            let file = tempfile::tempfile().map_err(spool)?;
            let target = file.try_clone().map_err(spool)?;
            (ResultSink::Spooled(file), Arc::new(ImageFile(target)))
        };
        let applier = Applier::without_old(Arc::clone(manifest), kind, target);
        let applier = applier.map_err(|source| failed(path, kind, source))?;
        Ok(Self {
            path: path.to_owned(),
            kind,
            new: image.new,
            construction: Construction::new(manifest, kind, applier),
            result,
        })
    }

    /// Does what an event asks for, if it is about this image.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), CheckError> {
        let done = self.construction.take(event);
        done.map_err(|source| failed(&self.path, self.kind, source))
    }

    /// Holds what came of it against what the manifest says.
    pub(super) fn finish(self) -> Result<(), CheckError> {
        let (path, image, expected) = (self.path, self.kind, self.new.sha256);
        let found = match self.result {
            ResultSink::Dropped => return Ok(()),
            ResultSink::InOrder(hashed) => hashed.value(),
            ResultSink::Spooled(file) => match hash(&file, self.new.size) {
                Ok(found) => found,
                Err(source) => return Err(CheckError::Spool { path, image, source }),
            },
        };
        if found == expected {
            return Ok(());
        }
        Err(CheckError::Mismatch {
            path,
            image,
            expected,
            found,
        })
    }
}

fn failed(path: &Path, image: ImageKind, source: payload_format::ApplyError) -> CheckError {
    CheckError::Operation {
        path: path.to_owned(),
        image,
        source: Box::new(source),
    }
}

/// Whether the operations write each block once, from the first on, and read none.
fn is_in_order(manifest: &Manifest, image: &Image) -> bool {
    let mut next = 0;
    let mut continues = |extent: &Extent| match extent {
        Extent::Hole(_) => true,
        Extent::Blocks(range) => std::mem::replace(&mut next, range.end()) == range.start(),
    };
    let mut operations = manifest.operations_of(image).iter();
    operations.all(|operation: &Operation| {
        operation.kind.source().is_none() && operation.destination.iter().all(&mut continues)
    })
}

/// Hashes an image that is written from front to back.
struct InOrder {
    /// Bytes of the image; what is written behind them doesn't count.
    size: u64,
    so_far: Mutex<(Context, u64)>,
}

impl InOrder {
    fn new(size: u64) -> Self {
        Self {
            size,
            so_far: Mutex::new((Context::new(&SHA256), 0)),
        }
    }

    fn value(&self) -> Sha256Digest {
        let so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        value(so_far.0.clone())
    }
}

impl ReadBlocks for InOrder {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        // Only operations with a source read.
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl WriteBlocks for InOrder {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let (context, written) = &mut *so_far;
        if *written != offset {
            return Err(io::Error::other(format!("{offset} is written after {written}")));
        }
        let counts = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        context.update(&bytes[..bytes.len().min(counts)]);
        *written += bytes.len() as u64;
        Ok(())
    }
}

/// Holds zeros, whatever is written.
struct Nowhere;

impl ReadBlocks for Nowhere {
    fn read_at(&self, bytes: &mut [u8], _: u64) -> io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

impl WriteBlocks for Nowhere {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}
