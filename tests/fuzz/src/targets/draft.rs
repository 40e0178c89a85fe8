//! Payloads put together by choices of the fuzzer, with the images that they must give.

use payload_format::{MajorVersion, Sha256Digest};

use super::message::Message;
use super::patch::{Steps, pack};
use crate::input::Input;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;
/// Blocks of both images.
pub(crate) const BLOCKS: usize = 12;
/// Bytes of both images.
pub(crate) const LEN: usize = BLOCKS * BLOCK;

/// Start block and count; no start block is a hole.
pub(crate) type Extent = (Option<usize>, usize);

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    number: u64,
    pub(crate) data: Vec<u8>,
    source: Vec<Extent>,
    source_sha256: Option<Sha256Digest>,
    pub(crate) destination: Vec<Extent>,
    lengths: Option<(usize, usize)>,
}

/// A payload of these operations.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) version: MajorVersion,
    pub(crate) operations: Vec<Operation>,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    /// Signatures of the metadata, which only version 2 has, and of all; not real ones.
    pub(crate) signatures: [Vec<u8>; 2],
}

impl Draft {
    /// A delta of any operations of one version, and what a naive reader makes of it: in version 1
    /// each operation reads and writes one copy of the old image, in version 2 it reads the old
    /// image.
    pub(crate) fn any(input: &mut Input<'_>) -> Self {
        let old: Vec<u8> = (0..LEN).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect();
        let version = if input.is_odd() {
            MajorVersion::V1
        } else {
            MajorVersion::V2
        };
        let mut new = old.clone();
        let (mut operations, mut unwritten) = (Vec::new(), vec![true; BLOCKS]);
        for _ in 0..=input.below(8) {
            let source = if version == MajorVersion::V1 { &new } else { &old };
            let (operation, result) = operation(input, version, source);
            place(&mut new, &operation.destination, &result);
            for (start, count) in &operation.destination {
                if let Some(start) = start {
                    unwritten[*start..start + count].fill(false);
                }
            }
            operations.push(operation);
        }
        if version == MajorVersion::V2 {
            let rest: Vec<Extent> = (0..BLOCKS)
                .filter(|&block| unwritten[block])
                .map(|block| (Some(block), 1))
                .collect();
            if !rest.is_empty() {
                let zeros = vec![0; blocks(&rest) * BLOCK];
                place(&mut new, &rest, &zeros);
                operations.push(Operation::new(6, Vec::new(), rest));
            }
        }
        Self {
            version,
            operations,
            old,
            new,
            signatures: [input.list().to_vec(), input.list().to_vec()],
        }
    }

    /// The payload's bytes: header, manifest, data.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let (mut messages, mut data) = (Vec::new(), Vec::new());
        for operation in &self.operations {
            messages.push(operation.message(data.len()));
            data.extend_from_slice(&operation.data);
        }
        let [of_metadata, of_all] = &self.signatures;
        let mut manifest = Message::default().number(3, BLOCK as u64);
        if !of_all.is_empty() {
            manifest = manifest
                .number(4, data.len() as u64)
                .number(5, of_all.len() as u64);
        }
        let images = |message: Message, [old, new]: [u64; 2]| {
            message.bytes(old, &info(&self.old)).bytes(new, &info(&self.new))
        };
        let operations = |message: Message, field| {
            messages
                .iter()
                .fold(message, |message, operation| message.bytes(field, operation))
        };
        let (manifest, of_metadata) = match self.version {
            MajorVersion::V1 => (operations(images(manifest, [8, 9]), 1), &[][..]),
            MajorVersion::V2 => {
                let image = operations(images(Message::default().bytes(1, b"usr"), [6, 7]), 8);
                (manifest.number(12, 4).bytes(13, &image.0), &of_metadata[..])
            }
        };
        let manifest = manifest.0;
        let mut bytes = b"CrAU".to_vec();
        bytes.extend(self.version.number().to_be_bytes());
        bytes.extend((manifest.len() as u64).to_be_bytes());
        if self.version == MajorVersion::V2 {
            bytes.extend(u32::try_from(of_metadata.len()).unwrap_or(0).to_be_bytes());
        }
        [&bytes, &manifest, of_metadata, &data, of_all].concat()
    }
}

impl Operation {
    pub(crate) const fn new(number: u64, data: Vec<u8>, destination: Vec<Extent>) -> Self {
        Self {
            number,
            data,
            source: Vec::new(),
            source_sha256: None,
            destination,
            lengths: None,
        }
    }

    /// Reading the first blocks of the old image, for a result of so many bytes.
    pub(crate) fn patch(number: u64, data: Vec<u8>, destination: Vec<Extent>, result: usize) -> Self {
        Self {
            source: vec![(Some(0), BLOCKS)],
            lengths: Some((LEN, result)),
            ..Self::new(number, data, destination)
        }
    }

