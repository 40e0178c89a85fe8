#![allow(clippy::unwrap_used)]

use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::*;
use crate::{Applier, Event, ImageKind, Limits, Metadata, PublicKeys, ReadBlocks, Reader, WriteBlocks};
use std::sync::{Arc, Mutex};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/payload")
        .join(name);
    std::fs::read(path).unwrap()
}

fn image(len: usize) -> Vec<u8> {
    // Compressible in its first half, noise in its second.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    std::iter::repeat_n(7, len / 2).chain(noise).take(len).collect()
}

fn write(image: &[u8], kernel: Option<&[u8]>, signers: &[&dyn Signer], threads: usize) -> (Vec<u8>, Summary) {
    let (mut image, mut kernel) = (image, kernel);
    let mut payload = FullPayload::new(&mut image).with_threads(NonZeroUsize::new(threads).unwrap());
    if let Some(kernel) = &mut kernel {
        payload = payload.with_kernel(kernel);
    }
    for signer in signers {
        payload = payload.with_signer(*signer);
    }
    let mut out = Vec::new();
    let summary = payload
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    (out, summary)
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    let key = RsaSigner::from_pem(&String::from_utf8(fixture("test-key.pem")).unwrap()).unwrap();
    let (one, summary) = write(&image(5_000_001), Some(&image(1_500_000)), &[&key], 1);
    for threads in [2, 3, 16] {
        assert!(write(&image(5_000_001), Some(&image(1_500_000)), &[&key], threads).0 == one);
    }
    assert_eq!(summary.payload_size, one.len() as u64);
    assert_eq!(
        (summary.operations, summary.image_size, summary.signatures),
        (5, 5_000_001, 1)
    );
}

#[test]
fn progress_ends_with_every_byte_of_image_and_kernel() {
    let (image, kernel) = (image(3 << 20), image(77));
    let (mut image, mut kernel) = (image.as_slice(), kernel.as_slice());
    let mut steps = Vec::new();
    FullPayload::new(&mut image)
        .with_kernel(&mut kernel)
        .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |done| {
            steps.push(done);
        })
        .unwrap();
    assert_eq!(steps, [1 << 20, 2 << 20, 3 << 20, (3 << 20) + 77]);
}

#[test]
fn an_empty_image_or_kernel_is_refused() {
    let attempt = |mut image: &[u8], mut kernel: &[u8]| {
        let payload = FullPayload::new(&mut image).with_kernel(&mut kernel);
        payload
            .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert_eq!(attempt(b"", b"kernel"), "the image is empty");
    assert_eq!(attempt(b"image", b""), "the kernel is empty");
}

#[test]
fn a_signer_that_breaks_its_promise_is_refused_by_number() {
    struct Short;
    impl Signer for Short {
        fn signature_len(&self) -> usize {
            256
        }
        fn sign(&self, _: &Sha256Digest) -> Result<Vec<u8>, SignError> {
            Ok(vec![0; 255])
        }
    }
    let key = RsaSigner::from_pem(&String::from_utf8(fixture("test-key.pem")).unwrap()).unwrap();
    let mut image = b"image".as_slice();
    let payload = FullPayload::new(&mut image).with_signer(&key).with_signer(&Short);
    let error = payload
        .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
        .unwrap_err();
    assert!(matches!(
        error,
        WriteError::Sign {
            number: 2,
            source: SignError::Length {
                promised: 256,
                actual: 255
            }
        }
    ));
}

#[test]
fn a_reader_that_fails_names_the_input() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }
    let (mut image, mut kernel) = (b"image".as_slice(), Broken);
    let payload = FullPayload::new(&mut image).with_kernel(&mut kernel);
    let error = payload
        .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
        .unwrap_err();
    assert!(matches!(
        error,
        WriteError::Read {
            input: Input::Kernel,
            ..
        }
    ));
}

#[test]
fn a_full_disk_under_the_spool_ends_it_without_hanging() {
    let image = image(8 << 20);
    let mut image = image.as_slice();
    let mut room = vec![0; 1 << 20];
    let payload = FullPayload::new(&mut image).with_threads(NonZeroUsize::new(3).unwrap());
    let error = payload
        .write(
            &mut Cursor::new(room.as_mut_slice()),
            &mut Vec::new(),
            &mut |_| {},
        )
        .unwrap_err();
    assert!(matches!(error, WriteError::Spool(_)));
}

