#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::Command;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use proptest::prelude::*;

use super::*;

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn number(value: i64) -> [u8; 8] {
    let sign = if value < 0 { 1 << 63 } else { 0 };
    (value.unsigned_abs() | sign).to_le_bytes()
}

/// A patch of these triples.
fn patch(result_len: i64, triples: &[[i64; 3]], diff: &[u8], extra: &[u8]) -> Vec<u8> {
    let control: Vec<u8> = triples
        .iter()
        .flatten()
        .flat_map(|value| number(*value))
        .collect();
    let (control, diff, extra) = (bzip2(&control), bzip2(diff), bzip2(extra));
    let mut patch = b"BSDIFF40".to_vec();
    patch.extend(number(i64::try_from(control.len()).unwrap()));
    patch.extend(number(i64::try_from(diff.len()).unwrap()));
    patch.extend(number(result_len));
    [patch, control, diff, extra].concat()
}

fn apply(patch: &[u8], old: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut result = Vec::new();
    let read = |buf: &mut [u8], offset: u64| {
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&old[start..start + buf.len()]);
        Ok(())
    };
    Patch::parse(Container::Bsdiff40, patch)?.apply(old.len() as u64, read, |bytes| {
        result.extend_from_slice(bytes);
        Ok::<_, PatchError>(())
    })?;
    Ok(result)
}

/// What the original tools make of two files: the patch by `bsdiff`, and what `bspatch` makes of
/// it.
fn bsdiff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| dir.path().join(name);
    std::fs::write(file("old"), old).unwrap();
    std::fs::write(file("new"), new).unwrap();
    let status = Command::new("bsdiff")
        .args([file("old"), file("new"), file("patch")])
        .status();
    assert!(status.expect("bsdiff is installed").success());
    std::fs::read(file("patch")).unwrap()
}

fn bspatch(old: &[u8], patch: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| dir.path().join(name);
    std::fs::write(file("old"), old).unwrap();
    std::fs::write(file("patch"), patch).unwrap();
    let status = Command::new("bspatch")
        .args([file("old"), file("new"), file("patch")])
        .status();
    assert!(status.expect("bspatch is installed").success());
    std::fs::read(file("new")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn patches_by_bsdiff_give_what_bspatch_makes_of_them(
        old in prop::collection::vec(any::<u8>(), 1..5000),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200)), 0..6),
    ) {
        let mut new = old.clone();
        for (at, bytes) in edits {
            let at = at.index(new.len());
            new.splice(at..(at + bytes.len() / 2).min(new.len()), bytes);
            new.rotate_left(at / 3);
        }
        let patch = bsdiff(&old, &new);
        let result = apply(&patch, &old).unwrap();
        prop_assert_eq!(&result, &bspatch(&old, &patch));
        prop_assert_eq!(result, new);
    }

    #[test]
    fn hostile_patches_are_refused_or_give_as_much_as_they_say(
        triples in prop::collection::vec(prop::array::uniform3(-40_i64..80), 0..6),
        result_len in 0_i64..100,
    ) {
        let patch = patch(result_len, &triples, &[3; 60], &[9; 60]);
        if let Ok(result) = apply(&patch, &[5; 30]) {
            prop_assert_eq!(result.len() as u64, result_len.unsigned_abs());
        }
    }

    #[test]
    fn damaged_patches_never_panic(at in 0_usize..100, flip in 1_u8..) {
        let mut patch = patch(20, &[[10, 10, 0]], &[1; 10], &[2; 10]);
        let at = at % patch.len();
        patch[at] ^= flip;
        let _ = apply(&patch, &[5; 30]);
    }
}

#[test]
fn a_position_outside_the_old_file_counts_as_zeros() {
    let patch = patch(
        12,
        &[[2, 0, -6], [8, 0, 100], [2, 0, 0]],
        &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7, 7],
        &[],
    );
    assert_eq!(
        apply(&patch, &[10, 20]).unwrap(),
        [11, 21, 1, 1, 1, 1, 11, 21, 1, 1, 7, 7]
    );
}

