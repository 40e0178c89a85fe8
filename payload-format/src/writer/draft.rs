//! The manifest while its data is still being compressed.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};

use super::chunk::{self, Blob, CHUNK, Whole};
use super::{Input, WriteError};
use crate::wire::{
    DEFAULT_BLOCK_SIZE, DeltaArchiveManifest, Extent, InstallInfo, InstallOperation, InstallProcedure,
    KERNEL, REPLACE, SPARSE_HOLE,
};

/// Bytes of a block.
const BLOCK: u64 = DEFAULT_BLOCK_SIZE as u64;

/// What is known so far.
#[derive(Default)]
pub(super) struct Draft {
    image: Section,
    kernel: Option<Section>,
    data_len: u64,
    done: u64,
}

/// The operations that make one of the inputs.
#[derive(Default)]
struct Section {
    operations: Vec<InstallOperation>,
    size: u64,
    sha256: [u8; 32],
    /// Where its data lies, and the hash of all of it.
    data_offset: u64,
    data_len: u64,
    data_sha256: [u8; 32],
}

impl Draft {
    /// Compresses `from` to the end of `spool` and notes the operations that unpack it.
    pub(super) fn add(
        &mut self,
        input: Input,
        from: &mut (dyn Read + Send),
        threads: NonZeroUsize,
        spool: &mut impl Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), WriteError> {
        let mut section = Section {
            data_offset: self.data_len,
            ..Section::default()
        };
        let mut data_sha256 = Sha256::new();
        let whole = chunk::compress(input, from, threads, &mut |blob| {
            data_sha256.update(&blob.data);
            spool.write_all(&blob.data).map_err(WriteError::Spool)?;
            section.push(input, &blob)?;
            self.done += blob.input_len;
            progress(self.done);
            Ok(())
        })?;
        section.close(input, &whole, data_sha256.finalize().into())?;
        self.data_len = section.data_end();
        match input {
            Input::Image => self.image = section,
            Input::Kernel => self.kernel = Some(section),
        }
        Ok(())
    }

    /// Bytes of data in the spool.
    pub(super) fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Operations for the partition.
    pub(super) fn operations(&self) -> usize {
        self.image.operations.len()
    }

    /// Size and SHA-256 of the image.
    pub(super) fn image(&self) -> (u64, [u8; 32]) {
        (self.image.size, self.image.sha256)
    }

    /// The manifest of a payload whose signatures take `signatures_size` bytes (0: it is not signed).
    pub(super) fn finish(self, signatures_size: u64) -> Result<DeltaArchiveManifest, WriteError> {
        let mut manifest = DeltaArchiveManifest {
            block_size: Some(DEFAULT_BLOCK_SIZE),
            new_partition_info: Some(self.image.info()),
            partition_operations: self.image.operations,
            ..DeltaArchiveManifest::default()
        };
        if let Some(kernel) = self.kernel {
            manifest.noop_operations.push(kernel.noop());
            manifest.procedures.push(kernel.procedure());
        }
        if signatures_size > 0 {
            addressable(self.data_len, signatures_size)?;
            manifest
                .noop_operations
                .push(noop(self.data_len, signatures_size));
            manifest.signatures_offset = Some(self.data_len);
            manifest.signatures_size = Some(signatures_size);
        }
        Ok(manifest)
    }
}

impl Section {
    fn push(&mut self, input: Input, blob: &Blob) -> Result<(), WriteError> {
        let data_len = blob.data.len() as u64;
        addressable(self.data_end(), data_len)?;
        self.operations.push(InstallOperation {
            r#type: Some(blob.kind),
            data_offset: Some(self.data_end()),
            data_length: Some(data_len),
            dst_extents: vec![Extent {
                start_block: Some(self.operations.len() as u64 * (CHUNK / BLOCK)),
                num_blocks: Some(blocks(input, blob.input_len)),
            }],
            data_sha256_hash: Some(blob.sha256.to_vec()),
            ..InstallOperation::default()
        });
        self.data_len += data_len;
        Ok(())
    }

    fn close(&mut self, input: Input, whole: &Whole, data_sha256: [u8; 32]) -> Result<(), WriteError> {
        if whole.len == 0 {
            return Err(WriteError::Empty { input });
        }
        (self.size, self.sha256, self.data_sha256) = (whole.len, whole.sha256, data_sha256);
        Ok(())
    }

    fn data_end(&self) -> u64 {
        self.data_offset + self.data_len
    }

    fn info(&self) -> InstallInfo {
        InstallInfo {
            size: Some(self.size),
            hash: Some(self.sha256.to_vec()),
        }
    }

    /// Clients older than procedures want every byte of the data to belong to some operation.
    fn noop(&self) -> InstallOperation {
        InstallOperation {
            data_sha256_hash: Some(self.data_sha256.to_vec()),
            ..noop(self.data_offset, self.data_len)
        }
    }

    fn procedure(self) -> InstallProcedure {
        InstallProcedure {
            r#type: Some(KERNEL),
            new_info: Some(self.info()),
            operations: self.operations,
            old_info: None,
        }
    }
}

/// Blocks that a chunk of `len` bytes claims. A partition has an end, so its last operation stops with the
/// image's last block. A file has none, and the original's generator claims a whole chunk there.
fn blocks(input: Input, len: u64) -> u64 {
    match input {
        Input::Image => len.div_ceil(BLOCK),
        Input::Kernel => CHUNK / BLOCK,
    }
}

/// An operation that reads `len` bytes of data at `offset` and writes them nowhere.
fn noop(offset: u64, len: u64) -> InstallOperation {
    InstallOperation {
        r#type: Some(REPLACE),
        data_offset: Some(offset),
        data_length: Some(len),
        dst_extents: vec![Extent {
            start_block: Some(SPARSE_HOLE),
            num_blocks: Some(len.div_ceil(BLOCK)),
        }],
        ..InstallOperation::default()
    }
}

/// `data_offset` and `data_length` are 32-bit fields to other readers.
fn addressable(offset: u64, len: u64) -> Result<(), WriteError> {
    let end = offset.checked_add(len).ok_or(WriteError::TooLarge)?;
    u32::try_from(end).map(drop).map_err(|_| WriteError::TooLarge)
}
