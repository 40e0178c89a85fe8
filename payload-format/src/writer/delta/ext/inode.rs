//! The inode of a file: its size and where its content is.

use super::field::Field;
use super::superblock::Volume;
use super::{Trouble, spend};

/// Flags of an inode: its map is a tree of extents; its content is in the inode itself.
const EXTENTS: u32 = 0x8_0000;
const INLINE: u32 = 0x1000_0000;

const EXTENT_MAGIC: u16 = 0xf30a;

/// Blocks of an extent at most.
const WRITTEN: u16 = 0x8000;

/// Levels of a tree of extents at most.
const DEPTH: u16 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// A file or directory.
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// In bytes.
    pub(super) size: u64,
    flags: u32,
    map: [u8; 60],
}

/// Blocks of the file system that follow each other in a file, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockRun {
    pub(super) start: u64,
    pub(super) count: u64,
}

impl Inode {
    /// The one of that number. What is neither file nor directory is unusual.
    pub(super) fn read(volume: &Volume<'_>, number: u32) -> Result<Self, Trouble> {
        Self::parse(&volume.inode(number)?).ok_or(Trouble::Unusual)
    }

    /// `None` for what is neither.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let field = Field(bytes);
        let kind = match field.u16(0) & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Directory,
            _ => return None,
        };
        Some(Self {
            kind,
            size: u64::from(field.u32(108)) << 32 | u64::from(field.u32(4)),
            flags: field.u32(32),
            map: *bytes.get(40..)?.first_chunk()?,
        })
    }

    /// Its blocks in order, holes left out; `left` is how many blocks may still be named, those of
    /// the map itself included.
    pub(super) fn runs(&self, volume: &Volume<'_>, left: &mut u64) -> Result<Vec<BlockRun>, Trouble> {
        let mut map = Map {
            volume,
            runs: Vec::new(),
            left,
        };
        match self.flags {
            flags if flags & INLINE != 0 => {}
            flags if flags & EXTENTS != 0 => map.tree(&self.map, DEPTH)?,
            _ => map.tables(&self.map)?,
        }
        Ok(map.runs)
    }
}

/// A map being read.
struct Map<'a> {
    volume: &'a Volume<'a>,
    runs: Vec<BlockRun>,
    left: &'a mut u64,
}

impl Map<'_> {
    /// A node of extents: magic, entries, room, depth, all of 2 bytes, and 4 more; then entries of
    /// 12 bytes.
    fn tree(&mut self, node: &[u8], above: u16) -> Result<(), Trouble> {
        let header = Field(node);
        let depth = header.u16(6);
        if header.u16(0) != EXTENT_MAGIC || depth >= above {
            return Err(Trouble::Unusual);
        }
        for entry in node.chunks_exact(12).skip(1).take(header.u16(2).into()) {
            let field = Field(entry);
            if depth > 0 {
                let child = u64::from(field.u16(8)) << 32 | u64::from(field.u32(4));
                let node = self.child(child)?;
                self.tree(&node, depth)?;
                continue;
            }
            let start = u64::from(field.u16(6)) << 32 | u64::from(field.u32(8));
            let count = field.u16(4);
            // What has more is reserved, and not written yet.
            if count <= WRITTEN {
                self.push(start, count.into())?;
            }
        }
        Ok(())
    }

    /// Twelve blocks, then tables of tables of blocks, of one, two and three levels.
    fn tables(&mut self, map: &[u8]) -> Result<(), Trouble> {
        let (direct, indirect) = map.split_at(48);
        self.blocks(direct, 0)?;
        for (entry, level) in indirect.chunks_exact(4).zip(1..) {
            self.blocks(entry, level)?;
        }
        Ok(())
    }

    fn blocks(&mut self, table: &[u8], level: u8) -> Result<(), Trouble> {
        for entry in table.chunks_exact(4) {
            let block = u64::from(Field(entry).u32(0));
            match (block, level) {
                (0, _) => {}
                (_, 0) => self.push(block, 1)?,
                _ => {
                    let table = self.child(block)?;
                    self.blocks(&table, level - 1)?;
                }
            }
        }
        Ok(())
    }

    /// A node or a table.
    fn child(&mut self, block: u64) -> Result<Vec<u8>, Trouble> {
        spend(self.left, 1)?;
        self.volume.read(block, 1)
    }

    fn push(&mut self, start: u64, count: u64) -> Result<(), Trouble> {
        // A run of no blocks has its price, too.
        spend(self.left, count.max(1))?;
        if !self.volume.holds(start, count) {
            return Err(Trouble::Unusual);
        }
        let last = self.runs.last_mut();
        match last.filter(|last| last.start + last.count == start) {
            Some(last) => last.count += count,
            None => self.runs.push(BlockRun { start, count }),
        }
        Ok(())
    }
}
