//! Content payloads put together by choices of the fuzzer, with the images that they must give.

use std::sync::Arc;

use payload_format::{Event, Limits, Manifest, Reader, Sha256Digest};

use super::content_bytes::{bytes, compressed, encode, flip};
use super::message::Message;
use super::predecessor_draft::PredecessorDraft;
use crate::input::Input;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;

/// The only encoder that is built in.
const ENCODER: &str = "btrfs-zstd-1.5.7";

/// Fields of the tables that are lists of numbers, as `columns` has them.
const FIELDS: [u64; 6] = [6, 7, 9, 10, 11, 12];
const CHUNK_LENGTHS: usize = 0;
const PACKED_LENGTHS: usize = 1;
const SEGMENT_ENCODERS: usize = 2;
const SEGMENT_STARTS: usize = 3;
const SEGMENT_BLOCKS: usize = 4;
const ENCODED_LENGTHS: usize = 5;

/// Content tables as they stand in a manifest, chunks in the payload, and the image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContentDraft {
    /// Fields 1 to 4: the least length of chunks, bits of the mask, the greatest length, the prefix.
    limits: [u64; 4],
    encoders: Vec<(String, i32)>,
    columns: [Vec<u64>; FIELDS.len()],
    hashes: Vec<u8>,
    tree: Option<TreeDraft>,
    pub(crate) predecessor: Option<PredecessorDraft>,
    /// Bytes of the kernel, and its first byte of content, where it is part of that.
    kernel: Option<(usize, u64)>,
    /// The packed chunks, one after the other, as they lie in the payload.
    data: Vec<u8>,
    /// Content of each chunk.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// What must come out, up to the end of its last block.
    pub(crate) image: Vec<u8>,
    /// Bytes of it that count.
    pub(crate) image_len: usize,
}

/// A hash tree that is computed: of how many blocks, where it begins, and the salt.
#[derive(Debug, Clone)]
struct TreeDraft {
    data_blocks: u64,
    start: u64,
    salt: Vec<u8>,
}

impl ContentDraft {
    /// An image of up to 24 blocks, of segments in any order; some 160 if it has a hash tree of
    /// several levels.
    pub(crate) fn any(input: &mut Input<'_>) -> Self {
        let blocks = 1 + input.below(24);
        let max = *input.one_of(&[65_536, 512, 4096, 262_144]);
        let mut draft = Self {
            limits: [
                64 + u64::from(input.byte()),
                1 + u64::from(input.byte() % 24),
                max,
                0,
            ],
            image: vec![0; blocks * BLOCK],
            image_len: blocks * BLOCK - input.below(BLOCK),
            ..Self::default()
        };
        draft.limits[3] = *input.one_of(&[8192, 0, 100, 1 << 22]);
        draft.encoders = (0..=input.byte() % 2)
            .map(|_| (ENCODER.to_owned(), 1 + i32::from(input.byte() % 15)))
            .collect();
        let mut content = Vec::new();
        let mut end = 0;
        for (start, count) in places(input, blocks) {
            let (encoder, bytes) = draft.segment_content(input, start, count);
            let count = if encoder == 0 {
                count
            } else {
                draft.encoded(encoder, &bytes, start)
            };
            draft.segment(encoder, (start, end), count);
            end = start + count;
            if encoder > 0 {
                draft.columns[ENCODED_LENGTHS].push(bytes.len() as u64);
            }
            content.extend(bytes);
        }
        let max = usize::try_from(max).expect("small");
        let mut lengths = Vec::new();
        let mut left = content.len();
        while left > 0 {
            let len = left.min(max - usize::from(input.short()) % max);
            lengths.push(len);
            left -= len;
        }
        draft.cut(input, &content, &lengths);
        if !content.is_empty() && input.is_odd() {
            let start = usize::from(input.short()) % content.len();
            let len = 1 + usize::from(input.short()) % (content.len() - start);
            draft.kernel = Some((len, start as u64));
        }
        if input.is_odd() {
            draft.add_tree(input);
        }
        if input.is_odd() {
            let [min, mask_bits, max, _] = draft.limits;
            let limits = [min.min(max), mask_bits, max];
            draft.predecessor = Some(PredecessorDraft::any(input, &draft.chunks, limits));
        }
        draft
    }

    /// Appends the hash tree of the image, or of its beginning.
    fn add_tree(&mut self, input: &mut Input<'_>) {
        // Zeros, which no segment writes, but for a tree of two levels.
        let more = if input.byte() > 200 { 130 } else { 2 };
        self.image.resize(self.image.len() + more * BLOCK, 0);
        let blocks = self.image.len() / BLOCK;
        let data_blocks = blocks - input.below(blocks - 1);
        let salt = input.list().to_vec();
        let tree = hash_tree(&self.image[..data_blocks * BLOCK], &salt);
        self.image.extend(tree);
        self.image_len = self.image.len();
        self.tree = Some(TreeDraft {
            data_blocks: data_blocks as u64,
            start: blocks as u64,
            salt,
        });
    }

