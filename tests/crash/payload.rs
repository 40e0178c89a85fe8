//! Payloads of many small operations, so that an update of a small slot has many writes.

use std::io::Write as _;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message as _;

use crate::random::Random;
use crate::support::fixtures;
use crate::wire::{
    self, DeltaArchiveManifest, Extent, InstallInfo, InstallOperation, InstallProcedure, Signature,
    Signatures,
};

const BLOCK: usize = 4096;
const BLOCKS: usize = 64;
/// A payload, and what a slot and its kernel are once it is installed.
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    pub(crate) image: Vec<u8>,
    /// None: the running slot's kernel is copied.
    pub(crate) kernel: Option<Vec<u8>>,
}

/// An image of which some parts compress.
pub(crate) fn image(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let block = |nth: usize| match nth % 4 {
        3 => vec![u8::try_from(nth).unwrap(); BLOCK],
        _ => random.bytes(BLOCK),
    };
    (0..BLOCKS).flat_map(block).collect()
}

/// A kernel: a whole number of blocks and a bit.
pub(crate) fn kernel(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(5 * BLOCK + 100)
}

/// Writes every block of a new image, two apart from each other at a time.
pub(crate) fn full() -> Payload {
    let image = image(2);
    let mut draft = Draft::default();
    for nth in 0..BLOCKS / 4 {
        let extents = [(nth * 2, 2), (BLOCKS / 2 + nth * 2, 2)];
        draft.replace(&extents, &bytes_of(&image, &extents), nth % 2 == 1);
    }
    draft.finish(None, image, Some(kernel(12)))
}

/// Works in place on `old`, with everything that makes resuming hard: blocks that are written, read from the
/// target and overwritten again, and operations that overwrite what they read.
pub(crate) fn delta(old: &[u8], kernel: Option<Vec<u8>>) -> Payload {
    let mut random = Random::new(3);
    let mut image = old.to_vec();
    let mut draft = Draft::default();
    for at in (0..BLOCKS).step_by(16) {
        draft.patch(&mut image, (at, 2), (at + 2, 2));
        draft.write(&mut image, (at + 4, 2), &random.bytes(2 * BLOCK));
        draft.copy(&mut image, (at + 4, 2), (at + 6, 2));
        // What the operation before read from the target.
        draft.write(&mut image, (at + 4, 2), &random.bytes(2 * BLOCK));
        draft.copy(&mut image, (at, 2), (at + 8, 2));
        draft.patch(&mut image, (at + 6, 2), (at + 10, 2));
        // Reads from the target what it overwrites.
        draft.copy(&mut image, (at + 8, 2), (at + 9, 2));
        draft.copy(&mut image, (at + 12, 1), (at, 1));
    }
    draft.finish(Some(old), image, kernel)
}

type Blocks = (usize, usize);

fn bytes_of(image: &[u8], extents: &[Blocks]) -> Vec<u8> {
    let bytes = |&(start, count): &Blocks| &image[start * BLOCK..(start + count) * BLOCK];
    extents.iter().flat_map(bytes).copied().collect()
}

fn extents(blocks: &[Blocks]) -> Vec<Extent> {
    let extent = |&(start, count): &Blocks| Extent {
        start_block: Some(start as u64),
        num_blocks: Some(count as u64),
    };
    blocks.iter().map(extent).collect()
}

/// A payload in the making.
#[derive(Default)]
struct Draft {
    operations: Vec<InstallOperation>,
    data: Vec<u8>,
}

impl Draft {
    fn add(&mut self, kind: i32, destination: &[Blocks], data: &[u8]) -> &mut InstallOperation {
        let operation = InstallOperation {
            r#type: Some(kind),
            data_offset: Some(self.data.len() as u64).filter(|_| !data.is_empty()),
            data_length: Some(data.len() as u64).filter(|_| !data.is_empty()),
            data_sha256_hash: Some(hash(data)).filter(|_| !data.is_empty()),
            dst_extents: extents(destination),
            ..InstallOperation::default()
        };
        self.data.extend_from_slice(data);
        self.operations.push(operation);
        self.operations.last_mut().unwrap()
    }

