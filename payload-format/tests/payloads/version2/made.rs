//! Payloads of major version 2, put together field by field.

use std::io::Write as _;

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};

use crate::fixture;
use crate::handmade::{BLOCK, Extent, bzip2, range};
use crate::message::Message;

pub(crate) const REPLACE: u64 = 0;
pub(crate) const REPLACE_BZ: u64 = 1;
pub(crate) const SOURCE_COPY: u64 = 4;
pub(crate) const SOURCE_BSDIFF: u64 = 5;
pub(crate) const ZERO: u64 = 6;
pub(crate) const DISCARD: u64 = 7;
pub(crate) const REPLACE_XZ: u64 = 8;
pub(crate) const BROTLI_BSDIFF: u64 = 10;
pub(crate) const REPLACE_ZSTD: u64 = 14;

#[derive(Debug, Clone, Default)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) source: Vec<Extent>,
    pub(crate) source_sha256: Option<Sha256Digest>,
    pub(crate) destination: Vec<Extent>,
    /// Bytes of a patch's result, unless they fill all blocks.
    pub(crate) result_len: Option<u64>,
}

impl Operation {
    fn message(&self, offset: u64) -> Message {
        let mut message = Message::default().number(1, self.number);
        if !self.data.is_empty() {
            message = message.number(2, offset).number(3, self.data.len() as u64);
            message = message.bytes(8, Sha256Digest::of(&self.data).as_bytes());
        }
        if let Some(len) = self.result_len {
            message = message.number(7, len);
        }
        if let Some(hash) = &self.source_sha256 {
            message = message.bytes(9, hash.as_bytes());
        }
        for extent in &self.source {
            message = message.bytes(4, &range(*extent));
        }
        for extent in &self.destination {
            message = message.bytes(6, &range(*extent));
        }
        message
    }
}

/// One partition named `usr`, unless changed.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) name: &'static str,
    pub(crate) minor: u64,
    pub(crate) operations: Vec<Operation>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Vec<u8>,
    /// Further fields of the partition.
    pub(crate) more: Message,
}

impl Payload {
    pub(crate) fn new(operations: Vec<Operation>, old: Option<Vec<u8>>, new: Vec<u8>) -> Self {
        let minor = if old.is_some() { 4 } else { 0 };
        Self {
            name: "usr",
            minor,
            operations,
            old,
            new,
            more: Message::default(),
        }
    }

    fn manifest(&self, signatures_len: u64) -> (Vec<u8>, Vec<u8>) {
        let mut partition = Message::default().bytes(1, self.name.as_bytes());
        if let Some(old) = &self.old {
            partition = partition.bytes(6, &info(old));
        }
        partition = partition.bytes(7, &info(&self.new));
        let mut data = Vec::new();
        for operation in &self.operations {
            partition = partition.bytes(8, &operation.message(data.len() as u64).0);
            data.extend_from_slice(&operation.data);
        }
        partition.0.extend_from_slice(&self.more.0);
        let mut manifest = Message::default().number(3, BLOCK);
        if signatures_len > 0 {
            manifest = manifest.number(4, data.len() as u64).number(5, signatures_len);
        }
        // 14, a time stamp, is one of the fields that mean nothing here.
        let manifest = manifest.number(12, self.minor).bytes(13, &partition.0);
        (manifest.number(14, 1_700_000_000).0, data)
    }

    pub(crate) fn unsigned(&self) -> Vec<u8> {
        let (manifest, data) = self.manifest(0);
        [header(&manifest, 0), manifest, data].concat()
    }

    pub(crate) fn signed(&self) -> Vec<u8> {
        let len = blob(&[0; 256]).len();
        let (manifest, data) = self.manifest(len as u64);
        let metadata = [header(&manifest, u32::try_from(len).unwrap()), manifest].concat();
        let metadata_signatures = sign(&metadata);
        let signatures = sign(&[&metadata[..], &data].concat());
        [metadata, metadata_signatures, data, signatures].concat()
    }
}

fn header(manifest: &[u8], signatures_len: u32) -> Vec<u8> {
    let mut header = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
    header.extend((manifest.len() as u64).to_be_bytes());
    header.extend(signatures_len.to_be_bytes());
    header
}

fn sign(message: &[u8]) -> Vec<u8> {
    let key = RsaSigner::from_pem(&fixture::text("test-key.pem")).unwrap();
    blob(&key.sign(&Sha256Digest::of(message)).unwrap())
}

/// As other generators make them: no version, padded, and the length without padding.
fn blob(signature: &[u8]) -> Vec<u8> {
    let mut entry = Message::default().bytes(2, &[signature, &[0; 3]].concat());
    entry.0.push(3 << 3 | 5);
    entry
        .0
        .extend(u32::try_from(signature.len()).unwrap().to_le_bytes());
    Message::default().bytes(1, &entry.0).0
}

fn info(image: &[u8]) -> Vec<u8> {
    let sha256 = Sha256Digest::of(image);
    Message::default()
        .number(1, image.len() as u64)
        .bytes(2, sha256.as_bytes())
        .0
}

// Quick to set up: properties make thousands of these.

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 2, 16);
    encoder.write_all(bytes).unwrap();
    encoder.into_inner()
}

/// A part of a patch, compressed as this number says.
pub(crate) fn pack(bytes: &[u8], packing: u8) -> Vec<u8> {
    match packing {
        0 => bytes.to_vec(),
        1 => bzip2(bytes),
        2 => brotli(bytes),
        _ => panic!("packing {packing}"),
    }
}

/// A patch that adds `added` to each byte of a source of `len` bytes, its parts compressed as `packings` say.
pub(crate) fn patch(len: usize, added: u8, magic: &[u8], packings: [u8; 3]) -> Vec<u8> {
    let control = [(len as u64).to_le_bytes(), [0; 8], [0; 8]].concat();
    let control = pack(&control, packings[0]);
    let diff = pack(&vec![added; len], packings[1]);
    let lengths = [control.len(), diff.len(), len].map(|len| (len as u64).to_le_bytes());
    [magic, &lengths.concat(), &control, &diff, &pack(b"", packings[2])].concat()
}
