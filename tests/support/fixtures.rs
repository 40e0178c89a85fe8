//! Payloads, images and keys made with the original's generator, and tools that aren't ours to
//! judge them.

use std::ffi::OsStr;
use std::io::{Cursor, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use payload_format::MajorVersion;
use payload_format::writer::{FullPayload, RsaSigner};

use crate::project;

/// A file of `tests/fixtures/payload`.
pub fn payload(name: &str) -> PathBuf {
    project().join("tests/fixtures/payload").join(name)
}

/// An image of `tests/fixtures/payload`, unpacked: `old.img` or `new.img`.
pub fn image(name: &str) -> Vec<u8> {
    filter(
        "zstd",
        ["-dc".as_ref(), payload(&format!("{name}.zst")).as_os_str()],
        b"",
    )
}

/// `image` as a full payload, signed with the fixtures' key.
pub fn signed(image: &[u8]) -> Vec<u8> {
    signed_by(&std::fs::read_to_string(payload("test-key.pem")).unwrap(), image)
}

/// The same, and every byte of `image` stands in it as it is.
pub fn uncompressed(image: &[u8]) -> Vec<u8> {
    let signer = RsaSigner::from_pem(&std::fs::read_to_string(payload("test-key.pem")).unwrap()).unwrap();
    let (mut image, mut payload) = (Cursor::new(image), Vec::new());
    FullPayload::new(&mut image)
        .with_version(MajorVersion::V1)
        .with_compressions(&[])
        .with_signer(&signer)
        .write(&mut Cursor::new(Vec::new()), &mut payload, &mut |_| {})
        .unwrap();
    payload
}

/// The same, signed with the private `key`.
pub fn signed_by(key: &str, image: &[u8]) -> Vec<u8> {
    let signer = RsaSigner::from_pem(key).unwrap();
    let (mut image, mut payload) = (Cursor::new(image), Vec::new());
    FullPayload::new(&mut image)
        .with_signer(&signer)
        .with_threads(NonZeroUsize::new(2).unwrap())
        .write(&mut Cursor::new(Vec::new()), &mut payload, &mut |_| {})
        .unwrap();
    payload
}

/// What `program` makes of `input`.
///
/// # Panics
/// If the program is missing or fails.
pub fn filter<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        // A program may stop reading before the end; what it says then is checked below.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("it was started")
    });
    assert!(output.status.success(), "{program}: {}", output.status);
    output.stdout
}
