//! The sink of an operation's result: bytes in, extents filled in order.

use std::sync::Arc;

use super::pieces::clamp;
use super::{Fault, WriteBlocks};
use crate::block::{BlockSize, Extent};

/// Fills the extents of one operation.
pub(super) struct Sink {
    target: Arc<dyn WriteBlocks>,
    block_size: BlockSize,
    extents: std::vec::IntoIter<Extent>,
    /// The extent being filled, and how many of its bytes are.
    current: Option<(Extent, u64)>,
    written: u64,
    room: u64,
    needed: u64,
}

impl Sink {
    /// For these extents of an image whose new length is `image_len` bytes. Blocks past it may stay
    /// as they are: the last operation of an odd-sized image names more than it fills.
    pub(super) fn new(
        target: Arc<dyn WriteBlocks>,
        block_size: BlockSize,
        extents: Vec<Extent>,
        image_len: u64,
    ) -> Self {
        let (room, needed) = lengths(&extents, block_size, image_len);
        let mut extents = extents.into_iter();
        let current = extents.next().map(|extent| (extent, 0));
        Self {
            target,
            block_size,
            extents,
            current,
            written: 0,
            room,
            needed,
        }
    }

    /// Writes the next bytes of the result.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let Some((extent, filled)) = self.current else {
                return Err(Fault::TooLong(self.room));
            };
            let left = extent.count() * self.block_size.bytes() - filled;
            let (now, later) = bytes.split_at(clamp(left, bytes.len()));
            self.write_extent(extent, filled, now)?;
            let taken = now.len() as u64;
            self.written += taken;
            self.current = if taken == left {
                self.extents.next().map(|extent| (extent, 0))
            } else {
                Some((extent, filled + taken))
            };
            bytes = later;
        }
        Ok(())
    }

    fn write_extent(&self, extent: Extent, filled: u64, bytes: &[u8]) -> Result<(), Fault> {
        let Extent::Blocks(range) = extent else {
            return Ok(());
        };
        let offset = range.start() * self.block_size.bytes() + filled;
        self.target
            .write_at(bytes, offset)
            .map_err(|source| Fault::Write { offset, source })
    }

    /// Pads the last block with zeros. A result that leaves blocks of the image unwritten is
    /// refused: they would keep what an earlier version left there.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        let len = self.written;
        let beyond = len % self.block_size.bytes();
        if beyond > 0 {
            let padding = self.block_size.bytes() - beyond;
            self.write(&vec![0; clamp(padding, usize::MAX)])?;
        }
        if self.written < self.needed {
            return Err(Fault::TooShort {
                len,
                needed: self.needed,
            });
        }
        Ok(())
    }
}

/// Bytes of all extents, and of those up to the last block that lies within the image.
fn lengths(extents: &[Extent], block_size: BlockSize, image_len: u64) -> (u64, u64) {
    let image_blocks = block_size.touched_blocks(image_len);
    let (mut blocks, mut needed) = (0, 0);
    for extent in extents {
        if let Extent::Blocks(range) = extent
            && range.start() < image_blocks
        {
            needed = blocks + range.end().min(image_blocks) - range.start();
        }
        blocks += extent.count();
    }
    (blocks * block_size.bytes(), needed * block_size.bytes())
}
