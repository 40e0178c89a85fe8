//! The manifest builder: from sections to the message that describes them.

use super::WriteError;
use super::section::{BLOCK, Section, addressable};
use crate::header::MajorVersion;
use crate::manifest::Manifest;
use crate::partition::PartitionName;
use crate::wire::{
    DEFAULT_BLOCK_SIZE, DeltaArchiveManifest, InstallInfo, InstallOperation, InstallProcedure, KERNEL,
    PartitionUpdate, REPLACE, SPARSE_HOLE, WireExtent,
};

/// The minor version of payloads that need no old image.
const FULL: u32 = 0;

/// The first minor version that has all operations of ours but `REPLACE_ZSTD`, which no minor
/// version stands for.
const DELTA: u32 = 4;

/// The manifest of a payload whose signatures take `signatures_size` bytes (0: it is not signed).
pub(super) fn build(
    version: MajorVersion,
    image: Section,
    kernel: Option<Section>,
    extra_partitions: Vec<(PartitionName, Section)>,
    signatures_size: u64,
) -> Result<DeltaArchiveManifest, WriteError> {
    match version {
        MajorVersion::V1 => procedures(image, kernel, signatures_size),
        MajorVersion::V2 => partitions(image, kernel, extra_partitions, signatures_size),
    }
}

fn partitions(
    image: Section,
    kernel: Option<Section>,
    extra_partitions: Vec<(PartitionName, Section)>,
    signatures_size: u64,
) -> Result<DeltaArchiveManifest, WriteError> {
    let files = kernel
        .iter()
        .chain(extra_partitions.iter().map(|(_, section)| section));
    let data_len = image.data_len + files.map(|section| section.data_len).sum::<u64>();
    let minor_version = minor_version(&image, kernel.as_ref());
    let mut manifest = DeltaArchiveManifest {
        block_size: Some(DEFAULT_BLOCK_SIZE),
        minor_version: Some(minor_version),
        ..DeltaArchiveManifest::default()
    };
    manifest.partitions.push(PartitionUpdate {
        run_postinstall: Some(true),
        ..image.partition("usr")
    });
    manifest
        .partitions
        .extend(kernel.map(|kernel| kernel.partition("kernel")));
    let extra_partitions = extra_partitions.into_iter();
    manifest
        .partitions
        .extend(extra_partitions.map(|(name, section)| section.partition(name.as_str())));
    promise_signatures(MajorVersion::V2, &mut manifest, data_len, signatures_size)?;
    Ok(manifest)
}

/// Which operations a reader must know.
fn minor_version(image: &Section, kernel: Option<&Section>) -> u32 {
    if image.content.is_some() {
        return Manifest::CONTENT_MINOR_VERSION;
    }
    let is_delta = image.old.is_some() || kernel.is_some_and(|kernel| kernel.old.is_some());
    if is_delta { DELTA } else { FULL }
}

fn procedures(
    image: Section,
    kernel: Option<Section>,
    signatures_size: u64,
) -> Result<DeltaArchiveManifest, WriteError> {
    let data_len = image.data_len + kernel.as_ref().map_or(0, |kernel| kernel.data_len);
    let mut manifest = DeltaArchiveManifest {
        block_size: Some(DEFAULT_BLOCK_SIZE),
        new_partition_info: Some(image.info()),
        partition_operations: image.operations,
        ..DeltaArchiveManifest::default()
    };
    if let Some(kernel) = kernel {
        manifest.noop_operations.push(kernel.noop());
        manifest.procedures.push(kernel.procedure());
    }
    promise_signatures(MajorVersion::V1, &mut manifest, data_len, signatures_size)?;
    Ok(manifest)
}

/// Makes the manifest say that signatures of `size` bytes follow the data, if there will be any.
pub(super) fn promise_signatures(
    version: MajorVersion,
    manifest: &mut DeltaArchiveManifest,
    data_len: u64,
    size: u64,
) -> Result<(), WriteError> {
    if size == 0 {
        return Ok(());
    }
    if version == MajorVersion::V1 {
        addressable(data_len, size)?;
        manifest.noop_operations.push(noop(data_len, size));
    }
    manifest.signatures_offset = Some(data_len);
    manifest.signatures_size = Some(size);
    Ok(())
}

impl Section {
    fn info(&self) -> InstallInfo {
        InstallInfo {
            size: Some(self.size),
            hash: Some(self.sha256.as_bytes().to_vec()),
        }
    }

    fn partition(self, name: &str) -> PartitionUpdate {
        PartitionUpdate {
            partition_name: Some(name.to_owned()),
            new_partition_info: Some(self.info()),
            old_partition_info: self.old,
            operations: self.operations,
            content: self.content,
            content_start: self.content_start,
            ..PartitionUpdate::default()
        }
    }

    /// Clients older than procedures want every byte of the data to belong to some operation.
    fn noop(&self) -> InstallOperation {
        InstallOperation {
            data_sha256_hash: Some(self.data_sha256.as_bytes().to_vec()),
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

/// An operation that reads `len` bytes of data at `offset` and writes them nowhere.
fn noop(offset: u64, len: u64) -> InstallOperation {
    InstallOperation {
        r#type: Some(REPLACE),
        data_offset: Some(offset),
        data_length: Some(len),
        dst_extents: vec![WireExtent {
            start_block: Some(SPARSE_HOLE),
            num_blocks: Some(len.div_ceil(BLOCK)),
        }],
        ..InstallOperation::default()
    }
}
