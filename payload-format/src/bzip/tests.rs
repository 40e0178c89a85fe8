//! Held against libbz2: the same bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{LONGEST, by_library, bzip, without_library};

/// Bytes of several kinds: noise of a small or a large alphabet, words that repeat, runs.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        prop::collection::vec(0..4_u8, 0..3000),
        prop::collection::vec((0..3_u8, 1..600_usize), 0..20).prop_map(runs),
        (prop::collection::vec(any::<u8>(), 1..40), 1..300_usize)
            .prop_map(|(word, times)| word.repeat(times)),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn runs(runs: Vec<(u8, usize)>) -> Vec<u8> {
    let runs = runs.into_iter();
    runs.flat_map(|(byte, len)| vec![byte; len]).collect()
}

/// Noise: bytes of which each is rarer than the one before by `rarer`, in per cent.
fn noise(mut state: u64, rarer: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let bytes = std::iter::repeat_with(|| (0..=254).find(|_| next() % 100 < rarer).unwrap_or(255));
    bytes.take(len).collect()
}

proptest! {
    #[test]
    fn it_is_packed_as_libbz2_packs_it(data in content()) {
        prop_assert_eq!(bzip(&data).unwrap(), by_library(&data).unwrap());
    }

    #[test]
    fn what_repeats_one_piece_is_left_to_libbz2(
        piece in prop::collection::vec(any::<u8>(), 1..50), times in 2..50_usize,
    ) {
        // Runs would be joined.
        prop_assume!(piece.iter().zip(piece.iter().cycle().skip(1)).all(|(a, b)| a != b));
        let data = piece.repeat(times);
        prop_assert_eq!(without_library(&data), None);
        prop_assert_eq!(bzip(&data).unwrap(), by_library(&data).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Runs on both sides of where a block ends.
    #[test]
    fn blocks_end_where_those_of_libbz2_do(
        state in any::<u64>(), short in 0..30_usize, tail in prop::collection::vec((0..3_u8, 1..600_usize), 0..5),
    ) {
        let head = noise(state, 2, LONGEST - short);
        let data = [head, runs(tail)].concat();
        prop_assert_eq!(&bzip(&data).unwrap(), &by_library(&data).unwrap());
    }

    /// Rare bytes ask for codes that are longer than they may be.
    #[test]
    fn codes_are_as_long_as_those_of_libbz2(state in any::<u64>(), rarer in 25..66_u64) {
        let data = noise(state, rarer, 880_000);
        prop_assert!(without_library(&data).is_some());
        prop_assert_eq!(bzip(&data).unwrap(), by_library(&data).unwrap());
    }
}

#[test]
fn nothing_is_packed_as_libbz2_packs_it() {
    assert_eq!(without_library(&[]), Some(by_library(&[]).unwrap()));
}

#[test]
fn one_byte_is_packed_as_libbz2_packs_it() {
    assert_eq!(without_library(b"a"), Some(by_library(b"a").unwrap()));
}
