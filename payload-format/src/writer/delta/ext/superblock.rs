//! The file system's geometry.

use super::Trouble;
use super::field::Field;
use crate::writer::delta::blocks::Snapshot;

/// Where the superblock is, in bytes, and how much of it is of interest.
const SUPERBLOCK: (u64, usize) = (1024, 1024);

/// In bytes.
const LARGEST_BLOCK: u64 = 65_536;

const MAGIC: u16 = 0xef53;

/// Features that make a layout unusual: compression, an outside journal, groups of descriptors
/// elsewhere, and what came after these. What is left: file types in directories, extents, 64 bits,
/// flexible groups, checksums' seeds, large directories.
const INCOMPATIBLE: u32 = !(0x2 | 0x40 | 0x80 | 0x200 | 0x2000 | 0x4000);
const WIDE: u32 = 0x80;

/// Bytes of an inode that say where its content is.
const INODE: usize = 128;

/// A file system that can be read.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    image: Snapshot<'a>,
    /// In bytes.
    pub(super) block_size: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    /// First block of the groups' descriptors.
    descriptors: u64,
    descriptor_size: u64,
}

impl<'a> Volume<'a> {
    pub(super) fn open(image: &Snapshot<'a>) -> Result<Self, Trouble> {
        let bytes = bytes(image, SUPERBLOCK.0, SUPERBLOCK.1)?;
        let field = Field(&bytes);
        let old = field.u32(76) == 0;
        let incompatible = if old { 0 } else { field.u32(96) };
        let block_size = 1024_u64.checked_shl(field.u32(24)).unwrap_or(0);
        let volume = Self {
            image: *image,
            block_size,
            inodes: field.u32(0),
            inodes_per_group: field.u32(40),
            inode_size: if old { 128 } else { field.u16(88).into() },
            descriptors: u64::from(field.u32(20)) + 1,
            descriptor_size: match incompatible & WIDE {
                0 => 32,
                _ => field.u16(254).into(),
            },
        };
        let usual = field.u16(56) == MAGIC
            && incompatible & INCOMPATIBLE == 0
            && (1024..=LARGEST_BLOCK).contains(&block_size)
            && volume.inodes_per_group > 0
            && (128..=block_size).contains(&volume.inode_size)
            && (32..=1024).contains(&volume.descriptor_size);
        usual.then_some(volume).ok_or(Trouble::Unusual)
    }

    /// Blocks that the image has.
    pub(super) fn blocks(&self) -> u64 {
        self.image.len() / self.block_size
    }

    /// Inodes for which the image has room.
    pub(super) fn inode_room(&self) -> u64 {
        self.image.len() / self.inode_size
    }

    /// So many blocks, all within the image.
    pub(super) fn read(&self, start: u64, count: u64) -> Result<Vec<u8>, Trouble> {
        if !self.holds(start, count) {
            return Err(Trouble::Unusual);
        }
        let len = usize::try_from(count * self.block_size).map_err(|_| Trouble::Unusual)?;
        bytes(&self.image, start * self.block_size, len)
    }

    /// Whether blocks lie within the image.
    pub(super) fn holds(&self, start: u64, count: u64) -> bool {
        let end = start.checked_add(count);
        end.and_then(|end| end.checked_mul(self.block_size))
            .is_some_and(|end| end <= self.image.len())
    }

    /// The first bytes of an inode.
    pub(super) fn inode(&self, number: u32) -> Result<[u8; INODE], Trouble> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes);
        let index = index.ok_or(Trouble::Unusual)?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let descriptor = self.descriptors * self.block_size + u64::from(group) * self.descriptor_size;
        let descriptor = bytes(&self.image, descriptor, 64)?;
        let field = Field(&descriptor);
        let high = if self.descriptor_size >= 64 {
            field.u32(40)
        } else {
            0
        };
        let table = u64::from(high) << 32 | u64::from(field.u32(8));
        let place = table.checked_mul(self.block_size);
        let place = place.and_then(|place| place.checked_add(u64::from(index) * self.inode_size));
        let inode = bytes(&self.image, place.ok_or(Trouble::Unusual)?, INODE)?;
        inode.first_chunk().copied().ok_or(Trouble::Unusual)
    }
}

fn bytes(image: &Snapshot<'_>, place: u64, len: usize) -> Result<Vec<u8>, Trouble> {
    let end = place.checked_add(len as u64);
    if end.is_none_or(|end| end > image.len()) {
        return Err(Trouble::Unusual);
    }
    let mut bytes = vec![0; len];
    image.read_bytes(place, &mut bytes)?;
    Ok(bytes)
}
