//! The versions of the story, made by the real tools: images that grow from a fixture, signed with
//! the test key, and one payload changed after it was signed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::programs::{program, succeed};
use super::{Outcome, fixture};

/// How much an image holds behind its file system: what a verity tree would be on a node.
const REST: usize = 32 << 20;

/// One version: the image of its slot, its kernel, and the payload that brings them.
pub struct Payload {
    pub version: &'static str,
    pub path: PathBuf,
    pub image: Vec<u8>,
    pub kernel: Vec<u8>,
}

/// The versions of the story.
pub struct Payloads {
    /// What the node was installed with; no payload brings it.
    pub factory: Payload,
    /// A proper update.
    pub good: Payload,
    /// Signed, then changed by one bit.
    pub tampered: Payload,
    /// Proper as a payload; what it brings does not come up.
    pub bad: Payload,
}

impl Payloads {
    pub fn make(directory: &Path) -> Outcome<Self> {
        let file_system = unpack_fixture(directory)?;
        let make = |version| Payload::make(directory, version, &file_system);
        let mut tampered = make("2.0.1")?;
        tampered.flip_a_bit()?;
        Ok(Self {
            factory: make("1.0.0")?,
            good: make("2.0.0")?,
            tampered,
            bad: make("3.0.0")?,
        })
    }
}

impl Payload {
    fn make(directory: &Path, version: &'static str, file_system: &[u8]) -> Outcome<Self> {
        let mut image = file_system.to_vec();
        image.extend(content_of(version));
        let kernel = format!("kernel of {version}\n").repeat(20_000).into_bytes();
        let (image_path, kernel_path) = (directory.join("image"), directory.join("kernel"));
        fs::write(&image_path, &image)?;
        fs::write(&kernel_path, &kernel)?;
        let path = directory.join(format!("update-{version}"));
        let mut generate = program("update_payload");
        generate
            .args(["generate", "--new-image"])
            .arg(image_path)
            .arg("--new-kernel")
            .arg(kernel_path);
        generate
            .arg("--private-key")
            .arg(fixture("payload/test-key.pem"))
            .arg("--out")
            .arg(&path);
        succeed(&mut generate)?;
        Ok(Self {
            version,
            path,
            image,
            kernel,
        })
    }

    /// In the middle of the payload: in some operation's data.
    fn flip_a_bit(&mut self) -> Outcome {
        let mut bytes = fs::read(&self.path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(fs::File::create(&self.path)?.write_all(&bytes)?)
    }
}

/// A slot's file system with a postinst, from the payload of another implementation.
fn unpack_fixture(directory: &Path) -> Outcome<Vec<u8>> {
    let target = directory.join("file-system");
    fs::File::create(&target)?.set_len(16 << 20)?;
    let mut apply = program("update_payload");
    apply
        .arg("apply")
        .arg(fixture("payload/full.payload"))
        .arg("--target")
        .arg(&target);
    apply.arg("--public-key").arg(fixture("payload/test-key.pub.pem"));
    succeed(&mut apply)?;
    Ok(fs::read(target)?)
}

/// Bytes that are this version's own and compress like programs do: to about a third.
fn content_of(version: &str) -> impl Iterator<Item = u8> {
    let seed = version.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |seed, byte| {
        seed.rotate_left(9) ^ u64::from(byte)
    });
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [a, b, c, ..] = state.to_le_bytes();
        [a & 0x0f, a & 0x0f, b & 0x1f, 0, c & 0x03, a & 0x0f, 0, b & 0x1f]
    })
    .flatten()
    .take(REST)
}
