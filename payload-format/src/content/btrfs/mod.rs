//! A reader of btrfs, as far as contents of files are concerned: where their extents lie, in the
//! order of trees, files and offsets.
//!
//! It reads images of unknown origin: every number is held against a limit before it is used, and
//! how many nodes are read is bounded by the image's length. What it doesn't understand it leaves
//! out; what is left out is content of another order, never a wrong image. Checksums are not
//! looked at: hashes of chunks decide what a content is good for.
//!
//! Read are file systems on one device whose data and metadata have the profile `single` or `DUP`,
//! with sectors of 4096 bytes. The structures are those of the kernel's `btrfs_tree.h`.

mod chunk_map;
mod field;
mod tree;

use std::io;

use self::chunk_map::ChunkMap;
use self::field::DiskStructure;
use self::tree::{Item, Key, TreeReader};
use super::tables::BLOCK;
use crate::apply::ReadBlocks;
use crate::block::BlockRange;

const SUPERBLOCK_PLACE: u64 = 64 << 10;
const SUPERBLOCK_LEN: usize = 4096;
const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// Types of items.
const EXTENT_DATA: u8 = 108;
const ROOT_ITEM: u8 = 132;

/// The tree of files that every file system has; the numbers of further ones begin at 256.
const FS_TREE: u64 = 5;
const FIRST_FREE: u64 = 256;
const LAST_FREE: u64 = u64::MAX - 255;

/// Trees of files that are read.
const MAX_TREES: usize = 1024;

/// `btrfs_file_extent_item`: a compression, and a type.
const COMPRESSION_ZSTD: u8 = 3;
const REGULAR: u8 = 1;

/// A compressed extent has at most so many bytes of content.
pub(super) const MAX_COMPRESSED: u64 = 128 << 10;

/// An extent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileExtent {
    /// Where it lies in the image.
    pub(super) blocks: BlockRange,
    /// It is compressed with zstd.
    pub(super) is_zstd: bool,
    /// It is the first one of its file.
    pub(super) begins_file: bool,
}

/// Hands out the extents of all files; an extent that several refer to comes several times. None if
/// the image is no btrfs that can be read.
///
/// # Errors
/// The image's; those of what is read are none.
pub(super) fn file_extents(
    image: &dyn ReadBlocks,
    len: u64,
    take: &mut dyn FnMut(FileExtent),
) -> io::Result<()> {
    if len < SUPERBLOCK_PLACE + SUPERBLOCK_LEN as u64 {
        return Ok(());
    }
    let mut superblock = vec![0; SUPERBLOCK_LEN];
    image.read_at(&mut superblock, SUPERBLOCK_PLACE)?;
    let Some(superblock) = Superblock::parse(&superblock) else {
        return Ok(());
    };
    let mut reader = TreeReader::new(image, len, superblock.node_len);
    reader.map = superblock.map;
    let mut map = reader.map.clone();
    reader.walk(superblock.chunk_root, &mut |item| map.add(item))?;
    reader.map = map;
    let mut trees = Vec::new();
    reader.walk(superblock.root, &mut |item| {
        if trees.len() < MAX_TREES {
            trees.extend(file_tree(item));
        }
    })?;
    for root in trees {
        let map = reader.map.clone();
        let mut file = None;
        reader.walk(root, &mut |item| {
            let Some((blocks, is_zstd)) = extent(item, &map, len) else {
                return;
            };
            let begins_file = file.replace(item.key.object) != Some(item.key.object);
            take(FileExtent {
                blocks,
                is_zstd,
                begins_file,
            });
        })?;
    }
    Ok(())
}

/// A tree's root node: its logical address, and its height above the leaves.
#[derive(Debug, Clone, Copy)]
struct TreeRoot {
    address: u64,
    level: u8,
}

struct Superblock {
    root: TreeRoot,
    chunk_root: TreeRoot,
    node_len: usize,
    /// As much as is needed to read the tree that has the rest.
    map: ChunkMap,
}

impl Superblock {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let field = DiskStructure(bytes);
        if field.bytes(0x40, 8)? != MAGIC {
            return None;
        }
        let (devices, sector, node) = (field.u64(0x88)?, field.u32(0x90)?, field.u32(0x94)?);
        let is_known = devices == 1
            && u64::from(sector) == BLOCK
            && (4096..=65_536).contains(&node)
            && node.is_power_of_two();
        let root = |address, level| {
            Some(TreeRoot {
                address: field.u64(address)?,
                level: field.u8(level)?,
            })
        };
        let system = usize::try_from(field.u32(0xa0)?).ok()?;
        let map = ChunkMap::of_superblock(field.bytes(0x32b, system.min(2048))?);
        is_known.then_some(Self {
            root: root(0x50, 0xc6)?,
            chunk_root: root(0x58, 0xc7)?,
            node_len: usize::try_from(node).ok()?,
            map,
        })
    }
}

/// The root of a tree of files.
fn file_tree(item: Item<'_>) -> Option<TreeRoot> {
    let Key { object, kind, .. } = item.key;
    let is_files = object == FS_TREE || (FIRST_FREE..=LAST_FREE).contains(&object);
    if kind != ROOT_ITEM || !is_files {
        return None;
    }
    Some(TreeRoot {
        address: item.content.u64(176)?,
        level: item.content.u8(238)?,
    })
}

/// Where a file's extent lies, and whether it is compressed with zstd. `None` for holes, extents
/// that were only reserved, and those within the tree.
fn extent(item: Item<'_>, map: &ChunkMap, image_len: u64) -> Option<(BlockRange, bool)> {
    let content = item.content;
    if item.key.kind != EXTENT_DATA || content.u8(20)? != REGULAR {
        return None;
    }
    let (compression, encrypted) = (content.u8(16)?, content.u8(17)?);
    let (address, len) = (content.u64(21)?, content.u64(29)?);
    if address == 0 || encrypted != 0 || compression > COMPRESSION_ZSTD {
        return None;
    }
    let place = map.place(address, len)?;
    let end = place.checked_add(len).filter(|end| *end <= image_len)?;
    if place % BLOCK != 0 || len % BLOCK != 0 {
        return None;
    }
    let is_zstd = compression == COMPRESSION_ZSTD && len <= MAX_COMPRESSED;
    Some((BlockRange::new(place / BLOCK, end / BLOCK)?, is_zstd))
}
