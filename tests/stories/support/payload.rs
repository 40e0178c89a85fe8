//! Large payloads, written in no time and without holding them in memory: `REPLACE` for the most
//! part, some `REPLACE_BZ`, and one operation that has to be streamed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message;
use ring::digest::{Context, SHA256, digest};

use test_support::fixtures;

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
pub(super) struct Operation {
    #[prost(uint32, optional, tag = "1")]
    pub(super) kind: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) data_offset: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) data_length: Option<u32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) source: Vec<Extent>,
    #[prost(message, repeated, tag = "6")]
    pub(super) destination: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(super) sha256: Option<Vec<u8>>,
}

#[derive(Message)]
pub(super) struct Extent {
    #[prost(uint64, optional, tag = "1")]
    pub(super) start: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) blocks: Option<u64>,
}

#[derive(Message)]
pub(super) struct Info {
    #[prost(uint64, optional, tag = "1")]
    pub(super) size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) hash: Option<Vec<u8>>,
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

/// Every so many chunks one is compressed. All those are the same, so that this takes no time.
const COMPRESSED: usize = 8;

/// One operation has so many chunks: more than anybody should hold in memory.
const LONG: std::ops::Range<usize> = 64..96;

/// What an operation writes.
struct Part {
    chunks: std::ops::Range<usize>,
    is_compressed: bool,
}

fn parts(chunks: usize) -> Vec<Part> {
    let part = |first: usize, chunks| Part {
        chunks: first..first + chunks,
        is_compressed: chunks == 1 && is_plain(first),
    };
    let single = |range: std::ops::Range<usize>| range.map(|first| part(first, 1)).collect::<Vec<_>>();
    if chunks < LONG.end {
        return single(0..chunks);
    }
    let long = part(LONG.start, LONG.len());
    [single(0..LONG.start), vec![long], single(LONG.end..chunks)]
        .into_iter()
        .flatten()
        .collect()
}

const fn is_plain(chunk: usize) -> bool {
    chunk % COMPRESSED == COMPRESSED - 1
}

/// The image, chunk by chunk.
struct Content {
    plain: Vec<u8>,
    packed: Vec<u8>,
    stamped: Vec<u8>,
}

impl Content {
    fn new() -> Self {
        let plain: Vec<u8> = (0..CHUNK)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
            .collect();
        Self {
            packed: fixtures::filter("bzip2", ["-c".as_ref()], &plain),
            stamped: plain.clone(),
            plain,
        }
    }

    /// No two are equal but the plain ones.
    fn chunk(&mut self, index: usize) -> &[u8] {
        if is_plain(index) {
            return &self.plain;
        }
        self.stamped[..8].copy_from_slice(&(index as u64).to_le_bytes());
        &self.stamped
    }

    /// What the payload holds of a part.
    fn put(&mut self, part: &Part, mut put: impl FnMut(&[u8])) {
        if part.is_compressed {
            return put(&self.packed);
        }
        for index in part.chunks.clone() {
            put(self.chunk(index));
        }
    }
}