    fn message(&self, offset: usize) -> Vec<u8> {
        let mut message = Message::default().number(1, self.number);
        if !self.data.is_empty() {
            message = message
                .number(2, offset as u64)
                .number(3, self.data.len() as u64)
                .bytes(8, Sha256Digest::of(&self.data).as_bytes());
        }
        if let Some((source, result)) = self.lengths {
            message = message.number(5, source as u64).number(7, result as u64);
        }
        if let Some(hash) = &self.source_sha256 {
            message = message.bytes(9, hash.as_bytes());
        }
        let extents = |message: Message, field, extents: &[Extent]| {
            extents
                .iter()
                .fold(message, |message, extent| message.bytes(field, &range(*extent)))
        };
        extents(extents(message, 4, &self.source), 6, &self.destination).0
    }
}

/// An operation on `from`, and its result.
fn operation(input: &mut Input<'_>, version: MajorVersion, from: &[u8]) -> (Operation, Vec<u8>) {
    let destination = extents(input, version);
    let len = blocks(&destination) * BLOCK;
    let numbers: &[u64] = match version {
        MajorVersion::V1 => &[0, 1, 2, 3],
        MajorVersion::V2 => &[0, 1, 4, 5, 6, 7, 8, 10, 14],
    };
    let number = *input.one_of(numbers);
    let new = |data, result| (Operation::new(number, data, destination.clone()), result);
    match number {
        6 | 7 => new(Vec::new(), vec![0; len]),
        2 | 4 => {
            let source = source(input, len / BLOCK);
            let result = gather(from, &source);
            let source_sha256 =
                (version == MajorVersion::V2 && input.is_odd()).then(|| Sha256Digest::of(&result));
            let (operation, result) = new(Vec::new(), result);
            let operation = Operation {
                source,
                source_sha256,
                ..operation
            };
            (operation, result)
        }
        3 | 5 | 10 => {
            let len = len - input.below(BLOCK);
            let count = 1 + input.below(BLOCKS);
            let source = source(input, count);
            let source_len = count * BLOCK - input.below(BLOCK);
            let old = &gather(from, &source)[..source_len];
            let steps = Steps::of_length(input, len);
            let packings = if number == 10 {
                std::array::from_fn(|_| input.byte() % 3)
            } else {
                [1; 3]
            };
            let data = steps.patch(number == 10, packings, len);
            let (operation, result) = new(data, steps.naive(old).expect("steps of this length"));
            let operation = Operation {
                source,
                lengths: Some((source_len, len)),
                ..operation
            };
            (operation, result)
        }
        _ => {
            let result = input.pattern(len);
            let data = match number {
                1 => pack(&result, 1),
                8 => pack(&result, 3),
                14 => pack(&result, 4),
                _ => result.clone(),
            };
            new(data, result)
        }
    }
}

fn extents(input: &mut Input<'_>, version: MajorVersion) -> Vec<Extent> {
    let one = |input: &mut Input<'_>| -> Extent {
        let start = input.below(BLOCKS);
        let count = 1 + input.below(4.min(BLOCKS - start));
        let is_hole = version == MajorVersion::V1 && input.byte() > 240;
        (if is_hole { None } else { Some(start) }, count)
    };
    (0..=input.below(3)).map(|_| one(input)).collect()
}

fn source(input: &mut Input<'_>, count: usize) -> Vec<Extent> {
    let mut left = count;
    let mut found = Vec::new();
    while left > 0 {
        let start = input.below(BLOCKS);
        let count = left.min(BLOCKS - start).min(1 + input.below(6));
        found.push((Some(start), count));
        left -= count;
    }
    found
}

pub(crate) fn blocks(extents: &[Extent]) -> usize {
    extents.iter().map(|(_, count)| count).sum()
}

fn gather(image: &[u8], extents: &[Extent]) -> Vec<u8> {
    let piece = |(start, count): &Extent| {
        start.map_or(vec![0; count * BLOCK], |start| {
            image[start * BLOCK..(start + count) * BLOCK].to_vec()
        })
    };
    extents.iter().flat_map(piece).collect()
}

/// Writes a result and zeros to the end of its last block.
fn place(image: &mut [u8], extents: &[Extent], result: &[u8]) {
    let mut result = result.iter().copied().chain(std::iter::repeat(0));
    for (start, count) in extents {
        for at in 0..count * BLOCK {
            let byte = result.next().unwrap_or(0);
            if let Some(start) = start {
                image[start * BLOCK + at] = byte;
            }
        }
    }
}

fn info(image: &[u8]) -> Vec<u8> {
    let message = Message::default().number(1, image.len() as u64);
    message.bytes(2, Sha256Digest::of(image).as_bytes()).0
}

fn range((start, count): Extent) -> Vec<u8> {
    let start = start.map_or(u64::MAX, |start| start as u64);
    Message::default().number(1, start).number(2, count as u64).0
}
