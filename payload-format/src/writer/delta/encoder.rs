//! The encoder of operations: from blocks of the new image to an operation and its data.

use std::io;

use super::blocks::{BlockList, Snapshot};
use super::granularity::Granularity;
use crate::apply::Compression;
use crate::digest::Sha256Digest;
use crate::operation::PatchKind;
use crate::wire::InstallOperation;
use crate::writer::compressor;

/// An operation whose data has no place yet.
pub(super) struct Encoded {
    pub(super) operation: InstallOperation,
    pub(super) data: Vec<u8>,
    /// The first block that it writes.
    pub(super) first: u64,
}

/// Both images, and what may be done with them.
#[derive(Clone, Copy)]
pub(super) struct Encoder<'a> {
    pub(super) old: Option<Snapshot<'a>>,
    pub(super) new: Snapshot<'a>,
    pub(super) compressions: &'a [Compression],
    pub(super) patches: &'a [PatchKind],
    pub(super) granularity: Granularity,
}

impl Encoder<'_> {
    /// In the smallest of the forms that are allowed.
    pub(super) fn packed(&self, destination: &BlockList, content: Vec<u8>) -> io::Result<Encoded> {
        let (kind, data) = compressor::smallest(content, self.compressions)?;
        Ok(Encoded::new(kind, destination, data))
    }
}

impl Encoded {
    pub(super) fn new(kind: i32, destination: &BlockList, data: Vec<u8>) -> Self {
        let mut operation = InstallOperation {
            r#type: Some(kind),
            dst_extents: destination.wire(),
            ..InstallOperation::default()
        };
        if !data.is_empty() {
            operation.data_length = Some(data.len() as u64);
            operation.data_sha256_hash = Some(Sha256Digest::of(&data).as_bytes().to_vec());
        }
        let first = destination.first().unwrap_or(0);
        Self {
            operation,
            data,
            first,
        }
    }

    pub(super) fn with_source(mut self, source: &BlockList, sha256: &Sha256Digest) -> Self {
        self.operation.src_extents = source.wire();
        self.operation.src_sha256_hash = Some(sha256.as_bytes().to_vec());
        self
    }
}
