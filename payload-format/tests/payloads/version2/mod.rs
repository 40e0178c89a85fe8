//! Payloads of major version 2: every kind of operation, whatever the pieces, wherever it is cut.

mod deltas;
mod made;
mod patches;
mod refusals;
mod streams;

use std::sync::Arc;

use payload_format::{
    Applier, Checkpoint, Event, Finished, ImageKind, Limits, MajorVersion, Manifest, Metadata, PublicKeys,
    ReadBlocks, Reader, Replay, Sha256Digest, SignatureError, Streamed,
};
use proptest::prelude::*;

use crate::fixture;
use crate::handmade::{BLOCK, Extent, bzip2};
use crate::memory::Memory;
use made::{Operation, Payload};

/// Of old and new images.
const BLOCKS: u64 = 24;
const LEN: u64 = BLOCKS * BLOCK;

fn old_image() -> Vec<u8> {
    (0..LEN).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect()
}

fn gather(image: &[u8], extents: &[Extent]) -> Vec<u8> {
    let piece = |(start, count): &Extent| {
        let at = usize::try_from(start * BLOCK).unwrap();
        image[at..at + usize::try_from(count * BLOCK).unwrap()].to_vec()
    };
    extents.iter().flat_map(piece).collect()
}

/// An operation of the kind that `kind` chooses to these blocks, and what it makes of them.
fn operation(kind: u8, byte: u8, blocks: &[u64]) -> (Operation, Vec<u8>) {
    let old = old_image();
    let destination: Vec<Extent> = blocks.iter().map(|block| (*block, 1)).collect();
    let source = blocks.iter().map(|block| ((block + u64::from(byte)) % BLOCKS, 1));
    let source: Vec<Extent> = source.collect();
    let read = gather(&old, &source);
    let (len, added) = (
        read.len(),
        read.iter().map(|from| from.wrapping_add(byte)).collect(),
    );
    let filled = vec![byte; len];
    let (number, data, result) = match kind {
        0 => (made::REPLACE, filled.clone(), filled),
        1 => (made::REPLACE_BZ, bzip2(&filled), filled),
        2 => (made::REPLACE_XZ, made::xz(&read), read.clone()),
        3 => (made::REPLACE_ZSTD, made::zstd(&read), read.clone()),
        4 => (made::ZERO, Vec::new(), vec![0; len]),
        5 => (made::DISCARD, Vec::new(), vec![0; len]),
        6 => (made::SOURCE_COPY, Vec::new(), read.clone()),
        7 => (
            made::SOURCE_BSDIFF,
            made::patch(len, byte, b"BSDIFF40", [1; 3]),
            added,
        ),
        8 => {
            let packings = [byte % 3, byte / 3 % 3, 2];
            let magic = [b"BSDF2", &packings[..]].concat();
            (
                made::BROTLI_BSDIFF,
                made::patch(len, byte, &magic, packings),
                added,
            )
        }
        _ => panic!("kind {kind}"),
    };
    let reads = matches!(
        number,
        made::SOURCE_COPY | made::SOURCE_BSDIFF | made::BROTLI_BSDIFF
    );
    let made = Operation {
        number,
        data,
        source_sha256: (reads && !byte.is_multiple_of(4)).then(|| Sha256Digest::of(&read)),
        source: if reads { source } else { Vec::new() },
        destination,
        result_len: None,
    };
    (made, result)
}

prop_compose! {
    /// Any delta between two images.
    fn delta()(
        order in Just((0..BLOCKS).collect::<Vec<_>>()).prop_shuffle(),
        kinds in prop::collection::vec((0_u8..9, any::<u8>(), 1_usize..5), 24),
    ) -> Payload {
        let (mut new, mut operations, mut left) = (vec![0; usize::try_from(LEN).unwrap()], Vec::new(), &order[..]);
        for (kind, byte, count) in kinds {
            let (blocks, rest) = left.split_at(count.min(left.len()));
            left = rest;
            if blocks.is_empty() {
                break;
            }
            let (operation, result) = operation(kind, byte, blocks);
            for (block, content) in blocks.iter().zip(result.chunks(usize::try_from(BLOCK).unwrap())) {
                let at = usize::try_from(block * BLOCK).unwrap();
                new[at..at + content.len()].copy_from_slice(content);
            }
            operations.push(operation);
        }
        // Whatever nobody took.
        if !left.is_empty() {
            let (operation, _) = operation(4, 0, left);
            operations.push(operation);
        }
        Payload::new(operations, Some(old_image()), new)
    }
}

