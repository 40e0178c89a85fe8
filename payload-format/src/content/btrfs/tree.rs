//! A reader of btrfs' trees: every item of a tree, in the order of its keys.

use std::io;

use super::TreeRoot;
use super::chunk_map::ChunkMap;
use super::field::DiskStructure;
use crate::apply::ReadBlocks;

/// Bytes of a node's header.
const HEADER: usize = 101;

/// Levels of a tree.
const LEVELS: u8 = 8;

/// What an item is found by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    /// Length of a key on disk, in bytes.
    pub(super) const LEN: usize = 17;

    pub(super) fn parse(field: DiskStructure<'_>) -> Option<Self> {
        Some(Self {
            object: field.u64(0)?,
            kind: field.u8(8)?,
            offset: field.u64(9)?,
        })
    }
}

/// An item of a leaf.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) key: Key,
    pub(super) content: DiskStructure<'a>,
}

/// Reads trees of one image.
pub(super) struct TreeReader<'a> {
    image: &'a dyn ReadBlocks,
    image_len: u64,
    node_len: usize,
    /// Where nodes lie.
    pub(super) map: ChunkMap,
    /// Nodes that may still be read: a tree that is none, but goes in circles, comes to an end.
    nodes_left: u64,
}

impl<'a> TreeReader<'a> {
    pub(super) fn new(image: &'a dyn ReadBlocks, image_len: u64, node_len: usize) -> Self {
        Self {
            image,
            image_len,
            node_len,
            map: ChunkMap::default(),
            nodes_left: image_len / node_len as u64,
        }
    }

    /// Hands out every item of a tree; of a node that makes no sense, none.
    pub(super) fn walk(&mut self, root: TreeRoot, take: &mut dyn FnMut(Item<'_>)) -> io::Result<()> {
        if root.level >= LEVELS {
            return Ok(());
        }
        self.node(root, take)
    }

    /// Recursion ends, since each level is below the one before.
    fn node(&mut self, root: TreeRoot, take: &mut dyn FnMut(Item<'_>)) -> io::Result<()> {
        let Some(node) = self.read(root)? else {
            return Ok(());
        };
        let field = DiskStructure(&node);
        let items = field.u32(96).and_then(|items| usize::try_from(items).ok());
        // Invariant: at least 4096 bytes, of which a header takes 101.
        let body = node.get(HEADER..).unwrap_or_default();
        match root.level.checked_sub(1) {
            None => items_of(body, items.unwrap_or(0)).for_each(take),
            Some(level) => {
                for entry in body.chunks_exact(Key::LEN + 16).take(items.unwrap_or(0)) {
                    if let Some(address) = DiskStructure(entry).u64(Key::LEN) {
                        self.node(TreeRoot { address, level }, take)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A node, if it says itself that it lies there and is of that level.
    fn read(&mut self, root: TreeRoot) -> io::Result<Option<Vec<u8>>> {
        let place = self.map.place(root.address, self.node_len as u64);
        let place = place.filter(|place| {
            let end = place.checked_add(self.node_len as u64);
            end.is_some_and(|end| end <= self.image_len)
        });
        let (Some(place), Some(left)) = (place, self.nodes_left.checked_sub(1)) else {
            return Ok(None);
        };
        self.nodes_left = left;
        let mut node = vec![0; self.node_len];
        self.image.read_at(&mut node, place)?;
        let field = DiskStructure(&node);
        let is_it = field.u64(48) == Some(root.address) && field.u8(100) == Some(root.level);
        Ok(is_it.then_some(node))
    }
}

/// The items of a leaf: their contents lie behind all of their headers.
fn items_of(body: &[u8], count: usize) -> impl Iterator<Item = Item<'_>> {
    let headers = body.chunks_exact(Key::LEN + 8).take(count);
    headers.filter_map(|header| {
        let header = DiskStructure(header);
        let at = usize::try_from(header.u32(Key::LEN)?).ok()?;
        let len = usize::try_from(header.u32(Key::LEN + 4)?).ok()?;
        Some(Item {
            key: Key::parse(header)?,
            content: DiskStructure(DiskStructure(body).bytes(at, len)?),
        })
    })
}
