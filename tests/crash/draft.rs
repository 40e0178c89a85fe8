//! A payload in the making, operation by operation.

use std::io::Write as _;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message as _;

use crate::node::OEM;
use crate::payload::Payload;
use crate::wire::{
    self, DeltaArchiveManifest, InstallInfo, InstallOperation, InstallProcedure, PartitionUpdate, Signature,
    Signatures, WireExtent,
};
use test_support::fixtures;

pub(crate) const BLOCK: usize = 4096;

/// First block and number of them.
type Blocks = (usize, usize);

pub(crate) fn bytes_of(image: &[u8], extents: &[Blocks]) -> Vec<u8> {
    let bytes = |&(start, count): &Blocks| &image[start * BLOCK..(start + count) * BLOCK];
    extents.iter().flat_map(bytes).copied().collect()
}

fn extents(blocks: &[Blocks]) -> Vec<WireExtent> {
    let extent = |&(start, count): &Blocks| WireExtent {
        start_block: Some(start as u64),
        num_blocks: Some(count as u64),
    };
    blocks.iter().map(extent).collect()
}

#[derive(Default)]
pub(crate) struct Draft {
    operations: Vec<InstallOperation>,
    data: Vec<u8>,
    /// Those of the images before.
    before: Vec<Vec<InstallOperation>>,
}

/// An image, and the one that it is made from.
pub(crate) type Images<'a> = (Option<&'a [u8]>, Vec<u8>);

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

    pub(crate) fn replace(&mut self, destination: &[Blocks], bytes: &[u8], compressed: bool) {
        if compressed {
            self.add(wire::REPLACE_BZ, destination, &bzip2(bytes));
        } else {
            self.add(wire::REPLACE, destination, bytes);
        }
    }

    pub(crate) fn write(&mut self, image: &mut [u8], destination: Blocks, bytes: &[u8]) {
        image[destination.0 * BLOCK..][..bytes.len()].copy_from_slice(bytes);
        self.replace(&[destination], bytes, false);
    }

    pub(crate) fn copy(&mut self, image: &mut [u8], from: Blocks, to: Blocks) {
        let bytes = bytes_of(image, &[from]);
        image[to.0 * BLOCK..][..bytes.len()].copy_from_slice(&bytes);
        self.add(wire::MOVE, &[to], b"").src_extents = extents(&[from]);
    }

    /// Adds one to every byte.
    pub(crate) fn patch(&mut self, image: &mut [u8], from: Blocks, to: Blocks) {
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

    /// Packed in the `nth` way of version 2.
    pub(crate) fn pack(&mut self, destination: &[Blocks], bytes: &[u8], nth: usize) {
        let (kind, data) = match nth % 4 {
            0 => (wire::REPLACE_XZ, fixtures::filter("xz", ["-c".as_ref()], bytes)),
            1 => (
                wire::REPLACE_ZSTD,
                fixtures::filter("zstd", ["-c".as_ref()], bytes),
            ),
            2 => (wire::REPLACE_BZ, bzip2(bytes)),
            _ => (wire::REPLACE, bytes.to_vec()),
        };
        self.add(kind, destination, &data);
    }

    pub(crate) fn zero(&mut self, image: &mut [u8], destination: &[Blocks]) {
        put(image, destination, &vec![0; bytes_of(image, destination).len()]);
        self.add(wire::ZERO, destination, b"");
    }

    pub(crate) fn source_copy(&mut self, old: &[u8], image: &mut [u8], from: &[Blocks], to: &[Blocks]) {
        let bytes = bytes_of(old, from);
        put(image, to, &bytes);
        let operation = self.add(wire::SOURCE_COPY, to, b"");
        operation.src_extents = extents(from);
        operation.src_sha256_hash = Some(hash(&bytes));
    }

    /// Adds one to every byte. BSDF2 names the ways in which its parts are packed: all by bzip2.
    pub(crate) fn source_patch(
        &mut self,
        old: &[u8],
        image: &mut [u8],
        from: Blocks,
        to: Blocks,
        magic: [u8; 8],
    ) {
        let source = bytes_of(old, &[from]);
        let bytes: Vec<u8> = source.iter().map(|b| b.wrapping_add(1)).collect();
        put(image, &[to], &bytes);
        let kind = match &magic {
            b"BSDIFF40" => wire::SOURCE_BSDIFF,
            _ => wire::BROTLI_BSDIFF,
        };
        let mut patch = bsdiff(bytes.len());
        patch[..8].copy_from_slice(&magic);
        let operation = self.add(kind, &[to], &patch);
        operation.src_extents = extents(&[from]);
        operation.src_sha256_hash = Some(hash(&source));
    }

    /// What follows is the next image's: after the slot's the kernel's, after that the partition's.
    pub(crate) fn begin_next(&mut self) {
        self.before.push(std::mem::take(&mut self.operations));
    }

    pub(crate) fn version_1(
        mut self,
        old: Option<&[u8]>,
        image: Vec<u8>,
        kernel: Option<Vec<u8>>,
    ) -> Payload {
        let partition = std::mem::take(&mut self.operations);
        let procedures = kernel.iter().map(|kernel| self.kernel(kernel)).collect();
        let signer = signer();
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
        Payload {
            bytes,
            image,
            kernel,
            oem: None,
            content: None,
        }
    }

    /// With the images of slot, kernel and, if there is a third one, partition.
    pub(crate) fn version_2(mut self, images: Vec<Images>) -> Payload {
        self.begin_next();
        let signer = signer();
        let signatures_len = signatures(vec![0; signer.signature_len()]).len();
        let parts = ["usr", "kernel", OEM].iter().zip(&images).zip(self.before);
        let partitions = parts.map(|((name, (old, new)), operations)| PartitionUpdate {
            partition_name: Some((*name).to_owned()),
            old_partition_info: old.map(info),
            new_partition_info: Some(info(new)),
            operations,
            ..PartitionUpdate::default()
        });
        let manifest = DeltaArchiveManifest {
            signatures_offset: Some(self.data.len() as u64),
            signatures_size: Some(signatures_len as u64),
            minor_version: Some(if images[0].0.is_some() { 4 } else { 0 }),
            partitions: partitions.collect(),
            ..DeltaArchiveManifest::default()
        };
        let manifest = manifest.encode_to_vec();
        let mut metadata = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
        metadata.extend((manifest.len() as u64).to_be_bytes());
        metadata.extend(u32::try_from(signatures_len).unwrap().to_be_bytes());
        metadata.extend(manifest);
        let sign = |bytes: &[u8]| signatures(signer.sign(&Sha256Digest::of(bytes)).unwrap());
        let whole = [&metadata[..], &self.data].concat();
        let bytes = [&metadata[..], &sign(&metadata), &self.data, &sign(&whole)].concat();
        let mut images = images.into_iter().map(|(_, image)| image);
        Payload {
            bytes,
            image: images.next().unwrap(),
            kernel: images.next(),
            oem: images.next(),
            content: None,
        }
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

fn put(image: &mut [u8], destination: &[Blocks], mut bytes: &[u8]) {
    for &(start, count) in destination {
        let (now, later) = bytes.split_at(count * BLOCK);
        image[start * BLOCK..][..now.len()].copy_from_slice(now);
        bytes = later;
    }
}

fn signer() -> RsaSigner {
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    RsaSigner::from_pem(&key).unwrap()
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
