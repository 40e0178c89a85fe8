//! Content payloads: their tables, and the image that is built by them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use payload_format::{
    ContentBuilder, ContentCopy, ContentError, ContentTables, ImageKind, Manifest, OldContent, PatchedChunks,
    ReadBlocks, VerityTree, WriteBlocks,
};

use super::content_draft::{BLOCK, ContentDraft, read};
use super::memory::Memory;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "content",
    property: "Sound tables give their image, whichever chunks were there already; any others are refused, or \
               write each block of the image once and nothing else.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let damages = (input.byte() % 8).saturating_sub(3);
    // Chunks that the node has, by their number modulo 8.
    let there = input.byte();
    let mut choices = input.clone();
    let mut damage = Input::new(choices.bytes(64));
    input.bytes(if damages > 0 { 64 } else { 0 });
    let mut draft = ContentDraft::any(&mut input);
    for _ in 0..damages {
        draft.damage(&mut damage);
    }
    let is_sound = damages == 0;
    let Some((manifest, data)) = read(&draft.payload()) else {
        assert!(!is_sound, "a sound payload is refused");
        return;
    };
    let tables = manifest.content().expect("a content payload");
    within_bounds(tables, &manifest, data.len());
    ranges_hold_what_is_missing(tables, there);
    let old = draft
        .predecessor
        .as_ref()
        .map(|predecessor| predecessor.old.as_slice());
    match build(&manifest, &data, (&draft.chunks, there), old) {
        Ok(mut built) => {
            let is_packed = |number: usize| tables.chunks()[number].packed_len < tables.chunks()[number].len;
            let packed =
                (0..tables.chunks().len()).filter(|&number| is_packed(number) && !has(there, number));
            let is_encoded = tables.segments().iter().any(|segment| segment.encoder.is_some());
            if bug.strikes(is_encoded && packed.count() > 1 && built.patched > 0) {
                built.image[100] ^= 1;
            }
            assert!(!is_sound || built.image == draft.image, "another image");
            assert!(!is_sound || built.kernel == draft.kernel(), "another kernel");
        }
        Err(error) => assert!(!is_sound, "{error}"),
    }
}

/// Chunks and segments are of the same content, and segments of the image's blocks, each in one.
fn within_bounds(tables: &ContentTables, manifest: &Manifest, data_len: usize) {
    let image_len = manifest.partition().new.size;
    let mut written = vec![false; usize::try_from(image_len).expect("small").div_ceil(BLOCK)];
    let all = tables.segments().iter().map(|segment| segment.blocks);
    let tree = tables.verity_tree().map(VerityTree::blocks);
    for range in all.chain(tables.zeros(image_len)).chain(tree) {
        for block in range.start()..range.end() {
            let block = &mut written[usize::try_from(block).expect("in memory")];
            assert!(!*block, "a block is written twice");
            *block = true;
        }
    }
    assert!(written.iter().all(|written| *written), "a block isn't written");
    let of_chunks: u64 = tables.chunks().iter().map(|chunk| u64::from(chunk.len)).sum();
    let of_segments: u64 = tables
        .segments()
        .iter()
        .map(|segment| u64::from(segment.len))
        .sum();
    assert_eq!(of_chunks, of_segments);
    assert!(of_chunks <= 32 * (written.len() * BLOCK) as u64, "{of_chunks}");
    assert_eq!(tables.data_len(), data_len as u64);
    for predecessor in tables.predecessors() {
        let mut next = 0;
        for section in predecessor.sections() {
            assert!(next <= section.chunks.start && !section.chunks.is_empty());
            assert!(section.place + u64::from(section.packed_len) <= tables.data_len());
            next = section.chunks.end;
        }
        assert!(next <= tables.chunks().len());
    }
    if let Some(kernel) = manifest.image(ImageKind::Kernel) {
        let end = kernel
            .content_start
            .and_then(|start| start.checked_add(kernel.new.size));
        assert!(end.is_some_and(|end| end <= of_chunks), "{kernel:?}");
    }
}

const fn has(there: u8, chunk: usize) -> bool {
    there >> (chunk % 8) & 1 == 1
}