/// Writes a payload of the image at `image` and a kernel of the fixtures, signed with the key that
/// nodes trust.
pub fn signed(image: &Path, kernel: &str, payload: &Path) {
    let made = Command::new(env!("CARGO_BIN_EXE_update_payload"))
        .arg("generate")
        .arg("--new-image")
        .arg(image)
        .arg("--new-kernel")
        .arg(fixtures::payload(kernel))
        .arg("--private-key")
        .arg(fixtures::payload("test-key.pem"))
        .arg("--out")
        .arg(payload)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Writes a signed payload of an image of `chunks` MiB; gives the image's SHA-256.
pub fn large(path: &Path, chunks: usize) -> [u8; 32] {
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (mut content, parts) = (Content::new(), parts(chunks));
    let mut image = Context::new(&SHA256);
    (0..chunks).for_each(|index| image.update(content.chunk(index)));
    let image: [u8; 32] = image.finish().as_ref().try_into().unwrap();
    let mut operations = Vec::new();
    let mut data_len = 0;
    for part in &parts {
        let operation = operation(part, data_len, &mut content);
        data_len += operation.data_length.unwrap();
        operations.push(operation);
    }
    let manifest = Manifest {
        operations,
        block_size: Some(4096),
        signatures_offset: Some(data_len.into()),
        signatures_size: Some(blob(vec![0; signer.signature_len()]).len() as u64),
        new_partition: Some(Info {
            size: Some((chunks * CHUNK) as u64),
            hash: Some(image.to_vec()),
        }),
    }
    .encode_to_vec();

    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut sum = Context::new(&SHA256);
    let mut put = |part: &[u8]| {
        sum.update(part);
        file.write_all(part).unwrap();
    };
    put(b"CrAU");
    put(&1_u64.to_be_bytes());
    put(&(manifest.len() as u64).to_be_bytes());
    put(&manifest);
    for part in &parts {
        content.put(part, &mut put);
    }
    let sum: [u8; 32] = sum.finish().as_ref().try_into().unwrap();
    let signature = signer.sign(&Sha256Digest::from(sum)).unwrap();
    file.write_all(&blob(signature)).unwrap();
    file.flush().unwrap();
    image
}

fn operation(part: &Part, data_offset: u32, content: &mut Content) -> Operation {
    let (mut sha256, mut len) = (Context::new(&SHA256), 0);
    content.put(part, |bytes| {
        sha256.update(bytes);
        len += bytes.len();
    });
    let blocks = CHUNK / BLOCK;
    Operation {
        kind: Some(part.is_compressed.into()),
        data_offset: Some(data_offset),
        data_length: Some(u32::try_from(len).unwrap()),
        source: vec![],
        destination: vec![Extent {
            start: Some((part.chunks.start * blocks) as u64),
            blocks: Some((part.chunks.len() * blocks) as u64),
        }],
        sha256: Some(sha256.finish().as_ref().to_vec()),
    }
}

/// A payload with the longest manifest that readers take: for a slot of 256 MiB in blocks of 512
/// bytes, all of them written one by one, out of order. Its first operation's data is not what the
/// manifest says.
pub fn crowded() -> Vec<u8> {
    const OPERATIONS: u32 = 1 << 16;
    const EXTENTS: u64 = 8;
    let sha256 = digest(&SHA256, &[1]).as_ref().to_vec();
    let extent = |start| Extent {
        start: Some(start),
        blocks: Some(1),
    };
    let operation = |index: u32| Operation {
        kind: Some(1),
        data_offset: Some(index),
        data_length: Some(1),
        source: vec![],
        destination: (0..EXTENTS)
            .map(|nth| extent(u64::from(index) + nth * u64::from(OPERATIONS)))
            .collect(),
        sha256: Some(sha256.clone()),
    };
    let signatures = blob(vec![0; 256]);
    let manifest = Manifest {
        operations: (0..OPERATIONS).map(operation).collect(),
        block_size: Some(512),
        signatures_offset: Some(OPERATIONS.into()),
        signatures_size: Some(signatures.len() as u64),
        new_partition: Some(Info {
            size: Some(512 * EXTENTS * u64::from(OPERATIONS)),
            hash: Some(sha256.clone()),
        }),
    }
    .encode_to_vec();
    let mut payload = b"CrAU".to_vec();
    payload.extend(1_u64.to_be_bytes());
    payload.extend((manifest.len() as u64).to_be_bytes());
    payload.extend(manifest);
    payload.resize(payload.len() + OPERATIONS as usize, 0);
    payload.extend(signatures);
    payload
}

pub(super) fn blob(signature: Vec<u8>) -> Vec<u8> {
    let signature = Signature {
        version: Some(2),
        data: Some(signature),
    };
    Signatures {
        signatures: vec![signature],
    }
    .encode_to_vec()
}
