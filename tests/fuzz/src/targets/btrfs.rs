//! A small btrfs put together by choices of the fuzzer, with what its files hold.

use super::content_bytes::{bytes, encode};
use super::content_draft::BLOCK;
use crate::input::Input;

/// Where the superblock lies.
pub(crate) const SUPERBLOCK: usize = 64 << 10;
/// Where nodes of trees begin, behind the superblock's block.
const NODES: usize = SUPERBLOCK + BLOCK;
/// Where extents begin: as many nodes as choices ask for lie before.
pub(crate) const DATA: usize = 216 << 10;
/// Bytes of the image.
const LEN: usize = 296 << 10;

/// Types of items.
const EXTENT_DATA: u8 = 108;
const ROOT_ITEM: u8 = 132;
const CHUNK_ITEM: u8 = 228;

/// Extents of the fuzzer's choice.
#[derive(Debug, Default)]
pub(crate) struct Btrfs {
    pub(crate) image: Vec<u8>,
    /// What each file holds.
    pub(crate) files: Vec<Vec<u8>>,
    /// Files with an extent that is compressed.
    pub(crate) compressed: Vec<bool>,
    node_len: usize,
    next_node: usize,
    next_data: usize,
    /// Logical addresses of metadata and of data, less their places.
    shifts: [u64; 2],
}

/// A key and what it stands for.
type Item = ([u64; 3], Vec<u8>);

impl Btrfs {
    pub(crate) fn any(input: &mut Input<'_>) -> Self {
        let mut image = vec![0; LEN];
        image[..64].copy_from_slice(&[0xb7; 64]);
        let mut btrfs = Self {
            image,
            node_len: *input.one_of(&[4096, 8192]),
            next_node: NODES,
            next_data: DATA,
            shifts: [1 << 20, u64::from(input.short()) << 12],
            ..Self::default()
        };
        // The data's addresses come behind the metadata's.
        btrfs.shifts[1] += 2 << 20;
        let trees = btrfs.trees(input);
        let root = btrfs.tree(input, &trees, 0);
        let metadata = btrfs.chunk(0, DATA);
        let data = btrfs.chunk(DATA, LEN);
        let chunks = btrfs.tree(input, &[metadata.clone(), data], 0);
        btrfs.superblock(root, chunks, &metadata);
        btrfs
    }

    /// Items of the root tree: one or two trees of files.
    fn trees(&mut self, input: &mut Input<'_>) -> Vec<Item> {
        let mut items = Vec::new();
        for number in [5, 256].into_iter().take(1 + input.below(2)) {
            let mut extents = Vec::new();
            for file in 0..=u64::from(input.byte() % 2) {
                extents.extend(self.file(input, 257 + file));
            }
            let height = input.byte() % 3;
            let (address, level) = self.tree(input, &extents, height.into());
            let mut item = vec![0; 439];
            put(&mut item, 176, &address.to_le_bytes());
            item[238] = level;
            items.push(([number, ROOT_ITEM.into(), 0], item));
        }
        items
    }

    /// The items of a file of a few extents.
    fn file(&mut self, input: &mut Input<'_>, inode: u64) -> Vec<Item> {
        let (mut items, mut content, mut compressed) = (Vec::new(), Vec::new(), false);
        for _ in 0..=input.below(2) {
            let room = (LEN - self.next_data) / BLOCK;
            if room == 0 {
                break;
            }
            let blocks = (1 + input.below(3)).min(room);
            let len = 1 + usize::from(input.short());
            let mut bytes = bytes(input, len, blocks);
            let encoded = input.is_odd().then(|| encode(3, &bytes));
            let encoded = encoded.filter(|encoded| encoded.len() <= blocks * BLOCK);
            let is_compressed = encoded.is_some();
            if !is_compressed {
                bytes.resize(blocks * BLOCK, 0);
            }
            let mut stored = encoded.unwrap_or_else(|| bytes.clone());
            stored.resize(stored.len().next_multiple_of(BLOCK), 0);
            put(&mut self.image, self.next_data, &stored);
            let mut item = vec![0; 53];
            put(&mut item, 8, &(bytes.len() as u64).to_le_bytes());
            item[16] = if is_compressed { 3 } else { 0 };
            item[20] = 1;
            put(
                &mut item,
                21,
                &(self.next_data as u64 + self.shifts[1]).to_le_bytes(),
            );
            put(&mut item, 29, &(stored.len() as u64).to_le_bytes());
            items.push(([inode, EXTENT_DATA.into(), content.len() as u64], item));
            self.next_data += stored.len();
            content.extend(bytes);
            compressed |= is_compressed;
        }
        if !items.is_empty() {
            self.files.push(content);
            self.compressed.push(compressed);
        }
        items
    }

