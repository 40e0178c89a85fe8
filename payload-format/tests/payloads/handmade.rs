//! Payloads made by hand, field by field, for what the original's generator doesn't make.

use std::io::Write;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use payload_format::Sha256Digest;

use crate::message::Message;

/// Of handmade payloads.
pub(crate) const BLOCK: u64 = 512;

/// Start block of a hole.
pub(crate) const HOLE: u64 = u64::MAX;

/// Start block and count.
pub(crate) type Extent = (u64, u64);

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Replace(Vec<u8>),
    ReplaceBz(Vec<u8>),
    Move(Vec<Extent>),
    Bsdiff {
        source: Vec<Extent>,
        source_len: u64,
        result_len: u64,
        patch: Vec<u8>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) destination: Vec<Extent>,
}

impl Operation {
    fn data(&self) -> &[u8] {
        match &self.kind {
            Kind::Replace(data) | Kind::ReplaceBz(data) | Kind::Bsdiff { patch: data, .. } => data,
            Kind::Move(_) => &[],
        }
    }

    fn message(&self, data_offset: u64) -> Message {
        let (number, source) = match &self.kind {
            Kind::Replace(_) => (0, &[][..]),
            Kind::ReplaceBz(_) => (1, &[][..]),
            Kind::Move(source) => (2, &source[..]),
            Kind::Bsdiff { source, .. } => (3, &source[..]),
        };
        let mut message = Message::default().number(1, number);
        if !self.data().is_empty() {
            message = message.number(2, data_offset).number(3, self.data().len() as u64);
            message = message.bytes(8, Sha256Digest::of(self.data()).as_bytes());
        }
        if let Kind::Bsdiff {
            source_len,
            result_len,
            ..
        } = self.kind
        {
            message = message.number(5, source_len).number(7, result_len);
        }
        let message = source
            .iter()
            .fold(message, |message, extent| message.bytes(4, &range(*extent)));
        self.destination
            .iter()
            .fold(message, |message, extent| message.bytes(6, &range(*extent)))
    }
}

/// An unsigned payload of these operations. The old image's length makes it a delta; hashes of images are
/// not what these tests are about.
pub(crate) fn payload(operations: &[Operation], old_len: Option<u64>, new_len: u64) -> Vec<u8> {
    let mut manifest = Message::default().number(3, BLOCK).bytes(9, &info(new_len));
    if let Some(len) = old_len {
        manifest = manifest.bytes(8, &info(len));
    }
    let mut data = Vec::new();
    for operation in operations {
        manifest = manifest.bytes(1, &operation.message(data.len() as u64).0);
        data.extend_from_slice(operation.data());
    }
    let mut payload = b"CrAU\0\0\0\0\0\0\0\x01".to_vec();
    payload.extend((manifest.0.len() as u64).to_be_bytes());
    [payload, manifest.0, data].concat()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A patch that adds `added` to each byte of the old file, as long as the result.
pub(crate) fn patch(len: u64, added: u8) -> Vec<u8> {
    let control = [len.to_le_bytes(), [0; 8], [0; 8]].concat();
    let diff = vec![added; usize::try_from(len).unwrap()];
    let (control, diff) = (bzip2(&control), bzip2(&diff));
    let lengths = [control.len() as u64, diff.len() as u64, len];
    [
        b"BSDIFF40".to_vec(),
        lengths.map(u64::to_le_bytes).concat(),
        control,
        diff,
        bzip2(b""),
    ]
    .concat()
}

fn info(size: u64) -> Vec<u8> {
    Message::default().number(1, size).bytes(2, &[0; 32]).0
}

pub(crate) fn range((start, count): Extent) -> Vec<u8> {
    Message::default().number(1, start).number(2, count).0
}
