//! A reader that was written by the documentation alone, in another language.

use std::path::Path;
use std::process::{Command, Output};

use super::file_systems::{kernel_btrfs_after, tree};
use super::parts::{generate_with, with_verity};
use super::{Built, build, find, generate, generate_from, small_chunks};
use crate::noise::noise;
use payload_format::PatchedChunks;
use payload_format::writer::ContentOptions;

fn read(payload: &[u8], original: &[u8], old: Option<&[u8]>) -> (Output, Option<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("payload"), payload).unwrap();
    std::fs::write(path("original"), original).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reader = ours.join("tests/payloads/content/reader.py");
    let mut command = Command::new("python3");
    // Nothing is left beside its sources.
    command.arg("-B").arg(reader);
    command.env(
        "CONTENT_PAYLOADS_PROTO",
        ours.join("../docs/content-payloads.proto"),
    );
    command.args(["payload", "out", "original"].map(path));
    if let Some(old) = old {
        std::fs::write(path("old"), old).unwrap();
        command.arg(path("old"));
    }
    let output = command.output().expect("python3 is installed");
    (output, std::fs::read(path("out")).ok())
}

#[test]
fn the_documented_format_is_enough_to_build_the_image() {
    let kernels = crate::fixture::image("../content/btrfs-new.img");
    // One that ends within a block.
    let odd: Vec<u8> = (0..100_001_u32)
        .map(|at| (at / 7 % 251).to_le_bytes()[0])
        .collect();
    for (image, options) in [
        (&kernels, small_chunks()),
        (&kernels, ContentOptions::default()),
        (&odd, small_chunks()),
    ] {
        let (output, read) = read(&generate(image, &options), image, None);
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(read.as_ref() == Some(image), "{said}");
        let said = said.lines().next().unwrap();
        let counts: Vec<u32> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
        let of_encoders: u32 = counts.iter().sum();
        assert!(of_encoders >= 10 || image != &kernels, "{said}");
    }
}

/// Two parts of a release that take no bytes of their own.
#[test]
fn it_computes_the_hash_tree_and_finds_the_kernel() {
    let kernel = noise(3, 70_000);
    let image = with_verity([noise(4, 9 * 4096), kernel.clone()].concat());
    let (output, read) = read(&generate_with(&image, &kernel), &image, None);
    assert!(read == Some(image), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("kernel: True, hash tree: True"), "{said}");
}

/// It holds the payload against what it says, else it would show nothing.
#[test]
fn it_refuses_a_chunk_that_was_changed() {
    let image = crate::fixture::image("../content/btrfs-new.img");
    let mut payload = generate(&image, &small_chunks());
    let at = payload.len() - 1000;
    payload[at] ^= 4;
    let (output, read) = read(&payload, &image, None);
    assert!(read.is_none() && !output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let of_chunk = [
        "has another hash",
        "a frame that can't be decoded",
        "no zstd frame",
    ];
    assert!(of_chunk.iter().any(|why| said.contains(why)), "{said}");
}

/// An old image, the new one, and whether patches lead from one to the other.
struct Step<'a> {
    olds: &'a [&'a [u8]],
    running: &'a [u8],
    new: &'a [u8],
    is_patched: bool,
}

/// What our reader makes of a step, and the payload without all that it doesn't fetch.
fn ours(step: &Step<'_>) -> (Built, Vec<u8>) {
    let mut payload = generate_from(step.olds, step.new, &small_chunks());
    let read = super::read(&payload);
    let built = build(&read, Some(step.running)).unwrap();
    assert!(built.image == step.new);
    let tables = read.manifest.content().unwrap();
    let old = find(step.running, tables);
    let has = |chunk| old.has(chunk);
    let ranges = PatchedChunks::new(tables, &old, has).missing(has);
    let first_chunk = payload.len() - read.data.len();
    for (place, byte) in (0_u64..).zip(&mut payload[first_chunk..]) {
        if !ranges.iter().any(|range| range.contains(&place)) {
            *byte = 0;
        }
    }
    (built, payload)
}

/// The reader finds the predecessor's content, takes its patches, and wants no byte besides those that
/// ours fetches.
fn check(step: &Step<'_>) {
    let (built, payload) = ours(step);
    assert_eq!(built.patched > 0, step.is_patched, "{}", built.patched);
    let (output, read) = read(&payload, step.new, Some(step.running));
    assert!(
        read.is_some_and(|read| read == step.new),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let (old, patched) = (built.from_old, built.patched);
    let packed = built.chunks - old - patched;
    let expected = format!("chunks: {packed} packed, {old} old, {patched} patched\n");
    assert!(said.ends_with(&expected), "{said}: {expected}");
}

#[test]
fn the_documented_format_is_enough_to_take_patches_of_an_image_of_blocks() {
    let old = noise(1, 40 * 4096);
    let mut new = [&old[..], &noise(2, 9000)].concat();
    new.iter_mut()
        .step_by(97)
        .for_each(|byte| *byte = byte.wrapping_add(1));
    let behind = [&old[..], &noise(4, 5 * 4096)].concat();
    let mut stranger = old.clone();
    stranger[5] ^= 1;
    for (running, is_patched) in [(&old, true), (&behind, true), (&stranger, false), (&new, false)] {
        check(&Step {
            olds: &[&noise(5, 9 * 4096), &old],
            running,
            new: &new,
            is_patched,
        });
    }
}

#[test]
fn and_of_a_btrfs_that_the_kernel_compressed_with_its_hash_tree() {
    let image = |name| with_verity(crate::fixture::image(&format!("../content/{name}")));
    let (old, new) = (image("btrfs-old.img"), image("btrfs-new.img"));
    let mut stranger = old.clone();
    stranger[64 << 10..][64..72].fill(b'x');
    for (running, is_patched) in [(&old, true), (&stranger, false)] {
        check(&Step {
            olds: &[&old],
            running,
            new: &new,
            is_patched,
        });
    }
}

/// Of a file whose first extent is another file's, the rest is a unit all the same.
#[test]
fn and_of_files_that_share_extents() {
    let share = "cp --reflink=always lib/library lib/shared && head -c 90000 share/document >> lib/shared";
    let mut changed = tree();
    for byte in changed.get_mut("lib/library").unwrap().iter_mut().step_by(997) {
        *byte ^= 1;
    }
    let images = kernel_btrfs_after(&tree(), share).zip(kernel_btrfs_after(&changed, share));
    let Some((old, new)) = images else { return };
    check(&Step {
        olds: &[&old],
        running: &old,
        new: &new,
        is_patched: true,
    });
}
