//! A reader that was written by the documentation alone, in another language.

use std::path::Path;
use std::process::{Command, Output};

use super::images::noise;
use super::parts::{generate_with, with_verity};
use super::{generate, small_chunks};
use payload_format::writer::ContentOptions;

fn read(payload: &[u8], original: &[u8]) -> (Output, Option<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("payload"), payload).unwrap();
    std::fs::write(path("original"), original).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reader = ours.join("tests/payloads/content/reader.py");
    let output = Command::new("python3")
        .env(
            "CONTENT_PAYLOADS_PROTO",
            ours.join("../docs/content-payloads.proto"),
        )
        .arg(reader)
        .args(["payload", "out", "original"].map(path))
        .output()
        .expect("python3 is installed");
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
        let (output, read) = read(&generate(image, &options), image);
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(read.as_ref() == Some(image), "{said}");
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
    let (output, read) = read(&generate_with(&image, &kernel), &image);
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
    let (output, read) = read(&payload, &image);
    assert!(read.is_none() && !output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let of_chunk = [
        "has another hash",
        "a frame that can't be decoded",
        "no zstd frame",
    ];
    assert!(of_chunk.iter().any(|why| said.contains(why)), "{said}");
}