/// Ranges are in order, within the data, and hold every chunk that isn't there.
fn ranges_hold_what_is_missing(tables: &ContentTables, there: u8) {
    let ranges = tables.missing(|chunk| has(there, chunk));
    let mut end = None;
    for range in &ranges {
        assert!(end < Some(range.start) && range.start < range.end, "{ranges:?}");
        end = Some(range.end);
    }
    assert!(end.unwrap_or(0) <= tables.data_len());
    let mut place = 0;
    for (number, chunk) in tables.chunks().iter().enumerate() {
        let next = place + u64::from(chunk.packed_len);
        let is_held = ranges
            .iter()
            .any(|range| range.start <= place && next <= range.end);
        assert!(is_held || has(there, number), "chunk {number} isn't asked for");
        place = next;
    }
}

/// What comes of a payload.
struct Built {
    /// Up to the end of its last block.
    image: Vec<u8>,
    /// If it is part of the content.
    kernel: Vec<u8>,
    /// Sections that a patch has made whose steps were carried out.
    patched: usize,
}

/// Builds the image on top of garbage.
fn build(
    manifest: &Manifest,
    data: &[u8],
    (chunks, there): (&[Vec<u8>], u8),
    old: Option<&[u8]>,
) -> Result<Built, ContentError> {
    let tables = manifest.content().expect("a content payload");
    let image_len = manifest.partition().new.size;
    let blocks = usize::try_from(image_len).expect("small").div_ceil(BLOCK);
    let target = Arc::new(WrittenOnce {
        image: Memory::new(vec![0xa5; blocks * BLOCK]),
        written: Mutex::new(vec![false; blocks]),
    });
    let kernel = manifest
        .image(ImageKind::Kernel)
        .filter(|kernel| kernel.content_start.is_some());
    let kernel_len = kernel.map_or(0, |kernel| kernel.new.size);
    let kernel_target = Memory::new(vec![0xa5; usize::try_from(kernel_len).expect("small")]);
    let copy = kernel
        .and_then(|kernel| kernel.content_start)
        .map(|start| ContentCopy {
            start,
            len: kernel_len,
            target: kernel_target.clone(),
        });
    let builder = ContentBuilder::new(Arc::clone(tables), image_len, target.clone());
    let mut builder = builder.with_copies(copy.into_iter().collect());
    let mut old = find(old.unwrap_or_default(), tables);
    let mut patches = PatchedChunks::new(tables, &old, |chunk| has(there, chunk));
    for range in patches.missing(|chunk| has(there, chunk)) {
        assert!(
            range.start < range.end && range.end <= tables.data_len(),
            "{range:?}"
        );
    }
    let (mut place, mut carried_out) = (0, 0);
    while let Some((number, chunk)) = builder.due() {
        let packed_len = usize::try_from(chunk.packed_len).expect("small");
        let made = patches.take(number, &mut old, |place, len| {
            let (start, len) = (usize::try_from(place), usize::try_from(len));
            let patch = data[start.expect("small")..][..len.expect("small")].to_vec();
            carried_out += usize::from(patch.starts_with(b"BSDF2"));
            Ok::<_, ContentError>(patch)
        })?;
        if let Some(content) = made {
            builder.take(content)?;
            place += packed_len;
            continue;
        }
        match chunks.get(number).filter(|_| has(there, number)) {
            Some(content) => builder.take(content)?,
            None => builder.take_packed(&data[place..place + packed_len])?,
        }
        place += packed_len;
    }
    builder.finish()?;
    let written = target.written.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(written.iter().all(|written| *written), "a block wasn't written");
    Ok(Built {
        image: target.image.bytes(),
        kernel: kernel_target.bytes(),
        patched: carried_out,
    })
}

/// What an old image has.
fn find(old: &[u8], tables: &Arc<ContentTables>) -> OldContent {
    let len = old.len() as u64;
    OldContent::find(Memory::new(old.to_vec()), len, Arc::clone(tables)).expect("in memory")
}

/// Takes each block once.
struct WrittenOnce {
    image: Arc<Memory>,
    written: Mutex<Vec<bool>>,
}

impl ReadBlocks for WrittenOnce {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.image.read_at(buf, offset)
    }
}

impl WriteBlocks for WrittenOnce {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).expect("within the image");
        assert!(
            start.is_multiple_of(BLOCK) && buf.len().is_multiple_of(BLOCK),
            "{offset}"
        );
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = &mut written[start / BLOCK..][..buf.len() / BLOCK];
        assert!(!blocks.contains(&true), "a block is written again");
        blocks.fill(true);
        self.image.write_at(buf, offset)
    }
}