    /// An image that is these chunks as they are, each in its own right, and zeros to the end of
    /// the last block.
    pub(crate) fn of_chunks(chunks: &[Vec<u8>], [min, mask_bits, max]: [u64; 3]) -> Self {
        let mut content = chunks.concat();
        let mut lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
        let fill = content.len().next_multiple_of(BLOCK) - content.len();
        content.resize(content.len() + fill, 0);
        let max_len = usize::try_from(max).expect("small");
        lengths.extend((0..fill).step_by(max_len).map(|at| max_len.min(fill - at)));
        let mut draft = Self {
            limits: [min, mask_bits, max, 8192],
            image: content.clone(),
            image_len: content.len(),
            ..Self::default()
        };
        for _ in 0..content.len() / BLOCK {
            draft.segment(0, (0, 0), 1);
        }
        draft.cut(&mut Input::new(&[]), &content, &lengths);
        draft
    }

    /// Of so many blocks from `start`; the one before ended at `end`.
    fn segment(&mut self, encoder: usize, (start, end): (usize, usize), count: usize) {
        let [start, end] = [start, end].map(|block| i64::try_from(block).expect("small"));
        self.columns[SEGMENT_ENCODERS].push(encoder as u64);
        self.columns[SEGMENT_STARTS].push(zigzag(start - end));
        self.columns[SEGMENT_BLOCKS].push(count as u64);
    }

    /// Content for a segment of these blocks, and the number of its encoder, if it has one. What no
    /// encoder makes short enough has none.
    fn segment_content(&mut self, input: &mut Input<'_>, start: usize, count: usize) -> (usize, Vec<u8>) {
        let encoder = input.below(self.encoders.len() + 1);
        if encoder > 0 {
            let len = 1 + usize::from(input.short()) % 40_000;
            let bytes = bytes(input, len, count);
            if encode(self.encoders[encoder - 1].1, &bytes).len() <= count * BLOCK {
                return (encoder, bytes);
            }
        }
        let whole = bytes(input, count * BLOCK, count);
        self.image[start * BLOCK..][..whole.len()].copy_from_slice(&whole);
        (0, whole)
    }

    /// Writes what the encoder makes of it; how many blocks that takes.
    fn encoded(&mut self, encoder: usize, content: &[u8], start: usize) -> usize {
        let frame = encode(self.encoders[encoder - 1].1, content);
        self.image[start * BLOCK..][..frame.len()].copy_from_slice(&frame);
        frame.len().div_ceil(BLOCK)
    }

    /// Makes chunks of the content, some packed.
    fn cut(&mut self, input: &mut Input<'_>, content: &[u8], lengths: &[usize]) {
        let prefix_len = usize::try_from(self.limits[3]).expect("small");
        let mut at = 0;
        for len in lengths {
            let (before, chunk) = (&content[..at], &content[at..at + len]);
            let prefix = &before[before.len().saturating_sub(prefix_len)..];
            let packed = input.is_odd().then(|| compressed(1, false, prefix, chunk));
            let packed = packed.filter(|packed| packed.len() < chunk.len());
            let packed = packed.unwrap_or_else(|| chunk.to_vec());
            self.columns[CHUNK_LENGTHS].push(*len as u64);
            self.columns[PACKED_LENGTHS].push(packed.len() as u64);
            self.hashes
                .extend_from_slice(&Sha256Digest::of(chunk).as_bytes()[..16]);
            self.data.extend(packed);
            self.chunks.push(chunk.to_vec());
            at += len;
        }
    }

    /// Changes something of the tables or a byte of the data.
    pub(crate) fn damage(&mut self, input: &mut Input<'_>) {
        let what = input.below(FIELDS.len() + 7);
        let at = usize::from(input.short());
        let numbers = [0, 1, 2, 1 << 31, u64::from(u32::MAX), 1 << 32, u64::MAX, 1 << 63];
        let number = match input.byte() {
            0..128 => *input.one_of(&numbers),
            128..220 => input.short().into(),
            _ => input.long(),
        };
        if let Some(column) = self.columns.get_mut(what) {
            let len = column.len();
            match (input.byte() % 4, len) {
                (0, _) => column.push(number),
                (1, 1..) => drop(column.remove(at % len)),
                (_, 1..) => column[at % len] = number,
                _ => {}
            }
            return;
        }
        let choice = at % 4;
        match what - FIELDS.len() {
            0 => self.limits[choice] = number,
            1 if choice == 0 => self.encoders.push(("zstd".to_owned(), 3)),
            1 => self.encoders[0].1 = i32::from(input.byte()) - 100,
            2 if choice == 0 => drop(self.hashes.pop()),
            2 => flip(&mut self.hashes, at),
            3 => match (&mut self.tree, choice) {
                (Some(tree), 0) => tree.data_blocks = number,
                (Some(tree), 1) => tree.start = number,
                (Some(tree), _) => tree.salt.resize(at % 300, 7),
                (None, _) => {
                    self.tree = Some(TreeDraft {
                        data_blocks: number,
                        start: input.short().into(),
                        salt: Vec::new(),
                    });
                }
            },
            4 => self.kernel = Some((1 + at, number)),
            5 => match &mut self.predecessor {
                Some(predecessor) => predecessor.damage(input, number, at),
                None => flip(&mut self.data, at),
            },
            _ => flip(&mut self.data, at),
        }
    }

