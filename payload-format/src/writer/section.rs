//! The section of a payload that makes one image: its operations, and its data in the spool.

use std::io::{Read, Write};

use super::chunk::{self, CHUNK, CompressedChunk, CompressionOptions};
use super::{Input, WriteError};
use crate::digest::{RunningHash, Sha256Digest};
use crate::header::MajorVersion;
use crate::wire::{DEFAULT_BLOCK_SIZE, InstallInfo, InstallOperation, WireContentTables, WireExtent};

/// Bytes of a block.
pub(super) const BLOCK: u64 = DEFAULT_BLOCK_SIZE as u64;

/// Likewise, in memory.
pub(super) const BLOCK_LEN: usize = 4096;
const _: () = assert!(BLOCK_LEN as u64 == BLOCK);

/// Compresses one input after the other to the end of a spool.
pub(super) struct SectionBuilder<'a> {
    spool: &'a mut dyn Write,
    version: MajorVersion,
    options: CompressionOptions<'a>,
    progress: &'a mut dyn FnMut(u64),
    /// Bytes of all inputs that are done.
    done: u64,
    /// Bytes in the spool.
    spooled: u64,
}

/// What became of an input.
pub(super) struct Section {
    pub(super) operations: Vec<InstallOperation>,
    /// In content payloads, in place of operations.
    pub(super) content: Option<WireContentTables>,
    /// The first byte of the slot's content that it is, in place of operations.
    pub(super) content_start: Option<u64>,
    /// The image it is built from, in deltas.
    pub(super) old: Option<InstallInfo>,
    /// Of the input.
    pub(super) size: u64,
    pub(super) sha256: Sha256Digest,
    /// Of all of its data.
    pub(super) data_offset: u64,
    pub(super) data_len: u64,
    pub(super) data_sha256: Sha256Digest,
}

impl Section {
    /// Of an image that nothing makes yet.
    pub(super) fn without_data(size: u64, sha256: Sha256Digest) -> Self {
        Self {
            operations: Vec::new(),
            content: None,
            content_start: None,
            old: None,
            size,
            sha256,
            data_offset: 0,
            data_len: 0,
            data_sha256: RunningHash::default().value(),
        }
    }
}

impl<'a> SectionBuilder<'a> {
    pub(super) fn new(
        spool: &'a mut dyn Write,
        version: MajorVersion,
        options: CompressionOptions<'a>,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            spool,
            version,
            options,
            progress,
            done: 0,
            spooled: 0,
        }
    }

    /// Takes all of `from`.
    pub(super) fn section(
        &mut self,
        input: Input,
        from: &mut (dyn Read + Send),
    ) -> Result<Section, WriteError> {
        let data_offset = self.spooled;
        let mut operations = Vec::new();
        let mut data_sha256 = RunningHash::default();
        let whole = chunk::compress(input, from, self.options, &mut |chunk| {
            data_sha256.update(&chunk.data);
            operations.push(self.operation(input, operations.len(), &chunk)?);
            self.spool.write_all(&chunk.data).map_err(WriteError::Spool)?;
            self.spooled += chunk.data.len() as u64;
            self.done += chunk.input_len;
            (self.progress)(self.done);
            Ok(())
        })?;
        if whole.len == 0 {
            return Err(WriteError::Empty { input });
        }
        Ok(Section {
            operations,
            data_offset,
            data_len: self.spooled - data_offset,
            data_sha256: data_sha256.value(),
            ..Section::without_data(whole.len, whole.sha256)
        })
    }

    /// The operation that unpacks the next chunk.
    fn operation(
        &self,
        input: Input,
        index: usize,
        chunk: &CompressedChunk,
    ) -> Result<InstallOperation, WriteError> {
        let data_len = chunk.data.len() as u64;
        if self.version == MajorVersion::V1 {
            addressable(self.spooled, data_len)?;
        }
        Ok(InstallOperation {
            r#type: Some(chunk.kind),
            data_offset: Some(self.spooled),
            data_length: Some(data_len),
            dst_extents: vec![WireExtent {
                start_block: Some(index as u64 * (CHUNK / BLOCK)),
                num_blocks: Some(self.blocks(input, chunk.input_len)),
            }],
            data_sha256_hash: Some(chunk.sha256.as_bytes().to_vec()),
            ..InstallOperation::default()
        })
    }

    /// Blocks that a chunk of `len` bytes claims. An image ends with its last block, so that it
    /// fits every slot that it fits. Of a version 1 kernel, which is a file, the original's
    /// generator claims a whole chunk.
    fn blocks(&self, input: Input, len: u64) -> u64 {
        match (input, self.version) {
            (Input::Kernel, MajorVersion::V1) => CHUNK / BLOCK,
            _ => len.div_ceil(BLOCK),
        }
    }
}

/// `data_offset` and `data_length` are 32-bit fields to other readers of version 1.
pub(super) fn addressable(offset: u64, len: u64) -> Result<(), WriteError> {
    let end = offset.checked_add(len).ok_or(WriteError::TooLarge)?;
    u32::try_from(end).map(drop).map_err(|_| WriteError::TooLarge)
}
