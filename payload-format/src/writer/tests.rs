#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::path::PathBuf;

use super::*;

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
