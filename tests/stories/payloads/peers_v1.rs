//! Payloads that we make, judged by others: the original's generator, and a reader put together
//! from `openssl`, `bzip2` and a protobuf parser that knows no schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ring::digest::{SHA256, digest};
use tempfile::TempDir;

use crate::support::loops::run;
use crate::support::protobuf::Message;
use test_support::fixtures::{self, filter};

const HOLE: u64 = u64::MAX;

struct Workshop {
    directory: TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn generate(&self, image: &Path, kernel: Option<&Path>, keys: &[&Path]) -> PathBuf {
        let out = self.path("made.payload");
        let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
        command
            .arg("generate")
            .arg("--new-image")
            .arg(image)
            .arg("--out")
            .arg(&out);
        if let Some(kernel) = kernel {
            command.arg("--new-kernel").arg(kernel);
        }
        for key in keys {
            command.arg("--private-key").arg(key);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        out
    }
}

/// A payload taken apart.
struct Foreign {
    manifest: Message,
    signed: Vec<u8>,
    data: Vec<u8>,
    signatures: Option<Message>,
}

impl Foreign {
    fn read(path: &Path) -> Self {
        let payload = fs::read(path).unwrap();
        assert_eq!(&payload[..4], b"CrAU");
        assert_eq!(
            u64::from_be_bytes(payload[4..12].try_into().unwrap()),
            1,
            "major version"
        );
        let manifest_len = u64::from_be_bytes(payload[12..20].try_into().unwrap());
        let (metadata, data) = payload.split_at(20 + usize::try_from(manifest_len).unwrap());
        filter("protoc", ["--decode_raw".as_ref()], &metadata[20..]);
        let manifest = Message::parse(&metadata[20..]);
        if !manifest.fields().contains(&4) {
            return Self {
                manifest,
                signed: payload.clone(),
                data: data.to_vec(),
                signatures: None,
            };
        }
        let (offset, size) = (manifest.number(4), manifest.number(5));
        assert_eq!(offset + size, data.len() as u64, "signatures end the payload");
        let (data, signatures) = data.split_at(usize::try_from(offset).unwrap());
        Self {
            signed: [metadata, data].concat(),
            signatures: Some(Message::parse(signatures)),
            data: data.to_vec(),
            manifest,
        }
    }

    /// The data of an operation.
    fn data(&self, operation: &Message) -> &[u8] {
        let offset = usize::try_from(operation.number(2)).unwrap();
        &self.data[offset..][..usize::try_from(operation.number(3)).unwrap()]
    }

    /// What operations make of nothing, by the rules of the strictest reader in use: full
    /// replacements, one destination extent each, every one hashed, data without gaps from `offset`
    /// on.
    fn unpack(&self, operations: &[Message], info: &Message, mut offset: u64) -> (Vec<u8>, u64) {
        let mut image = Vec::new();
        for operation in operations {
            assert_eq!(operation.fields(), [1, 2, 3, 6, 8]);
            assert_eq!(operation.number(2), offset);
            offset += operation.number(3);
            let data = self.data(operation);
            assert_eq!(operation.bytes(8), digest(&SHA256, data).as_ref());
            let bytes = match operation.number(1) {
                0 => data.to_vec(),
                1 => filter("bzip2", ["-dc".as_ref()], data),
                other => panic!("operation type {other}"),
            };
            let [extent] = operation.messages(6).try_into().unwrap();
            let start = usize::try_from(extent.number(1) * 4096).unwrap();
            assert!(
                bytes.len() as u64 <= extent.number(2) * 4096,
                "the data fits its extent"
            );
            assert_eq!(start, image.len(), "nothing is left out");
            image.extend(bytes);
        }
        assert_eq!(info.number(1), image.len() as u64);
        assert_eq!(info.bytes(2), digest(&SHA256, &image).as_ref());
        (image, offset)
    }

