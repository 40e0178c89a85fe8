//! Patches from predecessors: whoever has the old image fetches less, whoever doesn't gets the same.

use payload_format::{ContentError, OldContent, PatchedChunks, WriteBlocks as _};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    Built, Read, build, build_from, build_on, find, generate, generate_from, read, resume_on, resume_until,
    small_chunks,
};
use crate::memory::Memory;
use crate::noise::noise;

/// A program, as it is built again: another number here and there.
fn program(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len)
}

fn rebuilt(program: &[u8], every: usize) -> Vec<u8> {
    let mut new = program.to_vec();
    for byte in new.iter_mut().step_by(every) {
        *byte = byte.wrapping_add(1);
    }
    new
}

fn built(read: &Read, old: Option<&[u8]>, new: &[u8]) -> Built {
    let built = build(read, old).unwrap();
    assert!(built.image == new);
    built
}

/// The image with another byte: no payload names it.
fn stranger(old: &[u8]) -> Vec<u8> {
    let mut stranger = old.to_vec();
    if let Some(byte) = stranger.iter_mut().find(|byte| **byte != 0) {
        *byte ^= 0x80;
    }
    stranger
}

/// The new image must come of its predecessor, of an image that is almost that, and of none. So it must
/// after attempts with these that were interrupted, each on what the one before has left: before so many
/// hundredths of the chunks. What the predecessor makes is given.
pub(super) fn check_predecessor(old: &[u8], new: &[u8], cuts: [usize; 3]) -> Built {
    let unlike = noise(99, 9 * 4096);
    let read = read(&generate_from(&[&unlike, old], new, &small_chunks()));
    let stranger = stranger(old);
    let all = [Some(old), Some(&stranger), None];
    let uncut = all.map(|old| built(&read, old, new));
    assert_eq!((uncut[1].patched, uncut[2].patched), (0, 0));
    assert!(uncut[0].fetched <= uncut[1].fetched.max(uncut[2].fetched));
    let first = cuts.iter().sum::<usize>() % 3;
    let target = Memory::garbage((new.len() as u64).next_multiple_of(4096));
    for (turn, cut) in cuts.into_iter().enumerate() {
        let (old, until) = (all[(first + turn) % 3], uncut[0].chunks * cut / 100);
        let ended = match turn {
            0 => build_on(&read, old, &target, until),
            _ => resume_until(&read, old, &target, until),
        };
        assert!(matches!(ended, Err(ContentError::Incomplete { .. })));
        // As a power cut leaves it.
        let torn = (cut * 4096 + 512) as u64;
        if torn + 512 <= new.len() as u64 {
            target.write_at(&[0xa5; 512], torn).unwrap();
        }
    }
    let resumed = resume_on(&read, all[first], &target).unwrap();
    assert!(resumed.image == new, "after {cuts:?}");
    assert!(resumed.fetched <= uncut[first].fetched, "after {cuts:?}");
    let [of_predecessor, _, _] = uncut;
    of_predecessor
}

#[test]
fn a_predecessor_takes_patches_and_others_do_not() {
    let old = [program(1, 200_000), program(2, 100_000)].concat();
    let other = [program(1, 200_000), program(3, 100_000)].concat();
    let new = [rebuilt(&old[..200_000], 97), program(2, 100_000)].concat();
    let plain = read(&generate(&new, &small_chunks()));
    let with_patches = read(&generate_from(&[&other, &old], &new, &small_chunks()));
    let fetched = |read: &Read, old| built(read, old, &new).fetched;
    let unpatched = fetched(&plain, Some(&old));
    let patched = built(&with_patches, Some(&old), &new);
    assert!(patched.patched > 100, "{}", patched.patched);
    assert!(
        patched.fetched < unpatched / 10,
        "{} of {unpatched}",
        patched.fetched
    );
    // Each by its own.
    let patched = built(&with_patches, Some(&other), &new);
    assert!(
        patched.patched > 100 && patched.fetched < unpatched,
        "{}",
        patched.fetched
    );
    // An image that is none of them, though it has much of them, and no image.
    let mut stranger = old.clone();
    stranger[150_000] ^= 1;
    let without = built(&with_patches, Some(&stranger), &new);
    assert_eq!(without.patched, 0);
    assert_eq!(without.fetched, fetched(&plain, Some(&stranger)));
    assert_eq!(fetched(&with_patches, None), fetched(&plain, None));
}

/// A slot is longer than its image, and what lies behind may be anything.
#[test]
fn what_lies_behind_a_predecessor_does_not_matter() {
    let (old, garbage) = (program(1, 50 * 4096), program(9, 30 * 4096));
    let new = rebuilt(&old, 97);
    let read = read(&generate_from(&[&old], &new, &small_chunks()));
    let slot = [old, garbage].concat();
    assert!(built(&read, Some(&slot), &new).patched > 40);
}

