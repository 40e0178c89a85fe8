//! Deltas that we write: whatever the images, they become the new one of the old one.

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::Arc;

use payload_format::writer::{DeltaPayload, Input, Snapshot, WriteError};
use payload_format::{Applier, Event, ImageKind, Limits, Manifest, ReadBlocks, Reader};
use proptest::prelude::*;

use crate::fixture::{self, OLD_IMAGE};
use crate::memory::Memory;

/// A delta from `old` to `new`, unsigned, made on so many threads.
pub(crate) fn delta(old: &[u8], new: &[u8], threads: usize) -> Vec<u8> {
    let (old, new) = (Memory::new(old.to_vec()), Memory::new(new.to_vec()));
    let snapshot = |image: &'_ Arc<Memory>| image.bytes().len() as u64;
    let (old_len, new_len) = (snapshot(&old), snapshot(&new));
    let mut out = Vec::new();
    let summary = DeltaPayload::new(Snapshot::new(&*old, old_len), Snapshot::new(&*new, new_len))
        .with_threads(NonZeroUsize::new(threads).unwrap())
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    assert_eq!(summary.payload_size, out.len() as u64);
    out
}

/// What `payload` makes of `old` in a slot full of something else, and how.
pub(crate) fn apply(payload: &[u8], old: &[u8]) -> (Arc<Manifest>, Vec<u8>) {
    let (old, mut applier) = (Memory::new(old.to_vec()), None);
    let slot = Memory::garbage(64 << 20);
    let mut made = None;
    let reader = Reader::new(Limits::for_slot(64 << 20));
    let finished = fixture::read(payload, 1 << 20, reader, |event| match event {
        Event::Metadata { manifest, .. } => {
            let old: Arc<dyn ReadBlocks> = old.clone();
            let target = Arc::clone(&slot);
            let built = Applier::new(Arc::clone(&manifest), ImageKind::Slot, Some(old), target);
            (applier, made) = (Some(built.unwrap()), Some(manifest));
        }
        Event::Operation { op, data } => applier.as_ref().unwrap().apply(op, &data).unwrap(),
        other => panic!("{other:?}"),
    });
    finished.unwrap();
    let manifest = made.unwrap();
    let mut image = slot.bytes();
    image.truncate(usize::try_from(manifest.partition().new.size).unwrap());
    (manifest, image)
}

/// One change from an old image to the new one.
#[derive(Debug, Clone)]
enum Edit {
    /// Other bytes at this place.
    Overwrite(prop::sample::Index, Vec<u8>),
    /// Everything behind moves.
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// Blocks go elsewhere.
    Copy(prop::sample::Index, prop::sample::Index, usize),
    Zero(prop::sample::Index, usize),
}