/// A slot that is written.
struct Site {
    slot: Arc<Memory>,
    applier: Option<Applier>,
    streamed: Option<Streamed>,
    metadata: Vec<u8>,
}

impl Site {
    fn new(slot: Arc<Memory>) -> Self {
        Self {
            slot,
            applier: None,
            streamed: None,
            metadata: Vec::new(),
        }
    }

    fn begin(&mut self, manifest: &Arc<Manifest>) {
        let old: Arc<dyn ReadBlocks> = Memory::new(old_image());
        let target = Arc::clone(&self.slot);
        let applier = Applier::new(Arc::clone(manifest), ImageKind::Slot, Some(old), target);
        self.applier = Some(applier.unwrap());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Metadata { manifest, bytes, .. } => {
                assert!(manifest.operations().iter().all(|op| op.replay == Replay::Safe));
                self.begin(&manifest);
                self.metadata = bytes;
            }
            Event::Operation { op, data } => self.applier.as_ref().unwrap().apply(op, &data).unwrap(),
            Event::Piece { op, data } => {
                let applier = self.applier.as_ref().unwrap();
                let streamed = self.streamed.get_or_insert_with(|| applier.stream(op).unwrap());
                streamed.write(&data).unwrap();
            }
            Event::PiecesVerified { .. } => self.streamed.take().unwrap().finish().unwrap(),
            Event::Content { .. } => unreachable!("there are operations alone"),
        }
    }

    fn read(&mut self, payload: &[u8], chunk: usize, reader: Reader) -> Finished {
        fixture::read(payload, chunk, reader, |event| self.event(event)).unwrap()
    }
}

