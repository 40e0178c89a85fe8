//! Payloads of version 2 that we make, taken apart by others: `xz`, `zstd`, `bzip2`, `openssl`, and
//! a protobuf parser that knows no schema. And `update_payload` on its own.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use ring::digest::{SHA256, digest};
use tempfile::TempDir;

use crate::support::protobuf::Message;
use test_support::fixtures::{self, filter};

fn tool(arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
    command.args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8([&out[..], err].concat()).unwrap()
}

/// An image that compresses, a kernel, and the payload made of them.
struct Workshop {
    directory: TempDir,
    image: Vec<u8>,
    kernel: Vec<u8>,
}

impl Workshop {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let byte = |at: u64| (at / 77 * at % 251).to_le_bytes()[0];
        let image: Vec<u8> = (0..3_000_001).map(byte).collect();
        let kernel = fs::read(fixtures::payload("vmlinuz-new")).unwrap();
        fs::write(directory.path().join("new.img"), &image).unwrap();
        Self {
            directory,
            image,
            kernel,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn generate(&self, format: &[&str]) -> PathBuf {
        let (image, out) = (self.path("new.img"), self.path("made.payload"));
        let (kernel, key) = (
            fixtures::payload("vmlinuz-new"),
            fixtures::payload("test-key.pem"),
        );
        let mut arguments: Vec<&OsStr> = vec!["generate".as_ref(), "--new-image".as_ref(), image.as_ref()];
        arguments.extend::<[&OsStr; 6]>([
            "--new-kernel".as_ref(),
            kernel.as_ref(),
            "--private-key".as_ref(),
            key.as_ref(),
            "--out".as_ref(),
            out.as_ref(),
        ]);
        arguments.extend(format.iter().map(OsStr::new));
        let output = tool(&arguments);
        assert!(output.status.success(), "{}", said(&output));
        out
    }

    /// Checks a blob of signatures with `openssl`.
    fn verify(&self, blob: &[u8], signed: &[u8]) {
        let [entry] = Message::parse(blob).messages(1).try_into().unwrap();
        assert_eq!(entry.fields(), [2, 3]);
        assert_eq!(entry.bytes(2).len() as u64, entry.number(3));
        let (file, key) = (self.path("signature"), fixtures::payload("test-key.pub.pem"));
        fs::write(&file, entry.bytes(2)).unwrap();
        let arguments: [&OsStr; 6] = [
            "dgst".as_ref(),
            "-sha256".as_ref(),
            "-verify".as_ref(),
            key.as_ref(),
            "-signature".as_ref(),
            file.as_ref(),
        ];
        assert_eq!(filter("openssl", arguments, signed), b"Verified OK\n");
    }
}

/// What the operations of a partition make of `data`.
fn unpack(partition: &Message, data: &[u8], offset: &mut u64) -> Vec<u8> {
    let mut image = Vec::new();
    for operation in partition.messages(8) {
        assert_eq!(operation.number(2), *offset);
        let start = usize::try_from(*offset).unwrap();
        *offset += operation.number(3);
        let blob = &data[start..usize::try_from(*offset).unwrap()];
        assert_eq!(operation.bytes(8), digest(&SHA256, blob).as_ref());
        let bytes = match operation.number(1) {
            0 => blob.to_vec(),
            1 => filter("bzip2", ["-dc".as_ref()], blob),
            8 => filter("xz", ["-dc".as_ref()], blob),
            14 => filter("zstd", ["-dc".as_ref()], blob),
            other => panic!("operation type {other}"),
        };
        let [extent] = operation.messages(6).try_into().unwrap();
        assert_eq!(extent.number(1) * 4096, image.len() as u64);
        assert_eq!(extent.number(2), (bytes.len() as u64).div_ceil(4096));
        image.extend(bytes);
    }
    let [info] = partition.messages(7).try_into().unwrap();
    assert_eq!(info.number(1), image.len() as u64);
    assert_eq!(info.bytes(2), digest(&SHA256, &image).as_ref());
    image
}

#[test]
fn an_independent_reader_unpacks_what_we_generate() {
    let workshop = Workshop::new();
    for compression in ["none", "bzip2", "xz", "zstd", "bzip2,xz,zstd"] {
        let payload = fs::read(workshop.generate(&["--format", "v2", "--compression", compression])).unwrap();
        assert_eq!(&payload[..12], b"CrAU\0\0\0\0\0\0\0\x02");
        let manifest = usize::try_from(u64::from_be_bytes(payload[12..20].try_into().unwrap())).unwrap();
        let blob = usize::try_from(u32::from_be_bytes(payload[20..24].try_into().unwrap())).unwrap();
        let (metadata, rest) = payload.split_at(24 + manifest);
        let (metadata_signatures, rest) = rest.split_at(blob);
        workshop.verify(metadata_signatures, metadata);

        filter("protoc", ["--decode_raw".as_ref()], &metadata[24..]);
        let manifest = Message::parse(&metadata[24..]);
        assert_eq!(manifest.fields(), [3, 4, 5, 12, 13]);
        assert_eq!((manifest.number(3), manifest.number(12)), (4096, 0));
        let (data, signatures) = rest.split_at(usize::try_from(manifest.number(4)).unwrap());
        assert_eq!(signatures.len() as u64, manifest.number(5));
        workshop.verify(signatures, &[metadata, data].concat());

        let [usr, kernel] = manifest.messages(13).try_into().unwrap();
        assert_eq!((usr.bytes(1), kernel.bytes(1)), (&b"usr"[..], &b"kernel"[..]));
        let mut offset = 0;
        assert!(unpack(&usr, data, &mut offset) == workshop.image, "{compression}");
        assert!(
            unpack(&kernel, data, &mut offset) == workshop.kernel,
            "{compression}"
        );
        assert_eq!(offset, data.len() as u64);
    }
}

#[test]
fn the_tool_inspects_verifies_and_applies_version_2() {
    let workshop = Workshop::new();
    let payload = workshop.generate(&["--format", "v2"]);
    let (file, target, kernel) = (
        payload.as_os_str(),
        workshop.path("target"),
        workshop.path("kernel"),
    );
    let inspected = said(&tool(&["inspect".as_ref(), file]));
    assert!(inspected.contains("version 2"), "{inspected}");
    assert!(inspected.contains("by: 3 REPLACE_ZSTD"), "{inspected}");

    let key = fixtures::payload("test-key.pub.pem");
    let trust: [&OsStr; 2] = ["--public-key".as_ref(), key.as_ref()];
    let verified = tool(&[&["verify".as_ref(), file], &trust[..]].concat());
    assert!(verified.status.success(), "{}", said(&verified));
    let into: [&OsStr; 6] = [
        "apply".as_ref(),
        file,
        "--target".as_ref(),
        target.as_ref(),
        "--kernel".as_ref(),
        kernel.as_ref(),
    ];
    let applied = tool(&[&into[..], &trust].concat());
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(fs::read(&target).unwrap() == workshop.image);
    assert!(fs::read(&kernel).unwrap() == workshop.kernel);
}

#[test]
fn the_tool_refuses_version_2_whose_metadata_another_key_signed() {
    let workshop = Workshop::new();
    let payload = workshop.generate(&["--format", "v2"]);
    let key = fixtures::payload("other-key.pub.pem");
    let arguments: [&OsStr; 4] = [
        "verify".as_ref(),
        payload.as_ref(),
        "--public-key".as_ref(),
        key.as_ref(),
    ];
    let refused = tool(&arguments);
    assert!(!refused.status.success());
    let text = said(&refused);
    assert!(
        text.contains("none of the 1 trusted keys made the signature"),
        "{text}"
    );
}

#[test]
fn version_1_is_compressed_with_bzip2_alone() {
    let workshop = Workshop::new();
    let (image, out) = (workshop.path("new.img"), workshop.path("out"));
    let refused = tool(&[
        "generate".as_ref(),
        "--new-image".as_ref(),
        image.as_ref(),
        "--compression".as_ref(),
        "xz".as_ref(),
        "--out".as_ref(),
        out.as_ref(),
    ]);
    assert!(!refused.status.success());
    let text = said(&refused);
    assert!(
        text.contains("payloads of major version 1 have no operation for xz"),
        "{text}"
    );
    assert!(!out.exists());
}
