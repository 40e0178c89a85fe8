//! Payloads that no writer of ours makes: whatever fields a test puts into the manifest.

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};

use super::protobuf::{bytes, number};
use test_support::fixtures;

const BLOCK: usize = 4096;

/// A payload in parts.
#[derive(Debug, Clone, Default)]
pub struct RawPayload {
    /// Major version.
    pub version: u64,
    /// Encoded fields, but for those of the signatures.
    pub manifest: Vec<u8>,
    /// Of all operations.
    pub data: Vec<u8>,
}

impl RawPayload {
    /// Of major version 2, empty.
    pub fn v2() -> Self {
        Self {
            version: 2,
            ..Self::default()
        }
    }

    /// Adds data, and gives the operation of this type that has it and writes `count` blocks from
    /// `start`.
    pub fn operation(&mut self, kind: u64, data: &[u8], (start, count): (u64, u64)) -> Vec<u8> {
        let mut operation = number(1, kind);
        if !data.is_empty() {
            operation.extend(number(2, self.data.len() as u64));
            operation.extend(number(3, data.len() as u64));
            operation.extend(bytes(8, Sha256Digest::of(data).as_bytes()));
            self.data.extend_from_slice(data);
        }
        operation.extend(bytes(6, extent(start, count)));
        operation
    }

    /// Adds a partition that becomes `image`, with these further fields.
    pub fn partition(&mut self, name: &str, image: &[u8], operations: &[Vec<u8>], further: &[u8]) {
        let mut partition = bytes(1, name);
        partition.extend(bytes(7, info(image)));
        for operation in operations {
            partition.extend(bytes(8, operation));
        }
        partition.extend_from_slice(further);
        self.manifest.extend(bytes(13, partition));
    }

    /// All of it, unsigned.
    pub fn unsigned(&self) -> Vec<u8> {
        [self.head(&self.manifest, 0), self.data.clone()].concat()
    }

    /// All of it, signed by the key that nodes trust.
    pub fn signed(&self) -> Vec<u8> {
        let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
        let signer = RsaSigner::from_pem(&key).unwrap();
        let len = blob(self.version, &vec![0; signer.signature_len()]).len();
        let sign = |parts: &[&[u8]]| {
            let digest = Sha256Digest::of(&parts.concat());
            blob(self.version, &signer.sign(&digest).unwrap())
        };
        let mut manifest = self.manifest.clone();
        manifest.extend(number(4, self.data.len() as u64));
        manifest.extend(number(5, len as u64));
        let head = self.head(&manifest, if self.version == 1 { 0 } else { len });
        let of_metadata = if self.version == 1 { vec![] } else { sign(&[&head]) };
        let own = sign(&[&head, &self.data]);
        [head, of_metadata, self.data.clone(), own].concat()
    }

    fn head(&self, manifest: &[u8], signatures: usize) -> Vec<u8> {
        let mut head = b"CrAU".to_vec();
        head.extend(self.version.to_be_bytes());
        head.extend((manifest.len() as u64).to_be_bytes());
        if self.version != 1 {
            head.extend(u32::try_from(signatures).unwrap().to_be_bytes());
        }
        head.extend_from_slice(manifest);
        head
    }
}

/// An extent's message.
pub fn extent(start: u64, count: u64) -> Vec<u8> {
    [number(1, start), number(2, count)].concat()
}

/// Size and hash of an image.
pub fn info(image: &[u8]) -> Vec<u8> {
    [
        number(1, image.len() as u64),
        bytes(2, Sha256Digest::of(image).as_bytes()),
    ]
    .concat()
}

/// An image of so many blocks that differ.
pub fn image(blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK)
        .map(|at| (at / 7 * at % 251).to_le_bytes()[0])
        .collect()
}

fn blob(version: u64, signature: &[u8]) -> Vec<u8> {
    let mut entry = bytes(2, signature);
    if version == 1 {
        entry.extend(number(1, 2));
    }
    bytes(1, entry)
}
