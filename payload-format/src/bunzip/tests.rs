//! Held against libbz2's encoder and decoder.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};

use proptest::prelude::*;

use super::{Bunzip, BunzipError};

fn pack(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// The data, and how many bytes follow the stream.
fn unpack(packed: &[u8]) -> Result<(Vec<u8>, usize), BunzipError> {
    let (mut stream, mut out) = (Bunzip::new(packed)?, Vec::new());
    while stream.read(&mut out)? {}
    Ok((out, stream.rest()))
}

/// What libbz2 makes of it, if it is one whole stream.
fn theirs(packed: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = bzip2::read::BzDecoder::new(packed);
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).ok().map(|_| out)
}

/// Bytes of several kinds: noise of a small or a large alphabet, words that repeat, runs.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        prop::collection::vec(0..4_u8, 0..3000),
        (prop::collection::vec(any::<u8>(), 1..40), 1..300_usize)
            .prop_map(|(word, times)| word.repeat(times)),
        (any::<u8>(), 0..3000_usize).prop_map(|(byte, times)| vec![byte; times]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_was_packed_comes_out(data in content(), level in 1..=9_u32) {
        prop_assert_eq!(unpack(&pack(&data, level)).unwrap(), (data, 0));
    }

    #[test]
    fn a_damaged_stream_is_refused_or_gives_what_libbz2_makes_of_it(
        data in content(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut packed = pack(&data, 1);
        *at.get_mut(&mut packed) ^= 1 << bit;
        match (unpack(&packed), theirs(&packed)) {
            (Ok((ours, 0)), theirs) => prop_assert_eq!(Some(ours), theirs),
            (Ok(_), _) => {}
            (Err(error), theirs) => prop_assert_eq!(None, theirs, "{}", error),
        }
    }

    #[test]
    fn noise_behind_a_header_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let magic = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0, 0, 0, 0];
        prop_assert!(unpack(&[&b"BZh1"[..], &magic, &noise].concat()).is_err());
    }

    #[test]
    fn a_stream_that_is_cut_off_says_so(data in content(), at in any::<prop::sample::Index>()) {
        let packed = pack(&data, 9);
        let cut = &packed[..at.index(packed.len())];
        prop_assert_eq!(unpack(cut).unwrap_err(), BunzipError::CutOff);
    }
}

#[test]
fn several_blocks_of_the_largest_size_come_out() {
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] >> 3
    })
    .take(2_000_000)
    .collect();
    assert_eq!(unpack(&pack(&data, 9)).unwrap(), (data, 0));
}

#[test]
fn the_longest_runs_come_out() {
    let data = vec![7; 50_000_000];
    assert_eq!(unpack(&pack(&data, 9)).unwrap(), (data, 0));
}

#[test]
fn nothing_comes_out_as_nothing() {
    assert_eq!(unpack(&pack(&[], 9)).unwrap(), (Vec::new(), 0));
}

#[test]
fn what_follows_the_stream_is_counted() {
    let mut packed = pack(b"abc", 9);
    packed.extend_from_slice(b"12345");
    assert_eq!(unpack(&packed).unwrap().1, 5);
}

#[test]
fn faults_are_told_apart() {
    let packed = pack(b"some text that is long enough", 9);
    let with = |at: usize, bits: u8| {
        let mut packed = packed.clone();
        packed[at] ^= bits;
        unpack(&packed).unwrap_err()
    };
    assert_eq!(with(3, 0xff), BunzipError::Header);
    assert!(matches!(with(4, 1), BunzipError::Magic(_)));
    assert!(matches!(with(10, 1), BunzipError::Crc { .. }));
    assert_eq!(with(14, 0x80), BunzipError::Randomised);
    let end = packed.len() - 2;
    assert!(matches!(with(end, 0x10), BunzipError::Crc { .. }));
}