#[test]
fn patches_larger_than_a_buffer_are_carried_on() {
    let old: Vec<u8> = (0..200_000_u32)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    let patch = patch(
        350_000,
        &[[200_000, 150_000, 0]],
        &vec![1; 200_000],
        &vec![2; 150_000],
    );
    let result = apply(&patch, &old).unwrap();
    assert!(
        result[..200_000]
            .iter()
            .zip(&old)
            .all(|(new, old)| *new == old.wrapping_add(1))
    );
    assert!(result[200_000..].iter().all(|byte| *byte == 2));
}

#[test]
fn impossible_patches_are_refused_by_name() {
    let error = |patch: &[u8]| apply(patch, &[0; 16]).unwrap_err();
    assert!(matches!(error(b"BSDIFF41"), PatchError::Header(_)));
    assert!(matches!(error(b"BSDIFF40"), PatchError::Header(_)));
    assert!(matches!(
        error(&patch(-1, &[], &[], &[])),
        PatchError::NegativeResult
    ));
    assert!(matches!(
        error(&patch(9, &[[-1, 0, 0]], &[], &[])),
        PatchError::NegativeCount { at: 0 }
    ));
    assert!(matches!(
        error(&patch(9, &[[5, 5, 0]], &[0; 9], &[0; 9])),
        PatchError::TooLong { len: 9 }
    ));
    assert!(matches!(
        error(&patch(9, &[[9, 0, 0]], &[0; 8], &[])),
        PatchError::Damaged {
            stream: Stream::Diff,
            ..
        }
    ));
    assert!(matches!(
        error(&patch(9, &[[0, 9, 0]], &[], &[0; 8])),
        PatchError::Damaged {
            stream: Stream::Extra,
            ..
        }
    ));
    assert!(matches!(
        error(&patch(9, &[], &[], &[])),
        PatchError::Damaged {
            stream: Stream::Control,
            ..
        }
    ));
    let far = [[0, 0, i64::MAX], [0, 0, i64::MAX]];
    assert!(matches!(
        error(&patch(9, &far, &[], &[])),
        PatchError::Seek { at: 0 }
    ));
    assert!(matches!(
        error(&patch(9, &vec![[0; 3]; 2000], &[], &[])),
        PatchError::Idle
    ));
}

#[test]
fn stream_lengths_past_the_patch_are_refused() {
    let mut patch = patch(9, &[[0, 9, 0]], &[], &[0; 9]);
    patch[8..16].copy_from_slice(&number(1 << 40));
    let error = apply(&patch, &[]).unwrap_err();
    assert!(matches!(
        error,
        PatchError::StreamLength {
            stream: Stream::Control
        }
    ));
    patch[8..16].copy_from_slice(&number(-1));
    let error = apply(&patch, &[]).unwrap_err();
    assert!(matches!(
        error,
        PatchError::StreamLength {
            stream: Stream::Control
        }
    ));
}

/// Makes a patch of ours in each container.
fn made(old: &[u8], new: &[u8]) -> [(Container, Vec<u8>); 2] {
    let suffixes = Suffixes::of(old).unwrap();
    let pieces = similar(&suffixes, new);
    let containers = [Container::Bsdiff40, Container::Bsdf2];
    let packed = Parts::new(old, new, &pieces, |place| place)
        .pack(&containers)
        .unwrap();
    containers.map(|container| (container, packed.patch(container)))
}

fn applied(container: Container, patch: &[u8], old: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let read = |buf: &mut [u8], offset: u64| {
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&old[start..start + buf.len()]);
        Ok(())
    };
    let patch = Patch::parse(container, patch).unwrap();
    patch
        .apply(old.len() as u64, read, |bytes| {
            result.extend_from_slice(bytes);
            Ok::<_, PatchError>(())
        })
        .unwrap();
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_patch_of_ours_makes_the_new_file_of_any_two(
        old in prop::collection::vec(0_u8..4, 1..2000),
        inserts in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..50)), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut new = old.clone();
        for (at, bytes) in inserts {
            let at = at.index(new.len() + 1);
            new.splice(at..at, bytes);
        }
        new.drain(..cut.index(new.len()));
        for (container, patch) in made(&old, &new) {
            prop_assert_eq!(&applied(container, &patch, &old), &new);
        }
    }
}

