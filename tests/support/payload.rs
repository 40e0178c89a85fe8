//! Large payloads without compression, written in no time and without holding them in memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message;
use ring::digest::{Context, SHA256, digest};

use super::fixtures;

/// Bytes of an operation.
pub const CHUNK: usize = 1 << 20;
const BLOCK: usize = 4096;

#[derive(Message)]
struct Manifest {
    #[prost(message, repeated, tag = "1")]
    operations: Vec<Operation>,
    #[prost(uint32, optional, tag = "3")]
    block_size: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    signatures_size: Option<u64>,
    #[prost(message, optional, tag = "9")]
    new_partition: Option<Info>,
}

#[derive(Message)]
struct Operation {
    #[prost(uint32, optional, tag = "1")]
    kind: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    data_offset: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    data_length: Option<u32>,
    #[prost(message, repeated, tag = "6")]
    destination: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    sha256: Option<Vec<u8>>,
}

#[derive(Message)]
struct Extent {
    #[prost(uint64, optional, tag = "1")]
    start: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    blocks: Option<u64>,
}

#[derive(Message)]
struct Info {
    #[prost(uint64, optional, tag = "1")]
    size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    hash: Option<Vec<u8>>,
}

#[derive(Message)]
struct Signatures {
    #[prost(message, repeated, tag = "1")]
    signatures: Vec<Signature>,
}

#[derive(Message)]
struct Signature {
    #[prost(uint32, optional, tag = "1")]
    version: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
}

/// Chunk `index` of the image: no two are equal, none is compressible by much.
fn chunk(index: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..CHUNK)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
    bytes
}

/// Writes a signed payload of an image of `chunks` MiB; gives the image's SHA-256.
pub fn large(path: &Path, chunks: usize) -> [u8; 32] {
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let mut image = Context::new(&SHA256);
    let mut bytes = chunk(0);
    let operations = (0..chunks)
        .map(|index| {
            bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
            image.update(&bytes);
            operation(index, &bytes)
        })
        .collect();
    let image: [u8; 32] = image.finish().as_ref().try_into().unwrap();
    let blob_len = blob(vec![0; signer.signature_len()]).len();
    let manifest = Manifest {
        operations,
        block_size: Some(4096),
        signatures_offset: Some((chunks * CHUNK) as u64),
        signatures_size: Some(blob_len as u64),
        new_partition: Some(Info {
            size: Some((chunks * CHUNK) as u64),
            hash: Some(image.to_vec()),
        }),
    }
    .encode_to_vec();

    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut signed = Context::new(&SHA256);
    let mut put = |part: &[u8]| {
        signed.update(part);
        file.write_all(part).unwrap();
    };
    put(b"CrAU");
    put(&1_u64.to_be_bytes());
    put(&(manifest.len() as u64).to_be_bytes());
    put(&manifest);
    for index in 0..chunks {
        bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
        put(&bytes);
    }
    let signed: [u8; 32] = signed.finish().as_ref().try_into().unwrap();
    let signature = signer.sign(&Sha256Digest::from(signed)).unwrap();
    file.write_all(&blob(signature)).unwrap();
    file.flush().unwrap();
    image
}

fn operation(index: usize, bytes: &[u8]) -> Operation {
    Operation {
        kind: Some(0),
        data_offset: Some(u32::try_from(index * CHUNK).unwrap()),
        data_length: Some(u32::try_from(CHUNK).unwrap()),
        destination: vec![Extent {
            start: Some((index * (CHUNK / BLOCK)) as u64),
            blocks: Some((CHUNK / BLOCK) as u64),
        }],
        sha256: Some(digest(&SHA256, bytes).as_ref().to_vec()),
    }
}

fn blob(signature: Vec<u8>) -> Vec<u8> {
    let signature = Signature {
        version: Some(2),
        data: Some(signature),
    };
    Signatures {
        signatures: vec![signature],
    }
    .encode_to_vec()
}
