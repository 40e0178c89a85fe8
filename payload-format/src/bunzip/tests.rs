//! Held against libbz2's encoder and decoder.
#![allow(clippy::unwrap_used)]

mod draft;

use std::io::Write as _;

use bzip2::{Decompress, Status};
use proptest::prelude::*;

use self::draft::Draft;
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

/// What libbz2 makes of it.
fn theirs(packed: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut stream, mut out) = (Decompress::new(false), Vec::new());
    loop {
        let taken = usize::try_from(stream.total_in()).unwrap();
        out.reserve(1 << 16);
        let before = out.len();
        match stream.decompress_vec(&packed[taken..], &mut out) {
            Ok(Status::StreamEnd) => {
                let taken = usize::try_from(stream.total_in()).unwrap();
                return Some((out, packed.len() - taken));
            }
            // It waits for input that isn't there.
            Ok(_) if taken == packed.len() && out.len() == before => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Fails unless we make of it what libbz2 does.
fn agree(packed: &[u8]) -> Result<(), TestCaseError> {
    match (unpack(packed), theirs(packed)) {
        // Left to the library.
        (Err(BunzipError::Randomised), _) => {}
        (Ok(ours), theirs) => prop_assert_eq!(Some(ours), theirs, "{:02x?}", packed),
        (Err(error), theirs) => prop_assert_eq!(None, theirs, "{}: {:02x?}", error, packed),
    }
    Ok(())
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

/// Short blocks with many runs, whole ones or not.
fn block() -> impl Strategy<Value = Draft> {
    let run = (0..3_u8, 1..6_usize).prop_map(|(byte, times)| vec![byte; times]);
    let piece = prop_oneof![run, prop::collection::vec(any::<u8>(), 1..4)];
    let text = prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat());
    let spare = prop::collection::vec(1..=20_u8, 0..258);
    let shift = prop_oneof![9 => Just(0), 1 => 0..200_usize];
    (text, any::<u8>(), spare, shift, 0..3_usize).prop_map(|(text, alphabet, spare, shift, groups)| Draft {
        text,
        alphabet,
        spare,
        shift,
        groups,
    })
}

proptest! {
    #[test]
    fn what_was_packed_comes_out(data in content(), level in 1..=9_u32) {
        prop_assert_eq!(unpack(&pack(&data, level)).unwrap(), (data, 0));
    }

    #[test]
    fn of_a_damaged_stream_we_make_what_libbz2_does(
        data in content(), level in 1..=9_u32,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut packed = pack(&data, level);
        for (at, bit) in damage {
            *at.get_mut(&mut packed) ^= 1 << bit;
        }
        agree(&packed)?;
        agree(&draft::with_right_crcs(packed))?;
    }

    #[test]
    fn of_a_stream_that_no_encoder_writes_we_make_what_libbz2_does(
        blocks in prop::collection::vec(block(), 0..3),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 0..3),
    ) {
        let mut packed = draft::stream(1, &blocks);
        agree(&packed)?;
        for (at, bit) in damage {
            *at.get_mut(&mut packed) ^= 1 << bit;
        }
        agree(&draft::with_right_crcs(packed))?;
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

#[test]
fn a_block_that_ends_in_four_equal_bytes_without_their_count_is_refused() {
    let whole = draft::stream(1, &[Draft::of(b"xaaaa\0")]);
    assert_eq!(unpack(&whole).unwrap(), (b"xaaaa".to_vec(), 0));
    assert_eq!(theirs(&whole), Some((b"xaaaa".to_vec(), 0)));
    for text in [&b"xaaaa"[..], b"aaaa", b"aaaa\x02aaaa", b"\0\0\0\0"] {
        for blocks in [vec![Draft::of(text)], vec![Draft::of(text), Draft::of(b"b")]] {
            let packed = draft::stream(1, &blocks);
            assert_eq!(
                unpack(&packed).unwrap_err(),
                BunzipError::Description("runs"),
                "{text:?}"
            );
            assert_eq!(theirs(&packed), None, "{text:?}");
        }
    }
}

#[test]
fn lengths_that_leave_symbols_without_a_code_are_no_fault_where_those_are_not_used() {
    let mut block = Draft::of(&[0, 1, 0, 1]);
    block.alphabet = 255;
    // More than any length has room for.
    block.spare = vec![1; 258];
    let packed = draft::stream(1, &[block]);
    assert_eq!(theirs(&packed), Some((vec![0, 1, 0, 1], 0)));
    assert_eq!(unpack(&packed).unwrap(), (vec![0, 1, 0, 1], 0));
}
