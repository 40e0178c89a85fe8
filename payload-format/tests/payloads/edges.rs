//! Operations at the edges: holes, ends within a block, data that is too short or too long.

use std::error::Error;
use std::sync::Arc;

use payload_format::{Applier, ApplyError, Event, ImageKind, Limits, Manifest, OpId, ReadBlocks, Reader};

use crate::handmade::{self, BLOCK, HOLE, Kind, Operation};
use crate::memory::Memory;

const LEN: usize = 512;

fn read(payload: &[u8]) -> (Arc<Manifest>, Vec<(OpId, Vec<u8>)>) {
    let mut reader = Reader::new(Limits::for_slot(4096 * BLOCK));
    let (mut input, mut manifest, mut operations) = (payload, None, Vec::new());
    while let Some(event) = reader.read(&mut input).unwrap() {
        match event {
            Event::Metadata { manifest: read, .. } => manifest = Some(read),
            Event::Operation { op, data } => operations.push((op, data)),
            other => panic!("{other:?}"),
        }
    }
    (manifest.unwrap(), operations)
}

/// The slot after these operations, which began as 0xa5.
fn apply(operations: &[Operation], old: Option<&[u8]>, new_len: u64) -> Result<Vec<u8>, ApplyError> {
    let payload = handmade::payload(operations, old.map(|old| old.len() as u64), new_len);
    let (manifest, operations) = read(&payload);
    let slot = Memory::garbage(64 * BLOCK);
    let old = old.map(|old| Memory::new(old.to_vec()) as Arc<dyn ReadBlocks>);
    let target = Arc::clone(&slot);
    let applier = Applier::new(manifest, ImageKind::Slot, old, target)?;
    operations
        .iter()
        .try_for_each(|(op, data)| applier.apply(*op, data))?;
    Ok(slot.bytes())
}

fn one(kind: Kind, destination: &[(u64, u64)]) -> Operation {
    Operation {
        kind,
        destination: destination.to_vec(),
    }
}

