//! What the original's generator made, and how it is read here.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use payload_format::{Event, Finished, FormatError, Limits, Reader};

/// Longer than the images, as a slot is.
pub(crate) const SLOT_LEN: u64 = 20 << 20;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/payload")
        .join(name)
}

/// A fixture's bytes.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// A fixture's text.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// `old.img` or `new.img`, unpacked.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let output = Command::new("zstd")
        .arg("-dc")
        .arg(path(&format!("{name}.zst")))
        .output();
    let output = output.expect("zstd is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

pub(crate) static OLD_IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| image("old.img"));

/// The SHA-256 that the original's images have, by name.
pub(crate) fn expected_sha256(name: &str) -> String {
    let sums = text("SHA256SUMS");
    let line = sums.lines().find(|line| line.ends_with(&format!(" {name}")));
    line.unwrap().split(' ').next().unwrap().to_owned()
}

/// Reads a payload in chunks of `size` bytes and hands every event out.
pub(crate) fn read(
    payload: &[u8],
    size: usize,
    mut reader: Reader,
    mut on_event: impl FnMut(Event),
) -> Result<Finished, FormatError> {
    for chunk in payload.chunks(size) {
        let mut input = chunk;
        while let Some(event) = reader.read(&mut input)? {
            on_event(event);
        }
        assert!(
            input.is_empty(),
            "the reader left {} bytes without an event",
            input.len()
        );
    }
    reader.finish()
}

/// A fresh reader with the default limits.
pub(crate) fn reader() -> Reader {
    Reader::new(Limits::for_slot(SLOT_LEN))
}

/// What is wrong with a payload.
pub(crate) fn refusal(payload: &[u8], limits: Limits) -> FormatError {
    read(payload, 1 << 16, Reader::new(limits), |_| {}).unwrap_err()
}