/// Numbers that look like code: nothing repeats, and addresses change with what is inserted.
fn program(shift: u32) -> Vec<u8> {
    let word = |at: u32| {
        let address = at.wrapping_mul(2_654_435_761) >> 8;
        address + if at.is_multiple_of(9) { shift } else { 0 }
    };
    (0..20_000).flat_map(|at| word(at).to_le_bytes()).collect()
}

#[test]
fn what_changes_in_many_places_by_a_little_makes_a_small_patch() {
    let (old, mut new) = (program(0), program(16));
    new.splice(30_000..30_000, *b"a function more");
    let theirs = bsdiff(&old, &new).len();
    for (container, patch) in made(&old, &new) {
        assert!(applied(container, &patch, &old) == new);
        // Places of equal length may be chosen differently.
        assert!(patch.len() <= theirs + theirs / 50, "{} to {theirs}", patch.len());
    }
}

#[test]
fn of_long_repetitions_a_patch_is_found_in_reasonable_time() {
    let (mut old, mut new) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    old[700_000] = 1;
    new[300_000] = 1;
    for (container, patch) in made(&old, &new) {
        assert!(applied(container, &patch, &old) == new);
        assert!(patch.len() < 1000, "{}", patch.len());
    }
}

/// As many bytes as the steps of `triple` yield, of a patch of `count` such steps.
fn of_steps(triple: [i64; 3], count: u64) -> (u64, Vec<u8>) {
    let len = u64::try_from(triple[0] + triple[1]).unwrap() * count;
    let bytes = vec![1; usize::try_from(len).unwrap()];
    let triples = vec![triple; usize::try_from(count).unwrap()];
    (len, patch(i64::try_from(len).unwrap(), &triples, &bytes, &bytes))
}

#[test]
fn steps_that_yield_next_to_nothing_are_refused_and_as_many_as_bsdiff_makes_are_not() {
    let (len, dense) = of_steps([8, 0, -8], 100_000);
    assert_eq!(apply(&dense, &[7; 8]).unwrap().len() as u64, len);
    let (len, wasteful) = of_steps([4, 0, -4], 100_000);
    let refused = apply(&wasteful, &[7; 8]).unwrap_err();
    let limit = len / 8 + 1024;
    assert!(
        matches!(refused, PatchError::Steps { limit: found, len: of } if (found, of) == (limit, len)),
        "{refused}"
    );
}

#[test]
fn all_patches_of_an_image_share_its_steps() {
    let old = [7; 8];
    let (len, dense) = of_steps([8, 0, -8], 100_000);
    let budget = StepBudget::for_image(2 * len);
    let run = || {
        let read = |buf: &mut [u8], offset: u64| {
            let start = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&old[start..start + buf.len()]);
            Ok(())
        };
        let patch = Patch::parse(Container::Bsdiff40, &dense).unwrap().within(&budget);
        patch.apply(old.len() as u64, read, |_| Ok::<_, PatchError>(()))
    };
    // Room for one step in 16 bytes of both, and a few.
    run().unwrap();
    assert!(matches!(run().unwrap_err(), PatchError::Budget));
}

#[test]
fn a_block_that_is_longer_than_what_is_wanted_of_it_is_refused_in_each_stream() {
    // No two neighbours are equal: bzip2 takes them as they are.
    let long: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let triples = |count: usize| vec![[4, 4, 0]; count];
    let of =
        |control: usize, diff: &[u8], extra: &[u8]| apply(&patch(8, &triples(control), diff, extra), &[0; 4]);
    assert_eq!(of(1, &long[..4], &long[..4]).unwrap(), [0, 1, 2, 3, 0, 1, 2, 3]);
    for (control, diff, extra, expected) in [
        (20_000, &long[..4], &long[..4], Stream::Control),
        (1, &long[..], &long[..4], Stream::Diff),
        (1, &long[..4], &long[..], Stream::Extra),
    ] {
        match of(control, diff, extra).unwrap_err() {
            PatchError::Damaged { stream, source } => {
                assert_eq!(stream, expected);
                assert!(source.to_string().contains("is the limit"), "{source}");
            }
            other => panic!("{other}"),
        }
    }
}