fn text(error: &ApplyError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

#[test]
fn a_result_that_ends_within_a_block_is_padded_with_zeros() {
    for kind in [
        Kind::Replace(vec![1; 700]),
        Kind::ReplaceBz(handmade::bzip2(&[1; 700])),
    ] {
        let slot = apply(&[one(kind, &[(0, 2)])], None, 700).unwrap();
        assert!(slot[..700].iter().all(|byte| *byte == 1));
        assert!(slot[700..2 * LEN].iter().all(|byte| *byte == 0));
        assert!(slot[2 * LEN..].iter().all(|byte| *byte == 0xa5));
    }
}

#[test]
fn blocks_past_the_image_may_stay_as_they_are() {
    let slot = apply(&[one(Kind::Replace(vec![1; 700]), &[(0, 9)])], None, 700).unwrap();
    assert!(slot[700..2 * LEN].iter().all(|byte| *byte == 0));
    assert!(slot[2 * LEN..].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn blocks_of_the_image_may_not() {
    for kind in [
        Kind::Replace(vec![1; 700]),
        Kind::ReplaceBz(handmade::bzip2(&[1; 700])),
    ] {
        let error = apply(&[one(kind, &[(0, 3)])], None, 3 * BLOCK - 1).unwrap_err();
        let expected = "operation 0 failed: its result has 700 bytes and leaves the last of its blocks unwritten; 1536 are needed";
        assert_eq!(text(&error), expected);
    }
}

#[test]
fn a_result_longer_than_its_blocks_is_refused() {
    let kind = Kind::ReplaceBz(handmade::bzip2(&[1; LEN + 1]));
    let error = apply(&[one(kind, &[(0, 1)])], None, BLOCK).unwrap_err();
    assert_eq!(
        text(&error),
        "operation 0 failed: its result is longer than its 512 bytes of blocks"
    );
}

#[test]
fn a_bomb_is_refused_at_its_first_byte_too_many() {
    let kind = Kind::ReplaceBz(handmade::bzip2(&vec![0; 100 << 20]));
    let error = apply(&[one(kind, &[(0, 1)])], None, BLOCK).unwrap_err();
    assert_eq!(
        text(&error),
        "operation 0 failed: its result is longer than its 512 bytes of blocks"
    );
}

#[test]
fn bytes_after_the_compressed_stream_are_refused() {
    let data = [handmade::bzip2(&[1; LEN]), vec![0; 3]].concat();
    let error = apply(&[one(Kind::ReplaceBz(data), &[(0, 1)])], None, BLOCK).unwrap_err();
    assert_eq!(
        text(&error),
        "operation 0 failed: 3 bytes follow its bzip2 stream"
    );
}

#[test]
fn a_compressed_stream_that_is_cut_off_is_refused() {
    let mut data = handmade::bzip2(&[1; LEN]);
    data.pop();
    let error = apply(&[one(Kind::ReplaceBz(data), &[(0, 1)])], None, BLOCK).unwrap_err();
    assert_eq!(text(&error), "operation 0 failed: its bzip2 stream is cut off");
}

#[test]
fn a_randomised_bzip2_block_is_read_as_libbz2_reads_it() {
    let mut data = handmade::bzip2(&[1; LEN]);
    // The flag behind a block's CRC. What it asks for begins with the block's 618th byte.
    data[14] |= 0x80;
    let slot = apply(&[one(Kind::ReplaceBz(data), &[(0, 1)])], None, BLOCK).unwrap();
    assert_eq!(slot[..LEN], [1; LEN]);
}

#[test]
fn data_that_is_not_compressed_is_refused() {
    let error = apply(&[one(Kind::ReplaceBz(vec![1; 99]), &[(0, 1)])], None, BLOCK).unwrap_err();
    assert_eq!(
        text(&error),
        "operation 0 failed: its data is no intact bzip2 stream"
    );
}

#[test]
fn holes_read_as_zeros_and_are_skipped_when_written() {
    let moving = one(Kind::Move(vec![(HOLE, 1), (1, 2)]), &[(5, 1), (HOLE, 1), (6, 1)]);
    let old: Vec<u8> = (1..=4).flat_map(|block| [block; LEN]).collect();
    let slot = apply(&[moving], Some(&old), 4 * BLOCK).unwrap();
    assert_eq!(slot[5 * LEN..6 * LEN], [0; LEN]);
    assert_eq!(slot[6 * LEN..7 * LEN], [3; LEN]);
    assert!(
        slot[..5 * LEN]
            .iter()
            .chain(&slot[7 * LEN..])
            .all(|byte| *byte == 0xa5)
    );
}

#[test]
fn a_long_move_onto_its_own_source_reads_all_before_it_writes() {
    const BLOCKS: u64 = 3000;
    let content: Vec<u8> = (0..BLOCKS)
        .flat_map(|block| [block.to_le_bytes()[0]; LEN])
        .collect();
    let fill = one(Kind::Replace(content.clone()), &[(0, BLOCKS)]);
    let shift = one(Kind::Move(vec![(0, BLOCKS)]), &[(1, BLOCKS)]);
    let len = (BLOCKS + 1) * BLOCK;
    let payload = handmade::payload(&[fill, shift], Some(len), len);
    let (manifest, operations) = read(&payload);
    let slot = Memory::garbage(len);
    let old: Arc<dyn ReadBlocks> = Memory::new(Vec::new());
    let target = Arc::clone(&slot);
    let applier = Applier::new(manifest, ImageKind::Slot, Some(old), target).unwrap();
    for (op, data) in operations {
        applier.apply(op, &data).unwrap();
    }
    assert!(slot.bytes()[LEN..] == content);
}

#[test]
fn what_an_old_file_lacks_of_its_last_block_reads_as_zeros() {
    let slot = apply(
        &[one(Kind::Move(vec![(0, 1)]), &[(0, 1)])],
        Some(&[7; 100]),
        BLOCK,
    )
    .unwrap();
    assert!(slot[..100].iter().all(|byte| *byte == 7));
    assert!(slot[100..LEN].iter().all(|byte| *byte == 0));
}

#[test]
fn a_patch_for_another_length_is_refused() {
    let patch = handmade::patch(100, 1);
    let kind = Kind::Bsdiff {
        source: vec![(0, 1)],
        source_len: 100,
        result_len: 101,
        patch,
    };
    let error = apply(&[one(kind, &[(0, 1)])], Some(&[7; 100]), BLOCK).unwrap_err();
    let inner = error.source().unwrap().source().unwrap().to_string();
    assert_eq!(inner, "its result has 100 bytes instead of 101");
}

#[test]
fn a_delta_without_an_old_image_is_refused() {
    let moving = one(Kind::Move(vec![(0, 1)]), &[(1, 1)]);
    let (manifest, _) = read(&handmade::payload(&[moving], Some(BLOCK), BLOCK));
    let applier = Applier::new(manifest, ImageKind::Slot, None, Memory::garbage(BLOCK));
    assert!(matches!(
        applier.err().unwrap(),
        ApplyError::NoSource(ImageKind::Slot)
    ));
}

#[test]
fn a_write_that_fails_names_its_place() {
    let (manifest, operations) = read(&handmade::payload(
        &[one(Kind::Replace(vec![1; 4 * LEN]), &[(0, 4)])],
        None,
        4 * BLOCK,
    ));
    let applier = Applier::new(manifest, ImageKind::Slot, None, Memory::garbage(2 * BLOCK)).unwrap();
    let error = applier.apply(OpId::FIRST, &operations[0].1).unwrap_err();
    assert_eq!(
        text(&error),
        "operation 0 failed: can't write the target at byte 0"
    );
}