#[test]
fn what_is_no_private_key_is_refused() {
    assert!(matches!(RsaSigner::from_pem("hello"), Err(SignError::Key(_))));
    let public = String::from_utf8(fixture("test-key.pub.pem")).unwrap();
    assert!(matches!(RsaSigner::from_pem(&public), Err(SignError::Key(_))));
}

/// A file in memory.
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl ReadBlocks for Memory {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("full payloads read nothing"))
    }
}

impl WriteBlocks for Memory {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let (mut bytes, at) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        if bytes.len() < at + buf.len() {
            bytes.resize(at + buf.len(), 0);
        }
        bytes[at..at + buf.len()].copy_from_slice(buf);
        Ok(())
    }
}

/// Version 2, by this many threads.
fn write_v2(image: &[u8], kernel: &[u8], compressions: &[Compression], threads: usize) -> Vec<u8> {
    let key = RsaSigner::from_pem(&String::from_utf8(fixture("test-key.pem")).unwrap()).unwrap();
    let (mut image, mut kernel, mut out) = (image, kernel, Vec::new());
    let summary = FullPayload::new(&mut image)
        .with_kernel(&mut kernel)
        .with_version(MajorVersion::V2)
        .with_compressions(compressions)
        .with_signer(&key)
        .with_threads(NonZeroUsize::new(threads).unwrap())
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    assert_eq!(summary.payload_size, out.len() as u64);
    assert_eq!(summary.payload_sha256, Sha256Digest::of(&out));
    out
}

/// Verifies a payload and applies it: names of the operations, slot, kernel.
fn read(payload: &[u8]) -> (Vec<&'static str>, Vec<u8>, Vec<u8>) {
    let keys = PublicKeys::from_pems([String::from_utf8(fixture("test-key.pub.pem")).unwrap()]).unwrap();
    let files = [ImageKind::Slot, ImageKind::Kernel].map(|kind| (kind, Arc::new(Memory(Mutex::default()))));
    let (mut reader, mut input) = (Reader::new(Limits::for_slot(u64::MAX)), payload);
    let (mut names, mut appliers) = (Vec::new(), Vec::new());
    while let Some(event) = reader.read(&mut input).unwrap() {
        match event {
            Event::Metadata { manifest, bytes, .. } => {
                Metadata::parse(&bytes).unwrap().verify(&keys).unwrap();
                for operation in manifest.operations() {
                    names.push(operation.kind.name());
                    let file = files.iter().find(|(kind, _)| *kind == operation.image).unwrap();
                    let target = Arc::clone(&file.1);
                    appliers
                        .push(Applier::new(Arc::clone(&manifest), operation.image, None, target).unwrap());
                }
            }
            Event::Operation { op, data } => appliers[op.index()].apply(op, &data).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    reader.finish().unwrap().verify(&keys).unwrap();
    let [slot, kernel] = files.map(|(_, file)| file.bytes());
    (names, slot, kernel)
}

/// `bytes` up to the end of its last block.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    bytes
}

#[test]
fn version_2_is_read_back_whatever_the_compression() {
    let (image, kernel) = (image(3_000_001), image(100_000));
    let cases: [(&[Compression], _); 5] = [
        (&[], "REPLACE"),
        (&[Compression::Bzip2], "REPLACE_BZ"),
        (&[Compression::Xz], "REPLACE_XZ"),
        (&[Compression::Zstd], "REPLACE_ZSTD"),
        (
            &[Compression::Bzip2, Compression::Xz, Compression::Zstd],
            "REPLACE_BZ",
        ),
    ];
    let mut sizes = Vec::new();
    for (compressions, name) in cases {
        let payload = write_v2(&image, &kernel, compressions, 2);
        let (names, slot, file) = read(&payload);
        // The second chunk is half noise, the third all of it, the kernel half.
        assert_eq!((names.len(), names[0], names[2]), (4, name, "REPLACE"));
        assert!(slot == padded(&image) && file == padded(&kernel), "{name}");
        sizes.push(payload.len());
    }
    let smallest = sizes[1..4].iter().min().unwrap();
    assert!(sizes[4] <= *smallest, "the smallest of each chunk: {sizes:?}");
}

#[test]
fn version_2_has_the_same_bytes_on_any_number_of_threads() {
    let all = [Compression::Bzip2, Compression::Xz, Compression::Zstd];
    let (image, kernel) = (image(4_000_001), image(1_500_000));
    let one = write_v2(&image, &kernel, &all, 1);
    for threads in [2, 5] {
        assert!(write_v2(&image, &kernel, &all, threads) == one);
    }
}

#[test]
fn version_1_has_bzip2_alone() {
    let mut image = b"image".as_slice();
    let payload = FullPayload::new(&mut image)
        .with_version(MajorVersion::V1)
        .with_compressions(&[Compression::Zstd]);
    let error = payload
        .write(&mut Cursor::new(Vec::new()), &mut Vec::new(), &mut |_| {})
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "payloads of major version 1 have no operation for zstd"
    );
}

