//! Chunkings, and bytes that are not what they should be.

use payload_format::{Event, FormatError, Header, HeaderError, Limits, OpId, Part, Reader};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::fixture::{self, SLOT_LEN};

fn limits() -> Limits {
    Limits::for_slot(SLOT_LEN)
}

fn events(payload: &[u8], limits: Limits, mut cut: impl FnMut() -> usize) -> Vec<Event> {
    let (mut reader, mut events, mut rest) = (Reader::new(limits), Vec::new(), payload);
    while !rest.is_empty() {
        let (mut chunk, later) = rest.split_at(cut().clamp(1, rest.len()));
        while let Some(event) = reader.read(&mut chunk).unwrap() {
            events.push(event);
        }
        rest = later;
    }
    reader.finish().unwrap();
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_chunking_gives_the_same_events(cuts in prop::collection::vec(1_usize..40_000, 1..20), whole in 0_u64..40_000) {
        let payload = fixture::bytes("delta.payload");
        let limits = Limits { whole_data: whole, ..limits() };
        let mut cuts = cuts.into_iter().cycle();
        let expected = events(&payload, limits, || usize::MAX);
        prop_assert_eq!(events(&payload, limits, || cuts.next().unwrap()), expected);
    }

    #[test]
    fn damaged_bytes_are_refused_or_change_the_payloads_hash(at in 0_usize..152_444, flip in 1_u8..) {
        let mut payload = fixture::bytes("delta.payload");
        let good = payload_format::Sha256Digest::of(&payload);
        payload[at] ^= flip;
        let result = fixture::read(&payload, 4096, fixture::reader(), |_| {});
        prop_assert!(result.map_or(true, |finished| finished.payload_sha256 != good));
    }

    #[test]
    fn a_cut_payload_is_refused(len in 0_usize..152_444) {
        let payload = fixture::bytes("delta.payload");
        let error = fixture::refusal(&payload[..len], limits());
        let truncated = FormatError::Truncated { at: len as u64, part: part_at(len) };
        prop_assert_eq!(error, truncated);
    }

    #[test]
    fn a_manifest_of_random_bytes_is_refused(manifest in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut payload = b"CrAU\0\0\0\0\0\0\0\x01".to_vec();
        payload.extend((manifest.len() as u64).to_be_bytes());
        payload.extend(manifest);
        let error = fixture::refusal(&payload, limits());
        prop_assert!(matches!(error, FormatError::Manifest(_)), "{}", error);
    }
}

/// Parts of delta.payload.
fn part_at(len: usize) -> Part {
    let manifest = fixture::bytes("delta.payload")[12..20]
        .try_into()
        .map(u64::from_be_bytes)
        .unwrap();
    let data = Header::MIN_LEN + usize::try_from(manifest).unwrap();
    match len {
        0..20 => Part::Header,
        _ if len < data => Part::Manifest,
        _ if len < data + 145_000 => Part::Data,
        _ => Part::Signatures,
    }
}

#[test]
fn a_foreign_magic_is_refused_with_the_first_bytes() {
    let mut payload = fixture::bytes("full.payload");
    payload[..4].copy_from_slice(b"CrAV");
    let error = fixture::refusal(&payload[..20], limits());
    assert_eq!(error, FormatError::Header(HeaderError::Magic(*b"CrAV")));
}

#[test]
fn major_version_3_is_refused_by_name() {
    let mut payload = fixture::bytes("full.payload");
    payload[11] = 3;
    let error = fixture::refusal(&payload, limits());
    assert_eq!(
        error.to_string(),
        "payload of major version 3; only versions 1 and 2 are supported"
    );
}

#[test]
fn an_absurd_manifest_length_is_refused_with_the_header() {
    let mut payload = fixture::bytes("full.payload");
    payload[12..20].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    let error = fixture::refusal(&payload[..20], limits());
    assert_eq!(
        error,
        FormatError::ManifestLength {
            len: 1 << 40,
            limit: 8 << 20
        }
    );
}

#[test]
fn damaged_operation_data_is_never_handed_out() {
    let mut payload = fixture::bytes("full.payload");
    let data = Header::MIN_LEN + 1082;
    payload[data + 6609] ^= 1;
    let mut handed_out = Vec::new();
    let error = fixture::read(&payload, 1000, fixture::reader(), |event| handed_out.push(event)).unwrap_err();
    assert!(
        matches!(error, FormatError::OperationHash { op, .. } if op == OpId::new(1)),
        "{error}"
    );
    assert_eq!(handed_out.len(), 2, "metadata and operation 0");
}

#[test]
fn a_damaged_piece_is_told_before_its_operation_counts_as_verified() {
    let mut payload = fixture::bytes("full.payload");
    payload[Header::MIN_LEN + 1082 + 6609] ^= 1;
    let limits = Limits {
        whole_data: 0,
        ..limits()
    };
    let mut verified = Vec::new();
    let result = fixture::read(&payload, 1000, Reader::new(limits), |event| {
        if let Event::PiecesVerified { op } = event {
            verified.push(op);
        }
    });
    assert!(matches!(result, Err(FormatError::OperationHash { op, .. }) if op == OpId::new(1)));
    assert_eq!(verified, [OpId::FIRST]);
}

#[test]
fn bytes_after_the_end_are_refused() {
    for name in ["full.payload", "full-unsigned.payload"] {
        let mut payload = fixture::bytes(name);
        let len = payload.len() as u64;
        payload.push(0);
        for chunk in [1, 1 << 16, usize::MAX] {
            let result = fixture::read(&payload, chunk, fixture::reader(), |_| {});
            assert_eq!(result.unwrap_err(), FormatError::TrailingBytes(len), "{name}");
        }
    }
}

#[test]
fn a_payload_of_another_size_than_offered_is_refused_before_its_first_operation() {
    let payload = fixture::bytes("full.payload");
    let found = payload.len() as u64;
    for offered in [found - 1, found + 1] {
        let limits = Limits {
            payload_size: Some(offered),
            ..limits()
        };
        let result = fixture::read(&payload, 1 << 16, Reader::new(limits), |event| {
            panic!("{event:?}")
        });
        assert_eq!(result.unwrap_err(), FormatError::PayloadSize { found, offered });
    }
}

#[test]
fn metadata_of_another_size_than_offered_is_refused_with_the_header() {
    let limits = Limits {
        metadata_size: Some(1101),
        ..limits()
    };
    let error = fixture::refusal(&fixture::bytes("full.payload")[..20], limits);
    assert_eq!(
        error,
        FormatError::MetadataSize {
            found: 1102,
            offered: 1101
        }
    );
}

#[test]
fn a_payload_larger_than_the_slot_is_refused_with_the_manifest() {
    let error = fixture::refusal(&fixture::bytes("full.payload"), Limits::for_slot((16 << 20) - 1));
    assert_eq!(
        error.to_string(),
        "the partition image has 16777216 bytes; there is room for 16777215"
    );
}

#[test]
fn a_refused_payload_stays_refused() -> Result<(), TestCaseError> {
    let mut reader = fixture::reader();
    let mut input: &[u8] = &[0; 20];
    reader.read(&mut input).unwrap_err();
    let mut good: &[u8] = &fixture::bytes("full.payload");
    prop_assert_eq!(reader.read(&mut good).unwrap_err(), FormatError::Refused);
    prop_assert_eq!(reader.finish().unwrap_err(), FormatError::Refused);
    Ok(())
}