fn limits(whole_data: u64) -> Limits {
    Limits {
        whole_data,
        ..Limits::for_slot(LEN)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn becomes_the_new_image_in_any_chunks(
        payload in delta(),
        chunk in prop_oneof![1_usize..40, 400_usize..9000],
        whole_data in prop_oneof![Just(0_u64), 1_u64..2000, Just(1_u64 << 20)],
    ) {
        let mut site = Site::new(Memory::garbage(LEN));
        let bytes = payload.unsigned();
        let finished = site.read(&bytes, chunk, Reader::new(limits(whole_data)));
        prop_assert_eq!(finished.payload_sha256, Sha256Digest::of(&bytes));
        prop_assert_eq!(site.slot.bytes(), payload.new);
    }

    #[test]
    fn resumes_at_any_operation_after_a_cut_at_any_later_one(
        payload in delta(),
        cut in any::<prop::sample::Index>(),
        back in any::<prop::sample::Index>(),
    ) {
        let bytes = payload.signed();
        let whole = fixture::read(&bytes, 4096, Reader::new(limits(0)), |_| {}).unwrap();
        let mut site = Site::new(Memory::garbage(LEN));
        let (mut reader, mut input) = (Reader::new(limits(1 << 20)), &bytes[..]);
        let mut checkpoints = Vec::new();
        for _ in 0..=cut.index(payload.operations.len() + 1) {
            site.event(reader.read(&mut input).unwrap().unwrap());
            checkpoints.push(reader.checkpoint().unwrap());
        }
        let stored = Checkpoint::from_bytes(&back.get(&checkpoints).to_bytes()).unwrap();
        let (reader, manifest) = Reader::resume(limits(1 << 20), &site.metadata, &stored).unwrap();
        let mut resumed = Site::new(Arc::clone(&site.slot));
        resumed.begin(&manifest);
        let rest = &bytes[usize::try_from(stored.offset()).unwrap()..];
        prop_assert_eq!(resumed.read(rest, 100, reader), whole);
        prop_assert_eq!(site.slot.bytes(), payload.new);
    }

    #[test]
    fn hostile_bytes_are_refused_and_no_more(
        payload in delta(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = payload.unsigned();
        bytes[at.index(payload.unsigned().len())] ^= 1 << bit;
        let _ = fixture::read(&bytes, 1000, Reader::new(limits(1 << 20)), |_| {});
    }
}

/// A full payload of one operation.
fn full(number: u64, data: Vec<u8>, new: &[u8]) -> Payload {
    let operation = Operation {
        number,
        data,
        destination: vec![(0, (new.len() as u64).div_ceil(BLOCK))],
        ..Operation::default()
    };
    Payload::new(vec![operation], None, new.to_vec())
}

fn metadata_of(payload: &[u8]) -> Vec<u8> {
    let mut site = Site::new(Memory::garbage(LEN));
    site.read(payload, 4096, Reader::new(limits(1 << 20)));
    site.metadata
}

fn keys(name: &str) -> PublicKeys {
    PublicKeys::from_pems([fixture::text(name)]).unwrap()
}

#[test]
fn both_signatures_are_checked_and_neither_signs_the_other() {
    let new = vec![5; 700];
    let bytes = full(made::REPLACE, new.clone(), &new).signed();
    let finished = fixture::read(&bytes, 100, Reader::new(limits(1 << 20)), |_| {}).unwrap();
    assert_eq!(finished.version, MajorVersion::V2);
    finished.verify(&keys("test-key.pub.pem")).unwrap();
    let error = finished.verify(&keys("other-key.pub.pem")).unwrap_err();
    assert!(matches!(error, SignatureError::Mismatch { keys: 1 }), "{error}");

    let metadata = metadata_of(&bytes);
    let parsed = Metadata::parse(&metadata).unwrap();
    parsed.verify(&keys("test-key.pub.pem")).unwrap();
    let error = parsed.verify(&keys("other-key.pub.pem")).unwrap_err();
    assert!(matches!(error, SignatureError::Mismatch { keys: 1 }), "{error}");
    assert_eq!([parsed.signed(), parsed.signatures()].concat(), metadata);
}

#[test]
fn metadata_that_was_changed_is_refused_by_its_signature() {
    let new = vec![5; 700];
    let mut metadata = metadata_of(&full(made::REPLACE, new.clone(), &new).signed());
    let in_manifest = metadata.iter().position(|byte| *byte == b'u').unwrap();
    metadata[in_manifest] ^= 1;
    let error = Metadata::parse(&metadata)
        .unwrap()
        .verify(&keys("test-key.pub.pem"));
    assert!(
        matches!(error, Err(SignatureError::Mismatch { keys: 1 })),
        "{error:?}"
    );
}

#[test]
fn metadata_without_signatures_is_unsigned() {
    let new = vec![5; 700];
    let metadata = metadata_of(&full(made::REPLACE, new.clone(), &new).unsigned());
    let error = Metadata::parse(&metadata)
        .unwrap()
        .verify(&keys("test-key.pub.pem"));
    assert!(matches!(error, Err(SignatureError::Unsigned)), "{error:?}");
}

#[test]
fn the_offers_metadata_size_is_without_the_signatures() {
    let new = vec![5; 700];
    let bytes = full(made::REPLACE, new.clone(), &new).signed();
    let metadata = metadata_of(&bytes);
    let offered = Metadata::parse(&metadata).unwrap().signed().len() as u64;
    let limits = Limits {
        metadata_size: Some(offered),
        payload_size: Some(bytes.len() as u64),
        ..limits(1 << 20)
    };
    fixture::read(&bytes, 100, Reader::new(limits), |_| {}).unwrap();
}

#[test]
fn a_source_that_is_not_the_right_one_is_refused_before_anything_is_written() {
    for (kind, number) in [
        (6, made::SOURCE_COPY),
        (7, made::SOURCE_BSDIFF),
        (8, made::BROTLI_BSDIFF),
    ] {
        let (mut operation, result) = operation(kind, 3, &(0..BLOCKS).collect::<Vec<_>>());
        assert_eq!(operation.number, number);
        operation.source_sha256 = Some(Sha256Digest::of(b"another source"));
        let data = operation.data.clone();
        let bytes = Payload::new(vec![operation], Some(old_image()), result).unsigned();
        let mut site = Site::new(Memory::garbage(LEN));
        let event = Reader::new(limits(1 << 20)).read(&mut &bytes[..]).unwrap();
        site.event(event.unwrap());
        let error = site.applier.unwrap().apply(payload_format::OpId::FIRST, &data);
        let fault = error.unwrap_err().fault().unwrap().to_string();
        assert!(fault.starts_with("its source has SHA-256"), "{fault}");
        assert_eq!(site.slot.bytes(), Memory::garbage(LEN).bytes());
    }
}
