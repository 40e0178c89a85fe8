//! An image that comes into being while its payload is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use payload_format::{
    Applier, ApplyError, Event, ImageKind, Manifest, OpId, ReadBlocks, Sha256Digest, Streamed, WriteBlocks,
};
use ring::digest;

/// Carries out the operations of one image, in the payload's order.
pub(super) struct Construction {
    manifest: Arc<Manifest>,
    kind: ImageKind,
    applier: Applier,
    /// An operation whose data comes in pieces.
    streamed: Option<(OpId, Streamed)>,
}

impl Construction {
    /// Of the image `kind`, which is what `applier` builds.
    pub(super) fn new(manifest: &Arc<Manifest>, kind: ImageKind, applier: Applier) -> Self {
        Self {
            manifest: Arc::clone(manifest),
            kind,
            applier,
            streamed: None,
        }
    }

    /// Does what an event asks for, if it is about this image.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::Operation { op, data } if self.is_mine(*op) => self.applier.apply(*op, data),
            Event::Piece { op, data } if self.is_mine(*op) => self.piece(*op, data),
            Event::PiecesVerified { op } if self.is_mine(*op) => match self.streamed.take() {
                Some((_, streamed)) => streamed.finish(),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn applier(&self) -> &Applier {
        &self.applier
    }

    fn is_mine(&self, op: OpId) -> bool {
        self.manifest
            .operation(op)
            .is_some_and(|operation| operation.image == self.kind)
    }

    fn piece(&mut self, op: OpId, data: &[u8]) -> Result<(), ApplyError> {
        let (_, streamed) = match &mut self.streamed {
            Some(current) if current.0 == op => current,
            other => other.insert((op, self.applier.stream(op)?)),
        };
        streamed.write(data)
    }
}

/// A file or block device as an image.
pub(super) struct ImageFile(pub(super) File);

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

/// SHA-256 of the first `len` bytes.
pub(super) fn hash(file: &File, len: u64) -> io::Result<Sha256Digest> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < len {
        let now = usize::try_from(len - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.read_exact_at(&mut buffer[..now], offset)?;
        context.update(&buffer[..now]);
        offset += now as u64;
    }
    Ok(value(context))
}

pub(super) fn value(context: digest::Context) -> Sha256Digest {
    let mut bytes = [0; Sha256Digest::LEN];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes.into()
}
