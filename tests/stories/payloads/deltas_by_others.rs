//! Our deltas, applied by programs that we didn't write: `bspatch`, `brotli`, `xz`, `zstd`,
//! `bzip2`, `protoc`, and a protobuf parser that knows no schema.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use ring::digest::{SHA256, digest};

use super::deltas::Pair;
use crate::support::protobuf::Message;
use test_support::fixtures::{self, filter};

const BLOCK: usize = 4096;

/// A payload taken apart: the one partition, and all data.
fn parts(path: &Path) -> (Message, Vec<u8>) {
    let payload = fs::read(path).unwrap();
    assert_eq!(&payload[..12], b"CrAU\0\0\0\0\0\0\0\x02");
    let manifest = usize::try_from(u64::from_be_bytes(payload[12..20].try_into().unwrap())).unwrap();
    let signatures = usize::try_from(u32::from_be_bytes(payload[20..24].try_into().unwrap())).unwrap();
    let (manifest, rest) = payload[24..].split_at(manifest);
    filter("protoc", ["--decode_raw".as_ref()], manifest);
    let manifest = Message::parse(manifest);
    assert_eq!(
        manifest.number(12),
        4,
        "the minor version with all these operations"
    );
    let data_len = usize::try_from(manifest.number(4)).unwrap();
    let data = rest[signatures..][..data_len].to_vec();
    let [usr] = manifest.messages(13).try_into().unwrap();
    (usr, data)
}

fn range(extent: &Message) -> std::ops::Range<usize> {
    let start = usize::try_from(extent.number(1)).unwrap() * BLOCK;
    start..start + usize::try_from(extent.number(2)).unwrap() * BLOCK
}

/// What BSDF2 makes of `old`, its parts unpacked by `brotli` and `bzip2`.
fn bsdf2(old: &[u8], patch: &[u8]) -> Vec<u8> {
    assert_eq!(&patch[..5], b"BSDF2");
    let number = |bytes: &[u8], at: usize| {
        let raw = i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        if raw < 0 { -(raw & i64::MAX) } else { raw }
    };
    let len = |at| usize::try_from(number(patch, at)).unwrap();
    let (control, rest) = patch[32..].split_at(len(8));
    let (diff, extra) = rest.split_at(len(16));
    let unpack = |kind: u8, part: &[u8]| match kind {
        0 => part.to_vec(),
        1 => filter("bzip2", ["-dc".as_ref()], part),
        2 => filter("brotli", ["-dc".as_ref()], part),
        other => panic!("compression {other}"),
    };
    let (control, diff, extra) = (
        unpack(patch[5], control),
        unpack(patch[6], diff),
        unpack(patch[7], extra),
    );
    let (mut result, mut position) = (Vec::new(), 0_i64);
    let (mut diff, mut extra) = (diff.as_slice(), extra.as_slice());
    for triple in control.chunks_exact(24) {
        let count = |at| usize::try_from(number(triple, at)).unwrap();
        for byte in diff.split_off(..count(0)).unwrap() {
            let old = old[usize::try_from(position).unwrap()];
            result.push(byte.wrapping_add(old));
            position += 1;
        }
        result.extend(extra.split_off(..count(8)).unwrap());
        position += number(triple, 16);
    }
    assert_eq!(result.len(), len(24));
    assert!(diff.is_empty() && extra.is_empty());
    result
}

fn bspatch(pair: &Pair, old: &[u8], patch: &[u8]) -> Vec<u8> {
    let [from, to, with] = ["from", "to", "with"].map(|name| pair.path(name));
    fs::write(&from, old).unwrap();
    fs::write(&with, patch).unwrap();
    let status = Command::new("bspatch").args([&from, &to, &with]).status();
    assert!(status.unwrap().success());
    fs::read(to).unwrap()
}

/// Carries all operations out; also tells the types of them.
fn image(pair: &Pair, payload: &Path) -> (Vec<u8>, Vec<u64>) {
    let (usr, data) = parts(payload);
    let old = fixtures::image("old.img");
    let [info] = usr.messages(6).try_into().unwrap();
    assert_eq!(info.bytes(2), digest(&SHA256, &old).as_ref());
    let mut new = vec![0xee; usize::try_from(usr.messages(7)[0].number(1)).unwrap()];
    let (mut offset, mut kinds) = (0, Vec::new());
    for operation in usr.messages(8) {
        let source: Vec<u8> = operation
            .messages(4)
            .iter()
            .flat_map(|extent| old[range(extent)].to_vec())
            .collect();
        if !source.is_empty() {
            assert_eq!(operation.bytes(9), digest(&SHA256, &source).as_ref());
        }
        let mut blob = &data[..0];
        if operation.fields().contains(&3) {
            let len = usize::try_from(operation.number(3)).unwrap();
            assert_eq!(operation.number(2), offset as u64, "no gaps");
            blob = &data[offset..offset + len];
            offset += len;
            assert_eq!(operation.bytes(8), digest(&SHA256, blob).as_ref());
        }
        let destination = operation.messages(6);
        let len = destination.iter().map(|extent| range(extent).len()).sum();
        let kind = operation.number(1);
        let made = match kind {
            0 => blob.to_vec(),
            1 => filter("bzip2", ["-dc".as_ref()], blob),
            4 => source,
            5 => bspatch(pair, &source, blob),
            6 => vec![0; len],
            8 => filter("xz", ["-dc".as_ref()], blob),
            10 => bsdf2(&source, blob),
            14 => filter("zstd", ["-dc".as_ref()], blob),
            other => panic!("operation type {other}"),
        };
        assert_eq!(made.len(), len);
        let mut made = made.as_slice();
        for extent in &destination {
            let range = range(extent);
            assert!(
                new[range.clone()].iter().all(|byte| *byte == 0xee),
                "each block is written once"
            );
            new[range.clone()].copy_from_slice(made.split_off(..range.len()).unwrap());
        }
        kinds.push(kind);
    }
    assert_eq!(offset, data.len());
    (new, kinds)
}

#[test]
fn others_make_the_new_image_by_our_deltas() {
    let pair = Pair::new();
    let cases: [(&str, &str, u64, u64); 4] = [
        ("bsdiff", "bzip2", 5, 1),
        ("brotli", "xz", 10, 8),
        ("brotli", "zstd", 10, 14),
        ("none", "none", 0, 0),
    ];
    for (patches, compression, patch, replace) in cases {
        let options: [&OsStr; 4] = [
            "--patches".as_ref(),
            patches.as_ref(),
            "--compression".as_ref(),
            compression.as_ref(),
        ];
        let (made, kinds) = image(&pair, &pair.delta("delta", &options));
        assert!(made == fixtures::image("new.img"), "{patches}, {compression}");
        for kind in [4, 6, patch, replace] {
            assert!(kinds.contains(&kind), "{patches}, {compression}: {kinds:?}");
        }
    }
}