    fn replace(&mut self, destination: &[Blocks], bytes: &[u8], compressed: bool) {
        if compressed {
            self.add(wire::REPLACE_BZ, destination, &bzip2(bytes));
        } else {
            self.add(wire::REPLACE, destination, bytes);
        }
    }

    fn write(&mut self, image: &mut [u8], destination: Blocks, bytes: &[u8]) {
        image[destination.0 * BLOCK..][..bytes.len()].copy_from_slice(bytes);
        self.replace(&[destination], bytes, false);
    }

    fn copy(&mut self, image: &mut [u8], from: Blocks, to: Blocks) {
        let bytes = bytes_of(image, &[from]);
        image[to.0 * BLOCK..][..bytes.len()].copy_from_slice(&bytes);
        self.add(wire::MOVE, &[to], b"").src_extents = extents(&[from]);
    }

    /// Adds one to every byte.
    fn patch(&mut self, image: &mut [u8], from: Blocks, to: Blocks) {
        let bytes: Vec<u8> = bytes_of(image, &[from])
            .iter()
            .map(|b| b.wrapping_add(1))
            .collect();
        image[to.0 * BLOCK..][..bytes.len()].copy_from_slice(&bytes);
        let operation = self.add(wire::BSDIFF, &[to], &bsdiff(bytes.len()));
        operation.src_extents = extents(&[from]);
        operation.src_length = Some(bytes.len() as u64);
        operation.dst_length = Some(bytes.len() as u64);
    }

    fn finish(mut self, old: Option<&[u8]>, image: Vec<u8>, kernel: Option<Vec<u8>>) -> Payload {
        let partition = std::mem::take(&mut self.operations);
        let procedures = kernel.iter().map(|kernel| self.kernel(kernel)).collect();
        let signer = fixtures::payload("test-key.pem");
        let signer = RsaSigner::from_pem(&std::fs::read_to_string(signer).unwrap()).unwrap();
        let manifest = DeltaArchiveManifest {
            partition_operations: partition,
            procedures,
            signatures_offset: Some(self.data.len() as u64),
            signatures_size: Some(signatures(vec![0; signer.signature_len()]).len() as u64),
            old_partition_info: old.map(info),
            new_partition_info: Some(info(&image)),
            ..DeltaArchiveManifest::default()
        };
        let manifest = manifest.encode_to_vec();
        let mut bytes = b"CrAU\0\0\0\0\0\0\0\x01".to_vec();
        bytes.extend((manifest.len() as u64).to_be_bytes());
        bytes.extend([manifest, self.data].concat());
        let signature = signer.sign(&Sha256Digest::of(&bytes)).unwrap();
        bytes.extend(signatures(signature));
        Payload { bytes, image, kernel }
    }

    fn kernel(&mut self, kernel: &[u8]) -> InstallProcedure {
        for (nth, bytes) in kernel.chunks(2 * BLOCK).enumerate() {
            self.replace(&[(nth * 2, bytes.len().div_ceil(BLOCK))], bytes, true);
        }
        InstallProcedure {
            r#type: Some(wire::KERNEL),
            operations: std::mem::take(&mut self.operations),
            old_info: None,
            new_info: Some(info(kernel)),
        }
    }
}

fn info(image: &[u8]) -> InstallInfo {
    InstallInfo {
        size: Some(image.len() as u64),
        hash: Some(hash(image)),
    }
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256Digest::of(bytes).as_bytes().to_vec()
}

fn signatures(data: Vec<u8>) -> Vec<u8> {
    let signature = Signature {
        version: Some(wire::CLIENT_SIGNATURE_VERSION),
        data: Some(data),
        unpadded_signature_size: None,
    };
    Signatures {
        signatures: vec![signature],
    }
    .encode_to_vec()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A patch that adds one to each byte of the old file, as long as the result.
fn bsdiff(len: usize) -> Vec<u8> {
    let control = bzip2(&[(len as u64).to_le_bytes(), [0; 8], [0; 8]].concat());
    let diff = bzip2(&vec![1; len]);
    let lengths = [control.len(), diff.len(), len].map(|len| (len as u64).to_le_bytes());
    [b"BSDIFF40".to_vec(), lengths.concat(), control, diff, bzip2(b"")].concat()
}
