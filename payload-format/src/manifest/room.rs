//! The room of one image in its target.

use super::ManifestError;
use crate::block::BlockSize;
use crate::header::MajorVersion;
use crate::image::{ImageInfo, ImageKind};
use crate::limits::Limits;
use crate::wire;

/// What fits where.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) version: MajorVersion,
    pub(super) kind: ImageKind,
    pub(super) block_size: BlockSize,
    /// In bytes.
    len: u64,
    /// Bytes of data or of a result that may be held in memory.
    pub(super) whole_data: u64,
}

impl Room {
    pub(super) fn new(
        version: MajorVersion,
        kind: ImageKind,
        block_size: BlockSize,
        limits: &Limits,
    ) -> Self {
        let len = match kind {
            ImageKind::Slot => limits.slot_len,
            ImageKind::Kernel | ImageKind::PcrPolicy => limits.file_len,
            // One that isn't known was refused by its name.
            ImageKind::ExtraPartition(name) => limits.extra_partitions.room(name).unwrap_or(0),
        };
        Self {
            version,
            kind,
            block_size,
            len: len.min(block_size.longest()),
            whole_data: limits.whole_data,
        }
    }

    /// Whole blocks of room.
    pub(super) fn blocks(&self) -> u64 {
        self.block_size.whole_blocks(self.len)
    }

    pub(super) fn info(&self, info: wire::InstallInfo) -> Result<ImageInfo, ManifestError> {
        let image = self.kind;
        let (Some(size), Some(hash)) = (info.size, info.hash) else {
            return Err(ManifestError::NoImageInfo(image));
        };
        let len = hash.len();
        let sha256: [u8; 32] = hash
            .try_into()
            .map_err(|_| ManifestError::ImageHash { image, len })?;
        if size == 0 {
            return Err(ManifestError::EmptyImage(image));
        }
        if size > self.len {
            return Err(ManifestError::ImageSize {
                image,
                size,
                room: self.len,
            });
        }
        Ok(ImageInfo {
            size,
            sha256: sha256.into(),
        })
    }
}
