//! An image whose building was interrupted: what is there is not taken from the payload again.

use std::sync::Arc;

use super::{Built, Read, build, generate, read, resume_on, small_chunks};
use crate::memory::Memory;
use payload_format::{ContentBuilder, WriteBlocks as _};

const BLOCK: usize = 4096;

fn kernels() -> (Vec<u8>, Read) {
    let image = crate::fixture::image("../content/btrfs-new.img");
    let read = read(&generate(&image, &small_chunks()));
    (image, read)
}

/// Built to chunk `until`, with what `tear` makes of the image after that, and resumed.
fn resumed(read: &Read, until: usize, tear: impl FnOnce(&Memory)) -> Built {
    let (tables, size) = (
        read.manifest.content().unwrap(),
        read.manifest.partition().new.size,
    );
    let target = Memory::garbage(size.next_multiple_of(4096));
    let mut builder = ContentBuilder::new(Arc::clone(tables), size, target.clone());
    let mut place = 0;
    for chunk in &tables.chunks()[..until] {
        let packed = &read.data[place..place + chunk.packed_len as usize];
        builder.take_packed(packed).unwrap();
        place += packed.len();
    }
    builder.interrupt().unwrap();
    tear(&target);
    resume_on(read, None, &target).unwrap()
}

/// Packed bytes of chunks whose segments are complete with the chunks before `until`.
fn placed(read: &Read, until: usize) -> usize {
    let tables = read.manifest.content().unwrap();
    let taken: u64 = tables.chunks()[..until]
        .iter()
        .map(|chunk| u64::from(chunk.len))
        .sum();
    let (mut end, mut whole) = (0, 0);
    for segment in tables.segments() {
        end += u64::from(segment.len);
        if end <= taken {
            whole = end;
        }
    }
    let mut before = 0;
    let is_placed = |chunk: &&payload_format::Chunk| {
        before += u64::from(chunk.len);
        before <= whole
    };
    let placed = tables.chunks().iter().filter(is_placed);
    placed.map(|chunk| chunk.packed_len as usize).sum()
}

#[test]
fn what_was_written_is_taken_from_there() {
    let (image, read) = kernels();
    let chunks = read.manifest.content().unwrap().chunks().len();
    let whole = build(&read, None).unwrap().fetched;
    for until in [1, chunks / 3, chunks / 2, chunks - 1] {
        let built = resumed(&read, until, |_| {});
        assert!(built.image == image, "{until}");
        assert!(
            built.fetched <= whole - placed(&read, until),
            "{until}: {} of {whole}",
            built.fetched
        );
    }
}

/// The control: it is by what the image holds that bytes are saved, and by nothing else.
#[test]
fn what_is_torn_is_taken_from_the_payload_again() {
    let (image, read) = kernels();
    let chunks = read.manifest.content().unwrap().chunks().len();
    let whole = build(&read, None).unwrap().fetched;
    let kept = resumed(&read, chunks - 1, |_| {}).fetched;
    let mut last = kept;
    for each in [1000, 100, 10, 1] {
        let built = resumed(&read, chunks - 1, |image| {
            for at in (0..image.bytes().len()).step_by(each * BLOCK) {
                // As a cut leaves it that comes within a block.
                image.write_at(&[0xa5; 512], at as u64 + 512).unwrap();
            }
        });
        assert!(built.image == image, "every {each} blocks");
        assert!(
            built.fetched >= last && built.fetched <= whole,
            "every {each} blocks"
        );
        last = built.fetched;
    }
    // Chunks that are shorter than a block may lie beside what is lost.
    assert!(
        kept * 20 < whole && last * 4 > whole * 3,
        "{kept}, {last} of {whole}"
    );
}

/// Nobody has said that it was begun: it costs time, and nothing else.
#[test]
fn an_image_of_something_else_has_nothing_of_it() {
    let (image, read) = kernels();
    let garbage = Memory::garbage(image.len() as u64);
    let zeros = Memory::new(vec![0; image.len()]);
    for target in [garbage, zeros] {
        let built = resume_on(&read, None, &target).unwrap();
        assert!(built.image == image);
    }
}