/// Remembers what it signed.
struct Elsewhere(RsaSigner, Mutex<Vec<Sha256Digest>>);

impl Signer for Elsewhere {
    fn signature_len(&self) -> usize {
        self.0.signature_len()
    }
    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        self.1.lock().unwrap().push(*sha256);
        self.0.sign(sha256)
    }
}

#[test]
fn signing_later_gives_the_same_bytes() {
    let key = RsaSigner::from_pem(&String::from_utf8(fixture("test-key.pem")).unwrap()).unwrap();
    let (image, kernel) = (image(2_000_001), image(77));
    for kernel in [None, Some(kernel.as_slice())] {
        for signers in [&[&key as &dyn Signer][..], &[&key, &key]] {
            let mut out = Vec::new();
            let mut unsigned = Cursor::new(write(&image, kernel, &[], 1).0);
            let signed = sign_unsigned(&mut unsigned, signers, &mut out).unwrap();
            assert!(out == write(&image, kernel, signers, 1).0);
            assert_eq!(signed.payload_sha256, Sha256Digest::of(&out));
        }
    }
}

#[test]
fn version_2_gets_signatures_of_metadata_and_payload() {
    let pem = String::from_utf8(fixture("test-key.pem")).unwrap();
    let key = Elsewhere(RsaSigner::from_pem(&pem).unwrap(), Mutex::default());
    let image = image(2_000_001);
    let unsigned = {
        let (mut image, mut out) = (image.as_slice(), Vec::new());
        FullPayload::new(&mut image)
            .with_version(MajorVersion::V2)
            .with_compressions(&[Compression::Zstd])
            .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
            .unwrap();
        out
    };
    let mut out = Vec::new();
    let signed = sign_unsigned(&mut Cursor::new(unsigned), &[&key], &mut out).unwrap();
    assert_eq!(
        *key.1.lock().unwrap(),
        [signed.metadata_sha256, signed.signed_sha256]
    );
    let (names, slot, _) = read(&out);
    assert_eq!(names, ["REPLACE_ZSTD", "REPLACE"]);
    assert!(slot == padded(&image));
}

#[test]
fn a_payload_is_signed_once_and_only_if_nothing_of_its_manifest_gets_lost() {
    let key = RsaSigner::from_pem(&String::from_utf8(fixture("test-key.pem")).unwrap()).unwrap();
    let refusal = |payload: Vec<u8>| {
        sign_unsigned(&mut Cursor::new(payload), &[&key], io::sink())
            .unwrap_err()
            .to_string()
    };
    let again = "the payload is signed already; make it without a key";
    assert_eq!(refusal(fixture("full.payload")), again);
    assert_eq!(refusal(write_v2(&[7; 5000], b"kernel", &[], 1)), again);
    let mut unknown = fixture("full-unsigned.payload");
    // Field 1000, a number.
    let field = [0xc0, 0x3e, 1];
    let manifest_len = u64::from_be_bytes(unknown[12..20].try_into().unwrap());
    let end = 20 + usize::try_from(manifest_len).unwrap();
    unknown.splice(end..end, field);
    unknown[12..20].copy_from_slice(&(manifest_len + 3).to_be_bytes());
    assert!(refusal(unknown).starts_with("the manifest has fields that are unknown here"));
    let mut long = fixture("full-unsigned.payload");
    long[12..20].copy_from_slice(&(9_u64 << 20).to_be_bytes());
    assert_eq!(
        refusal(long),
        "the manifest has 9437184 bytes; 8388608 are the limit"
    );
    assert_eq!(
        refusal(fixture("full-unsigned.payload")[..500].to_vec()),
        "cannot read the unsigned payload"
    );
}
