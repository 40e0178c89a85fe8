//! Old images, of which the chunks that are wanted are taken.

use std::io::{self, Cursor};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use payload_format::writer::{ContentOptions, ContentPayload, Snapshot};
use payload_format::{ChunkerParams, ContentBuilder, ContentTables, OldContent, ReadBlocks, Sha256Digest};

use super::btrfs::{Btrfs, DATA, SUPERBLOCK};
use super::content_draft::{BLOCK, ContentDraft, read};
use super::memory::Memory;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "old-image",
    property: "In a sound btrfs each chunk of each file is found. What is read of any image, even one that changes \
               meanwhile, is what is wanted; looking through it reads three times its length at most. Its own \
               content payload makes it again, of nothing and of itself.",
    check,
};

/// Where chunks end.
const PARAMS: [u64; 3] = [64, 8, 2048];

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let damages = (input.byte() % 8).saturating_sub(3);
    let is_generated = input.byte() > 250;
    let later = [input.short(), input.short()];
    let damage: Vec<_> = (0..damages * 2)
        .map(|_| (place(&mut input), input.byte()))
        .collect();
    let btrfs = Btrfs::any(&mut input);
    let chunks: Vec<Vec<u8>> = btrfs.files.iter().flat_map(|file| cut(file)).collect();
    let payload = ContentDraft::of_chunks(&chunks, PARAMS).payload();
    let (manifest, _) = read(&payload).expect("a sound payload");
    let tables = manifest.content().expect("a content payload");

    let mut image = btrfs.image.clone();
    for (place, bits) in &damage {
        image[*place] ^= bits;
    }
    let is_sound = image == btrfs.image;
    let old = Arc::new(Counted::new(image.clone()));
    let mut found =
        OldContent::find(old.clone(), image.len() as u64, Arc::clone(tables)).expect("it can be read");
    let count = old.count.load(Ordering::Relaxed);
    assert!(count <= 3 * image.len() as u64 + 4096, "{count} bytes were read");
    if is_sound {
        let missing = (0..chunks.len()).filter(|chunk| !found.has(*chunk)).count();
        assert_eq!(missing, 0, "of {} chunks", chunks.len());
    }
    let is_deep = btrfs.compressed.iter().any(|compressed| *compressed) && chunks.len() > 3;
    right_or_nothing(&mut found, &chunks, bug, is_deep);
    // Now it becomes another one.
    old.change(later);
    right_or_nothing(&mut found, &chunks, Bug::None, false);
    if is_generated {
        made_again(&image);
    }
}

/// A place in the superblock or a node: near its begin or its end, where all is that it says.
fn place(input: &mut Input<'_>) -> usize {
    let block = SUPERBLOCK + input.below((DATA - SUPERBLOCK) / BLOCK) * BLOCK;
    if input.is_odd() {
        block + BLOCK - 1 - input.below(1500)
    } else {
        block + input.below(1000)
    }
}

/// What is read of a chunk is what is wanted.
fn right_or_nothing(found: &mut OldContent, chunks: &[Vec<u8>], bug: Bug, is_deep: bool) {
    for (number, wanted) in chunks.iter().enumerate() {
        let mut content = found.read(number).expect("it can be read");
        assert!(content.is_none() || found.has(number));
        if let Some(content) = content.as_mut().filter(|_| bug.strikes(is_deep && number == 3)) {
            content[0] ^= 1;
        }
        assert!(content.is_none_or(|content| content == *wanted), "chunk {number}");
    }
}

static GEAR: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let first = |byte: u8| {
        *Sha256Digest::of(&[byte])
            .as_bytes()
            .first_chunk()
            .expect("32 bytes")
    };
    (0..=u8::MAX)
        .map(|byte| u64::from_le_bytes(first(byte)))
        .collect()
});

/// Cuts a unit by the rule that the documentation has.
fn cut(unit: &[u8]) -> Vec<Vec<u8>> {
    let [min, mask_bits, max] = PARAMS;
    let (mut chunks, mut chunk, mut hash) = (Vec::new(), Vec::new(), 0_u64);
    for byte in unit {
        chunk.push(*byte);
        hash = hash.wrapping_mul(2).wrapping_add(GEAR[usize::from(*byte)]);
        let len = chunk.len() as u64;
        if len >= min && hash >> (64 - mask_bits) == 0 || len == max {
            chunks.push(std::mem::take(&mut chunk));
            hash = 0;
        }
    }
    chunks.extend(Some(chunk).filter(|chunk| !chunk.is_empty()));
    chunks
}

/// A content payload of the image makes it of nothing, and all of it of itself.
fn made_again(image: &[u8]) {
    let memory = Memory::new(image.to_vec());
    let len = image.len() as u64;
    let options = ContentOptions {
        chunker: ChunkerParams::new(256, 9, 4096).expect("parameters"),
        prefix_len: 8192,
        level: 1,
    };
    let (mut spool, mut payload) = (Cursor::new(Vec::new()), Vec::new());
    ContentPayload::new(Snapshot::new(memory.as_ref(), len))
        .with_threads(NonZero::<usize>::MIN)
        .write(&options, &mut spool, &mut payload, &mut |_| {})
        .expect("of any image");
    let (manifest, data) = read(&payload).expect("what was written");
    let tables = manifest.content().expect("a content payload");
    let mut itself = OldContent::find(memory, len, Arc::clone(tables)).expect("it can be read");
    let of_nothing = build(tables, len, &mut |range, _| data[range].to_vec(), true);
    assert!(of_nothing == image, "another image of nothing");
    let mut of_old = |_, chunk| itself.read(chunk).expect("readable").expect("of itself");
    assert!(
        build(tables, len, &mut of_old, false) == image,
        "another image of itself"
    );
}

fn build(
    tables: &Arc<ContentTables>,
    len: u64,
    chunk: &mut dyn FnMut(std::ops::Range<usize>, usize) -> Vec<u8>,
    is_packed: bool,
) -> Vec<u8> {
    let target = Memory::new(vec![0xa5; usize::try_from(len).expect("small")]);
    let mut builder = ContentBuilder::new(Arc::clone(tables), len, target.clone());
    let mut place = 0;
    while let Some((number, due)) = builder.due() {
        let end = place + usize::try_from(due.packed_len).expect("small");
        let bytes = chunk(place..end, number);
        let taken = if is_packed {
            builder.take_packed(&bytes)
        } else {
            builder.take(&bytes)
        };
        taken.expect("what was packed");
        place = end;
    }
    builder.finish().expect("all chunks");
    target.bytes()
}

/// An image that counts what is read of it, and can change.
struct Counted {
    bytes: Mutex<Vec<u8>>,
    count: AtomicU64,
}

impl Counted {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Mutex::new(bytes),
            count: AtomicU64::new(0),
        }
    }

    /// Changes a byte of extents, and many.
    fn change(&self, [at, many]: [u16; 2]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes[DATA + usize::from(at)] ^= 0x5a;
        let from = DATA + usize::from(many);
        bytes[from..from + usize::from(many % 4096)].fill(0x77);
    }
}

impl ReadBlocks for Counted {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.count.fetch_add(buf.len() as u64, Ordering::Relaxed);
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let inside = bytes.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(inside.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
