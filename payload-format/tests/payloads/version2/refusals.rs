//! What is refused at the manifest, and in which words.

use payload_format::{Limits, Reader};

use super::made::{self, Operation, Payload};
use super::{LEN, full, limits, old_image, operation};
use crate::fixture;
use crate::handmade::{BLOCK, range};
use crate::message::Message;

fn refusal(payload: &Payload) -> String {
    fixture::refusal(&payload.unsigned(), Limits::for_slot(LEN)).to_string()
}

fn good() -> Payload {
    let new = vec![5; 700];
    full(made::REPLACE, new.clone(), &new)
}

#[test]
fn operations_that_are_not_supported_are_refused_by_name() {
    let names = [
        (2, "a MOVE (type 2)"),
        (3, "a BSDIFF (type 3)"),
        (9, "a PUFFDIFF (type 9)"),
        (11, "a ZUCCHINI (type 11)"),
        (12, "a LZ4DIFF_BSDIFF (type 12)"),
        (13, "a LZ4DIFF_PUFFDIFF (type 13)"),
    ];
    for (number, name) in names {
        let mut payload = good();
        payload.operations[0].number = number;
        assert_eq!(
            refusal(&payload),
            format!("operation 0 is {name}, which is not supported in payloads of major version 2")
        );
    }
    let mut payload = good();
    payload.operations[0].number = 15;
    assert_eq!(refusal(&payload), "operation 0 has unknown type 15");
}

#[test]
fn partitions_are_known_by_name() {
    for name in ["usr", "root"] {
        let payload = Payload { name, ..good() };
        fixture::read(&payload.unsigned(), 100, Reader::new(limits(1 << 20)), |_| {}).unwrap();
    }
    assert_eq!(
        refusal(&Payload {
            name: "vendor_boot",
            ..good()
        }),
        "unknown partition \"vendor_boot\"; known are usr or root, kernel, pcr_policy, and those that have a target here"
    );
    assert_eq!(
        refusal(&Payload {
            name: "kernel",
            ..good()
        }),
        "there is no partition usr or root"
    );
}

#[test]
fn minor_versions_that_nobody_here_knows_are_refused() {
    for minor in [1, 11, u64::from(u32::MAX)] {
        assert_eq!(
            refusal(&Payload { minor, ..good() }),
            format!("minor version {minor} is none of 0 and 2 to 10")
        );
    }
}

#[test]
fn a_full_payload_has_no_old_image() {
    let payload = Payload {
        old: Some(old_image()),
        ..good()
    };
    assert_eq!(
        refusal(&payload),
        "the partition image has an old one, though the payload is a full one by its minor version"
    );
}

#[test]
fn a_source_needs_an_old_image() {
    let mut payload = good();
    payload.operations = vec![operation(6, 0, &[0, 1]).0];
    payload.minor = 4;
    assert_eq!(
        refusal(&payload),
        "operation 0 reads a source, but the manifest names no old image"
    );
}

#[test]
fn blocks_that_no_operation_writes_are_refused_in_deltas_too() {
    let (operation, result) = operation(6, 0, &[0, 1, 2]);
    let payload = Payload::new(vec![operation], Some(old_image()), [result, vec![1; 9]].concat());
    assert_eq!(
        refusal(&payload),
        "no operation writes block 3 of the partition image"
    );
}

#[test]
fn blocks_that_would_have_to_be_computed_are_refused() {
    for (field, what) in [(11, "hash tree"), (15, "error correction")] {
        let more = Message::default().bytes(field, &range((2, 1)));
        assert_eq!(
            refusal(&Payload { more, ..good() }),
            format!("the partition image leaves its {what} to be computed here, which is not supported")
        );
    }
}

#[test]
fn data_that_a_kind_has_no_use_for_is_refused() {
    for number in [made::ZERO, made::DISCARD] {
        let mut payload = good();
        payload.operations[0].number = number;
        assert_eq!(
            refusal(&payload),
            "operation 0 has 700 bytes of data that its kind has no use for"
        );
    }
}

#[test]
fn a_copy_has_the_length_of_its_source() {
    let copy = Operation {
        number: made::SOURCE_COPY,
        source: vec![(0, 2)],
        destination: vec![(0, 3)],
        ..Operation::default()
    };
    let new = vec![0; usize::try_from(3 * BLOCK).unwrap()];
    let payload = Payload::new(vec![copy], Some(old_image()), new);
    assert_eq!(refusal(&payload), "operation 0 copies 2 blocks to 3 blocks");
}

#[test]
fn more_signatures_of_the_metadata_than_there_are_are_refused_at_the_header() {
    let mut bytes = good().unsigned();
    bytes[20..24].copy_from_slice(&65_537_u32.to_be_bytes());
    let error = fixture::refusal(&bytes[..24], limits(0));
    assert_eq!(
        error.to_string(),
        "the header claims 65537 bytes of signatures of the metadata"
    );
}

#[test]
fn a_payload_that_is_cut_off_says_where() {
    let bytes = good().signed();
    let manifest = usize::try_from(u64::from_be_bytes(bytes[12..20].try_into().unwrap())).unwrap();
    let parts = [
        (23, "header"),
        (24, "manifest"),
        (24 + manifest - 1, "manifest"),
        (24 + manifest, "metadata signatures"),
        (24 + manifest + 266, "metadata signatures"),
        (bytes.len() - 300, "data"),
        (bytes.len() - 1, "signatures"),
    ];
    for (len, part) in parts {
        let error = fixture::refusal(&bytes[..len], limits(1 << 20)).to_string();
        assert_eq!(
            error,
            format!("the payload ends at byte {len}, within its {part}")
        );
    }
}