impl Edit {
    fn apply(&self, image: &mut Vec<u8>) {
        let at = |index: &prop::sample::Index, image: &Vec<u8>| index.index(image.len() + 1);
        match self {
            Self::Overwrite(index, bytes) => {
                let at = at(index, image);
                let end = (at + bytes.len()).min(image.len());
                image[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Self::Insert(index, bytes) => {
                let at = at(index, image);
                image.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(index, len) => {
                let at = at(index, image);
                let end = (at + len).min(image.len());
                image.drain(at..end);
            }
            Self::Copy(from, to, blocks) => {
                let (from, to) = (at(from, image) / 4096 * 4096, at(to, image) / 4096 * 4096);
                let len = (blocks * 4096).min(image.len() - from.max(to));
                image.copy_within(from..from + len, to);
            }
            Self::Zero(index, len) => {
                let at = at(index, image);
                let end = (at + len).min(image.len());
                image[at..end].fill(0);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), prop::collection::vec(any::<u8>(), 1..6000))
            .prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (index(), prop::collection::vec(any::<u8>(), 1..600)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), 1_usize..9000).prop_map(|(at, len)| Edit::Remove(at, len)),
        (index(), index(), 1_usize..40).prop_map(|(from, to, blocks)| Edit::Copy(from, to, blocks)),
        (index(), 1_usize..20_000).prop_map(|(at, len)| Edit::Zero(at, len)),
    ]
}

/// Compressible and not, in turns.
fn image(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut byte = move |at: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match at / 20_000 % 3 {
            0 => state.to_be_bytes()[0],
            1 => (at / 13 * 7 % 251).to_le_bytes()[0],
            _ => b"words of a text "[(state >> 20) as usize % 16],
        }
    };
    (0..len).map(&mut byte).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_edits_of_any_image_are_undone_by_its_delta(
        seed in any::<u32>(),
        len in 1_usize..400_000,
        edits in prop::collection::vec(edit(), 0..8),
    ) {
        let old = image(seed, len);
        let mut new = old.clone();
        for edit in &edits {
            edit.apply(&mut new);
        }
        new.push(1);
        let payload = delta(&old, &new, 2);
        let (manifest, made) = apply(&payload, &old);
        prop_assert!(manifest.is_delta());
        prop_assert!(made == new);
        prop_assert!(delta(&old, &new, 1) == payload, "whatever the threads");
    }
}

#[test]
fn the_fixtures_new_image_is_made_of_the_old_one() {
    let new = fixture::image("new.img");
    let payload = delta(&OLD_IMAGE, &new, 2);
    let (_, made) = apply(&payload, &OLD_IMAGE);
    assert!(made == new);
    println!("{}", payload.len());
}

#[test]
fn an_unchanged_image_is_copied_and_nothing_more() {
    let old = image(1, 500_000);
    let payload = delta(&old, &old, 2);
    let (manifest, made) = apply(&payload, &old);
    assert!(made == old);
    assert_eq!(manifest.data_len(), 0);
    assert!(
        manifest
            .operations()
            .iter()
            .all(|operation| operation.kind.name() == "SOURCE_COPY")
    );
}

#[test]
fn an_image_that_cannot_be_read_is_named() {
    struct Broken;
    impl ReadBlocks for Broken {
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Other.into())
        }
    }
    let good = Memory::new(vec![7; 9000]);
    let snapshot = Snapshot::new(&*good, 9000);
    let write = |old: Snapshot<'_>| {
        DeltaPayload::new(old, snapshot).write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
    };
    let error = write(Snapshot::new(&Broken, 9000)).unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::Read {
                input: Input::OldImage,
                ..
            }
        ),
        "{error}"
    );
    let error = write(Snapshot::new(&*good, 0)).unwrap_err();
    assert_eq!(error.to_string(), "the old image is empty");
}

/// Blocks that are unlike each other.
fn blocks(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    let block = |number: u32| {
        [number.to_le_bytes(), (!number).to_be_bytes()]
            .concat()
            .repeat(512)
    };
    numbers.flat_map(block).collect()
}

#[test]
fn images_that_share_too_many_scattered_blocks_for_the_limits_of_nodes_are_packed_coarser() {
    // All in order but for the last part, which goes backwards: an extent for each block.
    let old = blocks(0..2048);
    let new = blocks((0..1024).chain((1024..2048).rev()));
    for (extents, copied) in [(4000, 1 << 11), (1000, 1 << 10), (4, 1 << 10)] {
        let limits = Limits {
            extents,
            ..Limits::for_slot(64 << 20)
        };
        let (from, to) = (Memory::new(old.clone()), Memory::new(new.clone()));
        let mut out = Vec::new();
        let len = new.len() as u64;
        DeltaPayload::new(Snapshot::new(&*from, len), Snapshot::new(&*to, len))
            .with_limits(limits)
            .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
            .unwrap();
        let (manifest, made) = apply(&out, &old);
        assert!(made == new);
        let operations = manifest.operations().iter();
        let copies = operations.filter(|operation| operation.kind.name() == "SOURCE_COPY");
        let blocks: u64 = copies.map(payload_format::Operation::destination_blocks).sum();
        assert_eq!(blocks, copied, "{extents} extents");
    }
}

#[test]
fn limits_that_not_even_whole_chunks_fit_are_told() {
    let image = Memory::new(blocks(0..2048));
    let snapshot = || Snapshot::new(&*image, 8 << 20);
    let limits = Limits {
        extents: 3,
        ..Limits::for_slot(64 << 20)
    };
    let error = DeltaPayload::new(Snapshot::new(&*image, 4096), snapshot())
        .with_limits(limits)
        .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
}
