//! From an input to its data in the spool and the operations that unpack it.

use std::io::{Read, Write};

use super::chunk::{self, Blob, CHUNK, Effort};
use super::{Input, WriteError};
use crate::digest::{RunningHash, Sha256Digest};
use crate::header::MajorVersion;
use crate::wire::{DEFAULT_BLOCK_SIZE, Extent, InstallInfo, InstallOperation};

/// Bytes of a block.
pub(super) const BLOCK: u64 = DEFAULT_BLOCK_SIZE as u64;

/// Likewise, in memory.
pub(super) const BLOCK_LEN: usize = 4096;
const _: () = assert!(BLOCK_LEN as u64 == BLOCK);

/// Compresses one input after the other to the end of a spool.
pub(super) struct Press<'a> {
    spool: &'a mut dyn Write,
    version: MajorVersion,
    effort: Effort<'a>,
    progress: &'a mut dyn FnMut(u64),
    /// Bytes of all inputs that are done.
    done: u64,
    /// Bytes in the spool.
    spooled: u64,
}

/// What became of an input.
pub(super) struct Section {
    pub(super) operations: Vec<InstallOperation>,
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

impl<'a> Press<'a> {
    pub(super) fn new(
        spool: &'a mut dyn Write,
        version: MajorVersion,
        effort: Effort<'a>,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            spool,
            version,
            effort,
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
        let whole = chunk::compress(input, from, self.effort, &mut |blob| {
            data_sha256.update(&blob.data);
            operations.push(self.operation(input, operations.len(), &blob)?);
            self.spool.write_all(&blob.data).map_err(WriteError::Spool)?;
            self.spooled += blob.data.len() as u64;
            self.done += blob.input_len;
            (self.progress)(self.done);
            Ok(())
        })?;
        if whole.len == 0 {
            return Err(WriteError::Empty { input });
        }
        Ok(Section {
            operations,
            old: None,
            size: whole.len,
            sha256: whole.sha256,
            data_offset,
            data_len: self.spooled - data_offset,
            data_sha256: data_sha256.value(),
        })
    }

    /// The operation that unpacks the next blob.
    fn operation(&self, input: Input, index: usize, blob: &Blob) -> Result<InstallOperation, WriteError> {
        let data_len = blob.data.len() as u64;
        if self.version == MajorVersion::V1 {
            addressable(self.spooled, data_len)?;
        }
        Ok(InstallOperation {
            r#type: Some(blob.kind),
            data_offset: Some(self.spooled),
            data_length: Some(data_len),
            dst_extents: vec![Extent {
                start_block: Some(index as u64 * (CHUNK / BLOCK)),
                num_blocks: Some(self.blocks(input, blob.input_len)),
            }],
            data_sha256_hash: Some(blob.sha256.as_bytes().to_vec()),
            ..InstallOperation::default()
        })
    }

    /// Blocks that a chunk of `len` bytes claims. An image ends with its last block, so that it fits every slot
    /// that it fits. Of a version 1 kernel, which is a file, the original's generator claims a whole chunk.
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
