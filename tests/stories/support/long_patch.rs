//! A signed delta of version 2 with operations as large as any: a patch that nobody should hold in
//! memory, then as much plain data at once as is held.

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message;

use super::payload::{Extent, Info, Operation, blob};
use test_support::fixtures;

const MIB: usize = 1 << 20;
const BLOCK: usize = 4096;

/// Bytes of both images, and of their parts.
pub const LEN: usize = ADDED + INSERTED + WHOLE * WHOLES;
const ADDED: usize = 16 * MIB;
const INSERTED: usize = 48 * MIB;
const WHOLE: usize = 16 * MIB;
const WHOLES: usize = 3;

const REPLACE: u32 = 0;
const BROTLI_BSDIFF: u32 = 10;

#[derive(Message)]
struct Manifest {
    #[prost(uint32, optional, tag = "3")]
    block_size: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    signatures_size: Option<u64>,
    #[prost(uint32, optional, tag = "12")]
    minor_version: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    partitions: Vec<Partition>,
}

#[derive(Message)]
struct Partition {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, optional, tag = "6")]
    old: Option<Info>,
    #[prost(message, optional, tag = "7")]
    new: Option<Info>,
    #[prost(message, repeated, tag = "8")]
    operations: Vec<Operation>,
}

/// Images, and the payload that makes one of the other.
pub struct LongPatch {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub payload: Vec<u8>,
}

impl LongPatch {
    pub fn new() -> Self {
        let (old, inserted) = (noise(1), noise(2));
        let (kept, inserted) = (&old[..ADDED], &inserted[..LEN - ADDED]);
        let kept: Vec<u8> = kept.iter().map(|byte| byte.wrapping_add(1)).collect();
        let (kept, plain) = (kept.split_at(ADDED / 2), &inserted[INSERTED..]);
        let halves = inserted[..INSERTED].split_at(INSERTED / 2);
        let new = [kept.0, halves.0, kept.1, halves.1, plain].concat();
        let patch = patch(&inserted[..INSERTED]);
        let mut data: Vec<&[u8]> = vec![&patch];
        data.extend(new[ADDED + INSERTED..].chunks(WHOLE));
        let payload = signed(operations(&data), [&old, &new], &data.concat());
        Self { old, new, payload }
    }
}

/// An image of which no two chunks are equal.
fn noise(seed: u64) -> Vec<u8> {
    let mut chunk: Vec<u8> = (0..MIB)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    let mut image = Vec::with_capacity(LEN);
    for index in 0..(LEN / MIB) as u64 {
        chunk[..8].copy_from_slice(&(index << 8 | seed).to_le_bytes());
        image.extend_from_slice(&chunk);
    }
    image
}

/// Adds 1 to what it keeps of the old image, and inserts the rest, in two steps each.
fn patch(inserted: &[u8]) -> Vec<u8> {
    let step = [ADDED / 2, INSERTED / 2, 0];
    let control: Vec<u8> = [step, step]
        .iter()
        .flatten()
        .flat_map(|count| (*count as u64).to_le_bytes())
        .collect();
    let (control, diff) = (bzip2(&control), bzip2(&vec![1; ADDED]));
    let lengths = [control.len(), diff.len(), ADDED + INSERTED].map(|len| (len as u64).to_le_bytes());
    [
        b"BSDF2\x01\x01\x00",
        &lengths.concat()[..],
        &control,
        &diff,
        inserted,
    ]
    .concat()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    fixtures::filter("bzip2", ["-c".as_ref()], bytes)
}

fn operations(data: &[&[u8]]) -> Vec<Operation> {
    let (mut at, mut offset) = (0, 0);
    let operation = |(index, data): (usize, &&[u8])| {
        let is_patch = index == 0;
        let len = if is_patch { ADDED + INSERTED } else { WHOLE };
        let operation = Operation {
            kind: Some(if is_patch { BROTLI_BSDIFF } else { REPLACE }),
            data_offset: Some(offset),
            data_length: Some(u32::try_from(data.len()).unwrap()),
            source: if is_patch { vec![extent(0, ADDED)] } else { vec![] },
            destination: vec![extent(at, len)],
            sha256: Some(Sha256Digest::of(data).as_bytes().to_vec()),
        };
        at += len;
        offset += u32::try_from(data.len()).unwrap();
        operation
    };
    data.iter().enumerate().map(operation).collect()
}

fn extent(at: usize, len: usize) -> Extent {
    Extent {
        start: Some((at / BLOCK) as u64),
        blocks: Some((len / BLOCK) as u64),
    }
}

fn info(image: &[u8]) -> Info {
    Info {
        size: Some(image.len() as u64),
        hash: Some(Sha256Digest::of(image).as_bytes().to_vec()),
    }
}

fn signed(operations: Vec<Operation>, [old, new]: [&[u8]; 2], data: &[u8]) -> Vec<u8> {
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let len = blob(vec![0; signer.signature_len()]).len();
    let manifest = Manifest {
        block_size: Some(4096),
        signatures_offset: Some(data.len() as u64),
        signatures_size: Some(len as u64),
        minor_version: Some(4),
        partitions: vec![Partition {
            name: Some("usr".to_owned()),
            old: Some(info(old)),
            new: Some(info(new)),
            operations,
        }],
    }
    .encode_to_vec();
    let mut payload = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
    payload.extend((manifest.len() as u64).to_be_bytes());
    payload.extend(u32::try_from(len).unwrap().to_be_bytes());
    payload.extend(manifest);
    let sign = |message: &[u8]| blob(signer.sign(&Sha256Digest::of(message)).unwrap());
    let (metadata, all) = (sign(&payload), sign(&[&payload, data].concat()));
    [&payload, &metadata[..], data, &all].concat()
}