#[test]
fn the_same_images_give_the_same_payload() {
    let old = program(1, 300_000);
    let new = rebuilt(&old, 1001);
    let generate = || generate_from(&[&old], &new, &small_chunks());
    assert!(generate() == generate());
}

/// Chunks are all there still, for nodes that have another image.
#[test]
fn patches_change_nothing_of_the_chunks() {
    let old = program(1, 200_000);
    let new = rebuilt(&old, 97);
    let (plain, patched) = (
        read(&generate(&new, &small_chunks())),
        read(&generate_from(&[&old], &new, &small_chunks())),
    );
    let tables = |read: &Read| read.manifest.content().unwrap().clone();
    assert_eq!(tables(&plain).chunks(), tables(&patched).chunks());
    assert!(patched.data.starts_with(&plain.data) && patched.data.len() > plain.data.len());
}

/// What is there is not fetched, though there is a patch.
#[test]
fn ranges_hold_what_is_taken_in_its_order() {
    let old = program(1, 200_000);
    let new = [rebuilt(&old, 97), program(5, 50_000)].concat();
    let read = read(&generate_from(&[&old], &new, &small_chunks()));
    let tables = read.manifest.content().unwrap();
    let old = find(&old, tables);
    let patches = PatchedChunks::new(tables, &old, |chunk| old.has(chunk));
    let len =
        |ranges: Vec<std::ops::Range<u64>>| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    let all = len(tables.missing(|_| false));
    let missing = patches.missing(|chunk| old.has(chunk));
    assert!(
        missing.iter().all(|range| range.end <= tables.data_len()),
        "{missing:?}"
    );
    assert!(len(missing) < all / 3);
    assert_eq!(
        len(PatchedChunks::new(tables, &old, |_| true).missing(|_| true)),
        0
    );
}

/// As where an attempt was interrupted amid the chunks of a patch.
#[test]
fn a_patch_is_taken_only_where_it_is_smaller_than_the_chunks_that_are_missing() {
    let old = program(1, 200_000);
    let new = [rebuilt(&old, 97), program(4, 60_000)].concat();
    let read = read(&generate_from(&[&old], &new, &small_chunks()));
    let tables = read.manifest.content().unwrap();
    let found = find(&old, tables);
    let where_all_is_missing = PatchedChunks::new(tables, &found, |chunk| found.has(chunk));
    assert!(where_all_is_missing.count() > 40);
    let mut left_out = 0;
    for (number, chunk) in tables.chunks().iter().enumerate() {
        let has = |other| other != number;
        let patches = PatchedChunks::new(tables, &found, has);
        for (_, patch) in patches.patches() {
            assert!(patch.end - patch.start < chunk.packed_len.into());
        }
        let fetched: u64 = patches
            .missing(has)
            .iter()
            .map(|range| range.end - range.start)
            .sum();
        assert!(fetched <= chunk.packed_len.into());
        left_out += usize::from(patches.count() == 0);
    }
    assert!(left_out > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_image_comes_of_its_predecessor_of_another_and_of_none(
        seed in 0_u64..9,
        len in 1_usize..150_000,
        edits in prop::collection::vec((any::<Index>(), 0_usize..3000, 0_usize..3000), 0..6),
        garbage in 0_usize..40_000,
        cuts in prop::array::uniform3(0_usize..100),
    ) {
        let old = program(seed, len);
        let mut new = rebuilt(&old, 211);
        for (at, removed, inserted) in edits {
            let at = at.index(new.len() + 1);
            let end = new.len().min(at + removed);
            new.splice(at..end, noise(inserted as u64, inserted));
        }
        new.push(1);
        let other = program(seed + 10, len);
        let read = read(&generate_from(&[&other, &old], &new, &small_chunks()));
        for old in [Some(&old[..]), Some(&other), Some(&[&old[..], &noise(3, garbage)].concat()), None] {
            built(&read, old, &new);
        }
        check_predecessor(&old, &new, cuts);
    }

    /// The old image changes after it was looked through: the new image comes out, or nothing does.
    #[test]
    fn an_old_image_that_changes_costs_no_more_than_the_attempt(
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let old = program(1, 150_000);
        let new = [rebuilt(&old, 97), program(4, 9000)].concat();
        let read = read(&generate_from(&[&old], &new, &small_chunks()));
        let memory = Memory::new(old.clone());
        let tables = read.manifest.content().unwrap();
        let found = OldContent::find(memory.clone(), old.len() as u64, tables.clone()).unwrap();
        for (at, byte) in changes {
            payload_format::WriteBlocks::write_at(memory.as_ref(), &[byte], at.index(old.len()) as u64).unwrap();
        }
        let target = Memory::garbage((new.len() as u64).next_multiple_of(4096));
        match build_from(&read, Some(found), &target, usize::MAX) {
            Ok(built) => prop_assert!(built.image == new),
            Err(ContentError::ChunkHash { .. } | ContentError::Patch { .. } | ContentError::Source { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
