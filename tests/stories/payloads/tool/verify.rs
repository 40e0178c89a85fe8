//! Whether nodes would install a payload.

use std::fs;
use std::path::Path;

use super::{Bench, Said, sum, tool};
use crate::support::protobuf::{bytes, number};
use crate::support::raw_payload::{RawPayload, extent, image, info};
use test_support::fixtures::{filter, payload};

/// Types of operations.
const REPLACE: u64 = 0;
const REPLACE_BZ: u64 = 1;
const SOURCE_BSDIFF: u64 = 5;
const REPLACE_XZ: u64 = 8;
const REPLACE_ZSTD: u64 = 14;

fn verify(file: &Path) -> Said {
    tool(&[&"verify", &"--public-key", &payload("test-key.pub.pem"), &file])
}

/// What is said of a payload, whose every signature is good.
fn judged(bench: &Bench, raw: &RawPayload) -> Said {
    let path = bench.path("raw.payload");
    fs::write(&path, raw.signed()).unwrap();
    verify(&path)
}

fn pack(program: &str, options: &[&str], plain: &[u8]) -> Vec<u8> {
    filter(program, options.iter().map(std::ffi::OsStr::new), plain)
}

/// A full image of 16 blocks by one operation.
fn of_one(kind: u64, data: &[u8]) -> RawPayload {
    let mut raw = RawPayload::v2();
    let operation = raw.operation(kind, data, (0, 16));
    raw.partition("usr", &image(16), &[operation], &[]);
    raw
}

#[test]
fn verify_accepts_what_a_trusted_key_signed() {
    for name in ["full.payload", "delta.payload"] {
        let said = tool(&[
            &"verify",
            &payload(name),
            &"--public-key",
            &payload("test-key.pub.pem"),
        ]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(said.stdout.contains(&format!(
            "good; {} bytes",
            fs::metadata(payload(name)).unwrap().len()
        )));
        assert!(said.stdout.trim_end().ends_with(&sum(&payload(name))));
        assert_eq!(said.stderr, "", "no progress where there is no terminal");
    }
    let (one, other) = (payload("other-key.pub.pem"), payload("test-key.pub.pem"));
    // The order of the tool's own usage line, with several keys: an option takes one value and
    // leaves the rest.
    let key = "--public-key";
    assert_eq!(
        tool(&[&"verify", &key, &one, &key, &other, &payload("full.payload")]).code,
        Some(0)
    );
}

#[test]
fn verify_refuses_another_key_no_signature_and_damage() {
    let bench = Bench::new();
    let key = payload("test-key.pub.pem");
    for name in ["full.payload", "delta.payload"] {
        let said = tool(&[
            &"verify",
            &payload(name),
            &"--public-key",
            &payload("other-key.pub.pem"),
        ]);
        said.refused("is not trusted: none of the 1 trusted keys made the signature");
    }
    tool(&[
        &"verify",
        &payload("full-unsigned.payload"),
        &"--public-key",
        &key,
    ])
    .refused("full-unsigned.payload is not trusted: the payload is not signed");
    tool(&[
        &"verify",
        &payload("full.payload"),
        &"--public-key",
        &payload("test-key.pem"),
    ])
    .refused("cannot trust");
    let flipped = bench.changed("full.payload", |bytes| bytes[500_000] ^= 1);
    tool(&[&"verify", &flipped, &"--public-key", &key]).refused("data of operation 3 has SHA-256");
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000_000));
    tool(&[&"verify", &cut, &"--public-key", &key]).refused("the payload has 2018477 bytes");
    for (magic, kind) in [
        (&b"PK\x03\x04"[..], "a zip archive"),
        (b"\x1f\x8b", "compressed by gzip"),
    ] {
        let packed = bench.changed("full.payload", |bytes| {
            bytes[..magic.len()].copy_from_slice(magic);
        });
        tool(&[&"inspect", &packed]).refused(kind);
        tool(&[&"verify", &packed, &"--public-key", &key]).refused(kind);
    }
    let other = bench.changed("full.payload", |bytes| bytes[0] = b'Z');
    tool(&[&"verify", &other, &"--public-key", &key]).refused("not an update payload");
    assert_eq!(
        tool(&[&"verify", &payload("full.payload")]).code,
        Some(2),
        "a key must be named"
    );
}

/// In major version 1 the signature comes last. Until then, whoever made the payload says how much
/// is unpacked.
#[test]
fn verify_unpacks_nothing_of_whom_nobody_trusts() {
    let bench = Bench::new();
    for version in [1, 2] {
        let plain = image(16);
        let mut raw = RawPayload {
            version,
            ..RawPayload::default()
        };
        let operation = raw.operation(REPLACE_BZ, b"no bzip2", (0, 16));
        if version == 1 {
            raw.manifest.extend(bytes(1, operation));
            raw.manifest.extend(bytes(9, info(&plain)));
        } else {
            raw.partition("usr", &plain, &[operation], &[]);
        }
        judged(&bench, &raw).refused("would fail on every node, at its partition image");
        let other = payload("other-key.pub.pem");
        tool(&[&"verify", &"--public-key", &other, &bench.path("raw.payload")]).refused("is not trusted");
    }
}