    /// The kernel that is part of the content, as far as it is.
    pub(crate) fn kernel(&self) -> Vec<u8> {
        let (len, start) = self.kernel.unwrap_or_default();
        let content = self.chunks.iter().flatten().copied();
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        content.skip(start).take(len).collect()
    }

    /// The payload, unsigned.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let image = &self.image[..self.image_len];
        let info = Message::default().number(1, image.len() as u64);
        let info = info.bytes(2, Sha256Digest::of(image).as_bytes());
        let mut tables = Message::default();
        for (field, limit) in (1..).zip(self.limits) {
            tables = tables.number(field, limit);
        }
        for (name, level) in &self.encoders {
            let encoder = Message::default().bytes(1, name.as_bytes());
            tables = tables.bytes(5, &encoder.number(2, zigzag((*level).into())).0);
        }
        for (field, column) in FIELDS.iter().zip(&self.columns) {
            let list = column
                .iter()
                .fold(Message::default(), |list, &number| list.varint(number));
            tables = tables.bytes(*field, &list.0);
        }
        let mut tables = tables.bytes(8, &self.hashes);
        if let Some(tree) = &self.tree {
            let message = Message::default()
                .number(1, tree.data_blocks)
                .number(2, tree.start);
            tables = tables.bytes(13, &message.bytes(3, &tree.salt).0);
        }
        if let Some(predecessor) = &self.predecessor {
            tables = tables.bytes(14, &predecessor.message());
        }
        let partition = Message::default()
            .bytes(1, b"usr")
            .bytes(7, &info.0)
            .bytes(50_001, &tables.0);
        let manifest = Message::default().number(3, BLOCK as u64).number(12, 50_001);
        let mut manifest = manifest.bytes(13, &partition.0);
        if let Some((len, start)) = self.kernel {
            let kernel = self.kernel();
            let info = Message::default().number(1, len as u64);
            let info = info.bytes(2, Sha256Digest::of(&kernel).as_bytes());
            let partition = Message::default().bytes(1, b"kernel").bytes(7, &info.0);
            manifest = manifest.bytes(13, &partition.number(50_002, start).0);
        }
        let manifest = manifest.0;
        let mut bytes = b"CrAU".to_vec();
        bytes.extend(2_u64.to_be_bytes());
        bytes.extend((manifest.len() as u64).to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        let patches = self
            .predecessor
            .as_ref()
            .map_or(&[][..], |predecessor| &predecessor.data);
        [&bytes[..], &manifest, &self.data, patches].concat()
    }
}

/// Manifest and packed chunks of a payload, if it isn't refused.
pub(crate) fn read(payload: &[u8]) -> Option<(Arc<Manifest>, Vec<u8>)> {
    let limits = Limits {
        content_payloads: true,
        ..Limits::for_slot(1 << 20)
    };
    let (mut reader, mut manifest, mut data) = (Reader::new(limits), None, Vec::new());
    for mut piece in payload.chunks(50_000) {
        while let Some(event) = reader.read(&mut piece).ok()? {
            match event {
                Event::Metadata { manifest: read, .. } => manifest = Some(read),
                Event::Content { data: read } => data.extend(read),
                other => panic!("{other:?} of a payload without operations"),
            }
        }
    }
    reader.finish().ok()?;
    Some((manifest?, data))
}

/// The hash tree of dm-verity, the level of one block first.
fn hash_tree(data: &[u8], salt: &[u8]) -> Vec<u8> {
    let hashes = data
        .chunks(BLOCK)
        .flat_map(|block| *Sha256Digest::of(&[salt, block].concat()).as_bytes());
    let mut level: Vec<u8> = hashes.collect();
    level.resize(level.len().next_multiple_of(BLOCK), 0);
    if level.len() == BLOCK {
        return level;
    }
    [hash_tree(&level, salt), level].concat()
}

/// Runs of blocks of an image, in any order.
fn places(input: &mut Input<'_>, blocks: usize) -> Vec<(usize, usize)> {
    let (mut places, mut next) = (Vec::new(), 0);
    while next < blocks {
        let start = next + input.below(3);
        let count = (1 + input.below(4)).min(blocks.saturating_sub(start));
        if count == 0 {
            break;
        }
        places.push((start, count));
        next = start + count;
    }
    for _ in 0..input.byte() % 8 {
        let pair = [input.below(places.len().max(1)), input.below(places.len().max(1))];
        if !places.is_empty() {
            places.swap(pair[0], pair[1]);
        }
    }
    places
}

/// As `sint32` and `sint64` lie on the wire.
pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