    /// Writes a tree of these items with so many levels above the leaves, as far as there is room;
    /// its root's address and level.
    fn tree(&mut self, input: &mut Input<'_>, items: &[Item], height: usize) -> (u64, u8) {
        // A leaf holds all of them.
        let per_leaf = if height == 0 {
            items.len().max(1)
        } else {
            1 + input.below(6)
        };
        let mut nodes: Vec<_> = items.chunks(per_leaf).map(|items| self.leaf(items)).collect();
        if nodes.is_empty() {
            nodes.push(self.leaf(&[]));
        }
        let mut level = 0;
        while nodes.len() > 1 || usize::from(level) < height {
            level += 1;
            nodes = vec![self.inner(&nodes, level)];
        }
        (nodes[0], level)
    }

    fn leaf(&mut self, items: &[Item]) -> u64 {
        let (place, mut end) = (self.node(items.len(), 0), self.node_len - 101);
        let body = place + 101;
        for (number, (key, content)) in items.iter().enumerate() {
            end -= content.len();
            let header = body + number * 25;
            self.key(header, *key);
            let [at, len] = [end, content.len()].map(|number| u32::try_from(number).expect("small"));
            put(&mut self.image, header + 17, &at.to_le_bytes());
            put(&mut self.image, header + 21, &len.to_le_bytes());
            put(&mut self.image, body + end, content);
        }
        place as u64 + self.shifts[0]
    }

    fn inner(&mut self, children: &[u64], level: u8) -> u64 {
        let place = self.node(children.len(), level);
        for (number, child) in children.iter().enumerate() {
            let entry = place + 101 + number * 33;
            self.key(entry, [257, EXTENT_DATA.into(), number as u64]);
            put(&mut self.image, entry + 17, &child.to_le_bytes());
        }
        place as u64 + self.shifts[0]
    }

    /// The place of a new node, with its header.
    fn node(&mut self, items: usize, level: u8) -> usize {
        let place = self.next_node;
        assert!(place + self.node_len <= DATA, "choices are fewer than that");
        self.next_node += self.node_len;
        put(
            &mut self.image,
            place + 48,
            &(place as u64 + self.shifts[0]).to_le_bytes(),
        );
        let items = u32::try_from(items).expect("small");
        put(&mut self.image, place + 96, &items.to_le_bytes());
        self.image[place + 100] = level;
        place
    }

    fn key(&mut self, place: usize, [object, kind, offset]: [u64; 3]) {
        put(&mut self.image, place, &object.to_le_bytes());
        self.image[place + 8] = kind.to_le_bytes()[0];
        put(&mut self.image, place + 9, &offset.to_le_bytes());
    }

    /// The item that maps these places.
    fn chunk(&self, start: usize, end: usize) -> Item {
        let address = start as u64 + self.shifts[usize::from(start == DATA)];
        let mut item = vec![0; 80];
        put(&mut item, 0, &(end as u64 - start as u64).to_le_bytes());
        put(&mut item, 44, &1_u16.to_le_bytes());
        put(&mut item, 56, &(start as u64).to_le_bytes());
        ([256, CHUNK_ITEM.into(), address], item)
    }

    fn superblock(&mut self, root: (u64, u8), chunks: (u64, u8), (key, chunk): &Item) {
        let at = |offset| SUPERBLOCK + offset;
        put(&mut self.image, at(0x40), b"_BHRfS_M");
        put(&mut self.image, at(0x50), &root.0.to_le_bytes());
        put(&mut self.image, at(0x58), &chunks.0.to_le_bytes());
        put(&mut self.image, at(0x88), &1_u64.to_le_bytes());
        put(&mut self.image, at(0x90), &4096_u32.to_le_bytes());
        let node_len = u32::try_from(self.node_len).expect("small");
        put(&mut self.image, at(0x94), &node_len.to_le_bytes());
        let array_len = u32::try_from(17 + chunk.len()).expect("small");
        put(&mut self.image, at(0xa0), &array_len.to_le_bytes());
        self.image[at(0xc6)] = root.1;
        self.image[at(0xc7)] = chunks.1;
        self.key(at(0x32b), *key);
        put(&mut self.image, at(0x32b) + 17, chunk);
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}