/// Each is signed as it should be, and whole; nodes would find out while they write.
#[test]
fn verify_refuses_what_decoders_of_nodes_refuse() {
    let bench = Bench::new();
    let plain = image(16);
    let (front, back) = plain.split_at(plain.len() / 2);
    let packings: [(u64, &str, &[&str], &str); 3] = [
        (REPLACE_BZ, "bzip2", &["-c"], "bzip2"),
        (REPLACE_XZ, "xz", &["-c"], "xz"),
        (REPLACE_ZSTD, "zstd", &["-c"], "zstd"),
    ];
    for (kind, program, options, name) in packings {
        let pack = |plain: &[u8]| pack(program, options, plain);
        let whole = pack(&plain);
        let said = judged(&bench, &of_one(kind, &whole));
        assert_eq!(said.code, Some(0), "{name}: {}", said.stderr);
        let at = "raw.payload would fail on every node, at its partition image: operation 0 failed: ";
        let refused =
            |data: &[u8], why: &str| judged(&bench, &of_one(kind, data)).refused(&format!("{at}{why}"));
        let second = pack(back);
        let follow = format!("{} bytes follow its {name} stream", second.len());
        refused(&[pack(front), second].concat(), &follow);
        refused(
            &whole[..whole.len() - 9],
            &format!("its {name} stream is cut off"),
        );
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0xff;
        refused(&damaged, &format!("its data is no intact {name} stream"));
        refused(
            &pack(&image(17)),
            "its result is longer than its 65536 bytes of blocks",
        );
        refused(
            &pack(front),
            "its result has 32768 bytes and leaves the last of its blocks unwritten",
        );
    }
    // Both ask for more memory than a node gives; either is fine for whoever has it.
    let long = pack("zstd", &["-c", "--long=27"], &plain);
    assert!(filter("zstd", ["-dc".as_ref(), "--long=27".as_ref()], &long) == plain);
    judged(&bench, &of_one(REPLACE_ZSTD, &long)).refused("its data is no intact zstd stream");
    let wide = pack("xz", &["-c", "-9"], &plain);
    judged(&bench, &of_one(REPLACE_XZ, &wide)).refused("its data is no intact xz stream");
}

/// Written in any order, which is only known once all of it is there.
#[test]
fn verify_makes_full_images_and_looks_at_their_hashes() {
    let bench = Bench::new();
    let plain = image(16);
    let (front, back) = plain.split_at(plain.len() / 2);
    let in_order = |first: &[u8], second: &[u8], swapped: bool| {
        let mut raw = RawPayload::v2();
        let places = if swapped {
            [(8, 8), (0, 8)]
        } else {
            [(0, 8), (8, 8)]
        };
        let operations = [
            raw.operation(REPLACE, first, places[0]),
            raw.operation(REPLACE, second, places[1]),
        ];
        raw.partition("usr", &plain, &operations, &[]);
        raw
    };
    for (raw, is_good) in [
        (in_order(front, back, false), true),
        (in_order(back, front, true), true),
        (in_order(back, front, false), false),
        (in_order(front, back, true), false),
    ] {
        let said = judged(&bench, &raw);
        if is_good {
            assert_eq!(said.code, Some(0), "{}", said.stderr);
            assert!(said.stdout.contains("raw.payload: good; "), "{}", said.stdout);
        } else {
            said.refused("its operations make a partition image with SHA-256 ");
        }
    }
}

/// Nobody has the old image here; what can be known without it is.
#[test]
fn verify_refuses_deltas_whose_patches_are_broken() {
    let bench = Bench::new();
    let old = bytes(6, info(&image(16)));
    let delta = |patch: &[u8]| {
        let mut raw = RawPayload::v2();
        let mut operation = raw.operation(SOURCE_BSDIFF, patch, (0, 16));
        operation.extend(bytes(4, extent(0, 16)));
        operation.extend(bytes(9, [0; 32]));
        raw.partition("usr", &image(16), &[operation], &old);
        raw.manifest.extend(number(12, 5));
        raw
    };
    judged(&bench, &delta(b"BSDIFF41")).refused("its patch can't be applied: ");
    let head = [&b"BSDIFF40"[..], &[0; 16], &65536_u64.to_le_bytes()].concat();
    judged(&bench, &delta(&head)).refused("its patch can't be applied: ");
    let said = verify(&payload("delta.payload"));
    assert!(
        said.code == Some(0)
            && said
                .stdout
                .contains("to check the result, apply it to the old one"),
        "{}",
        said.stdout
    );
}

#[test]
fn verify_refuses_what_no_node_can_have_a_place_or_a_source_for() {
    let bench = Bench::new();
    let one = image(1);
    let mut raw = RawPayload::v2();
    for name in ["usr", "a", "b", "c", "d", "e"] {
        let operation = raw.operation(REPLACE, &one, (0, 1));
        raw.partition(name, &one, &[operation], &[]);
    }
    judged(&bench, &raw).refused("would be refused by every node: it brings 5 partitions beside usr");
    let mut raw = RawPayload::v2();
    let operation = raw.operation(REPLACE, &one, (0, 1));
    raw.partition("usr", &one, &[operation], &[]);
    let operation = raw.operation(REPLACE, &one, (0, 1));
    raw.partition("pcr_policy", &one, &[operation], &bytes(6, info(&one)));
    raw.manifest.extend(number(12, 5));
    judged(&bench, &raw).refused("its PCR policy is a delta, and nodes keep no old one");
}