    /// Checks entry `index` with `openssl` and gives its version.
    fn verify(&self, index: usize, key: &Path, workshop: &Workshop) -> u64 {
        let entry = &self.signatures.as_ref().unwrap().messages(1)[index];
        let signature = workshop.put("signature", entry.bytes(2));
        let arguments = [
            "dgst".as_ref(),
            "-sha256".as_ref(),
            "-verify".as_ref(),
            key.as_os_str(),
            "-signature".as_ref(),
        ];
        let verdict = filter(
            "openssl",
            arguments.into_iter().chain([signature.as_os_str()]),
            &self.signed,
        );
        assert_eq!(verdict, b"Verified OK\n");
        entry.number(1)
    }
}

/// Compressible in its first half, noise in its second.
fn mixed(len: usize) -> Vec<u8> {
    let mut noise = 1_u32;
    let noise = std::iter::repeat_with(move || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    std::iter::repeat_n(7, len / 2).chain(noise).take(len).collect()
}

#[test]
fn the_payload_of_the_fixture_is_byte_for_byte_what_the_original_made_of_it() {
    let workshop = Workshop::new();
    let image = workshop.put("new.img", &fixtures::image("new.img"));
    let made = workshop.generate(
        &image,
        Some(&fixtures::payload("vmlinuz-new")),
        &[&fixtures::payload("test-key.pem")],
    );
    assert!(fs::read(made).unwrap() == fs::read(fixtures::payload("full.payload")).unwrap());
    let made = workshop.generate(&image, None, &[]);
    assert!(fs::read(made).unwrap() == fs::read(fixtures::payload("full-unsigned.payload")).unwrap());
}

#[test]
fn an_independent_reader_unpacks_what_we_generate() {
    let workshop = Workshop::new();
    let (image, kernel) = (mixed(5_000_001), mixed(1_500_000));
    let (image_path, kernel_path) = (workshop.put("new.img", &image), workshop.put("vmlinuz", &kernel));
    let key = fixtures::payload("test-key.pem");
    let payload = Foreign::read(&workshop.generate(&image_path, Some(&kernel_path), &[&key]));

    assert_eq!(payload.manifest.fields(), [1, 2, 3, 4, 5, 9, 10]);
    assert_eq!(payload.manifest.number(3), 4096);
    let operations = payload.manifest.messages(1);
    let kinds: Vec<u64> = operations.iter().map(|operation| operation.number(1)).collect();
    assert_eq!(kinds, [1, 1, 1, 0, 0], "the smaller form of each");
    let last = &operations[4].messages(6)[0];
    assert_eq!(
        last.number(1) + last.number(2),
        5_000_001_u64.div_ceil(4096),
        "ends with the image"
    );
    let [info] = payload.manifest.messages(9).try_into().unwrap();
    let (unpacked, kernel_offset) = payload.unpack(&operations, &info, 0);
    assert!(unpacked == image);

    let [procedure] = payload.manifest.messages(10).try_into().unwrap();
    assert_eq!((procedure.fields(), procedure.number(1)), (vec![1, 2, 4], 0));
    let [info] = procedure.messages(4).try_into().unwrap();
    let (unpacked, end) = payload.unpack(&procedure.messages(2), &info, kernel_offset);
    assert!(unpacked == kernel);

    let [kernel_noop, signature_noop] = payload.manifest.messages(2).try_into().unwrap();
    assert_eq!(
        (kernel_noop.number(2), kernel_noop.number(3)),
        (kernel_offset, end - kernel_offset)
    );
    assert_eq!(
        kernel_noop.bytes(8),
        digest(&SHA256, payload.data(&kernel_noop)).as_ref()
    );
    assert_eq!(
        (signature_noop.number(2), signature_noop.number(3)),
        (end, payload.manifest.number(5))
    );
    for noop in [kernel_noop, signature_noop] {
        let [extent] = noop.messages(6).try_into().unwrap();
        assert_eq!((noop.number(1), extent.number(1)), (0, HOLE));
        assert_eq!(extent.number(2), noop.number(3).div_ceil(4096));
    }
    assert_eq!(
        payload.verify(0, &fixtures::payload("test-key.pub.pem"), &workshop),
        2,
        "the clients' entry"
    );
}

#[test]
fn with_several_keys_the_second_signs_for_the_clients() {
    let workshop = Workshop::new();
    let image = workshop.put("new.img", &mixed(10_000));
    let (other, other_public) = (workshop.path("other.pem"), workshop.path("other.pub.pem"));
    let (private, public) = (other.to_str().unwrap(), other_public.to_str().unwrap());
    // The older of the two forms of a key, and of another size.
    run("openssl", &["genrsa", "-traditional", "-out", private, "3072"]);
    run("openssl", &["rsa", "-in", private, "-pubout", "-out", public]);
    let (key, client) = (
        fixtures::payload("test-key.pem"),
        fixtures::payload("test-key.pub.pem"),
    );

    let made = workshop.generate(&image, None, &[&other, &key]);
    let payload = Foreign::read(&made);
    assert_eq!(payload.verify(0, &other_public, &workshop), 1);
    assert_eq!(payload.verify(1, &client, &workshop), 2);
    // Ours, which nodes use, goes by the entry's version, too.
    let trusts = |key: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
        command
            .arg("verify")
            .arg(&made)
            .arg("--public-key")
            .arg(key)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(trusts(&client) && !trusts(&other_public));
}

#[test]
fn a_payload_that_cannot_be_made_leaves_the_old_one_in_place() {
    let workshop = Workshop::new();
    let out = workshop.put("made.payload", b"the old one");
    let empty = workshop.put("empty.img", b"");
    let output = Command::new(env!("CARGO_BIN_EXE_update_payload"))
        .args(["generate".as_ref(), "--new-image".as_ref(), empty.as_os_str()])
        .args(["--out".as_ref(), out.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("empty.img: the image is empty\n"), "{said}");
    assert_eq!(fs::read(&out).unwrap(), b"the old one");
    assert_eq!(
        fs::read_dir(workshop.directory.path()).unwrap().count(),
        2,
        "nothing is left behind"
    );
}
