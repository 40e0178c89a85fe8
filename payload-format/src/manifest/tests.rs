#![allow(clippy::unwrap_used)]

mod bounds;
mod delta;

use super::*;
use crate::operation::{OperationKind, Replay, Run};
use crate::wire::{DeltaArchiveManifest, InstallInfo, InstallOperation, InstallProcedure, WireExtent};
use crate::{BlockRange, Sha256Digest};

const BLOCK: u64 = 4096;
/// Of the slot in these tests.
const BLOCKS: u64 = 64;

fn limits() -> Limits {
    Limits {
        file_len: 8 * BLOCK,
        whole_data: 2 * BLOCK,
        ..Limits::for_slot(BLOCKS * BLOCK)
    }
}

fn info(size: u64) -> InstallInfo {
    InstallInfo {
        size: Some(size),
        hash: Some(vec![7; 32]),
    }
}

fn extent(start: u64, count: u64) -> WireExtent {
    WireExtent {
        start_block: Some(start),
        num_blocks: Some(count),
    }
}

fn replace(offset: u64, len: u64, start: u64, count: u64) -> InstallOperation {
    InstallOperation {
        r#type: Some(wire::REPLACE),
        data_offset: Some(offset),
        data_length: Some(len),
        dst_extents: vec![extent(start, count)],
        data_sha256_hash: Some(vec![1; 32]),
        ..Default::default()
    }
}

/// A full image of four blocks by two operations.
fn full() -> DeltaArchiveManifest {
    DeltaArchiveManifest {
        partition_operations: vec![replace(0, 2 * BLOCK, 0, 2), replace(2 * BLOCK, 2 * BLOCK, 2, 2)],
        new_partition_info: Some(info(4 * BLOCK)),
        ..Default::default()
    }
}

/// An image of four blocks made of these operations and an old image of four blocks.
fn delta(operations: Vec<InstallOperation>) -> DeltaArchiveManifest {
    DeltaArchiveManifest {
        partition_operations: operations,
        old_partition_info: Some(info(4 * BLOCK)),
        new_partition_info: Some(info(4 * BLOCK)),
        ..Default::default()
    }
}

fn parse(wire: &DeltaArchiveManifest) -> Result<Manifest, ManifestError> {
    Manifest::parse(&wire.encode_to_vec(), MajorVersion::V1, &limits())
}

fn refusal(wire: &DeltaArchiveManifest) -> String {
    parse(wire).unwrap_err().to_string()
}

/// What is wrong with a full payload after this change of its operation 1.
fn refusal_of(change: impl FnOnce(&mut InstallOperation)) -> String {
    let mut wire = full();
    change(&mut wire.partition_operations[1]);
    refusal(&wire)
}

#[test]
fn a_full_manifest_is_read_field_by_field() {
    let manifest = parse(&full()).unwrap();
    assert_eq!(manifest.block_size().bytes(), 4096);
    assert_eq!(manifest.data_len(), 4 * BLOCK);
    assert!(!manifest.is_delta());
    assert!(!manifest.is_signed());
    let image = manifest.partition();
    assert_eq!(image.new.size, 4 * BLOCK);
    assert_eq!(image.new.sha256, Sha256Digest::from([7; 32]));
    assert_eq!(manifest.operations_of(image).len(), 2);
    let operation = manifest.operation(OpId::new(1)).unwrap();
    assert_eq!(operation.kind, OperationKind::Replace);
    assert_eq!(operation.data.unwrap().offset, 2 * BLOCK);
    assert_eq!((operation.after, operation.replay), (None, Replay::Safe));
}

#[test]
fn procedures_come_after_the_partition_with_their_own_files() {
    let mut wire = full();
    for (kind, offset) in [(wire::KERNEL, 4 * BLOCK), (wire::PCR_POLICY, 4 * BLOCK + 10)] {
        wire.procedures.push(InstallProcedure {
            r#type: Some(kind),
            operations: vec![replace(offset, 10, 0, 1)],
            new_info: Some(info(10)),
            old_info: None,
        });
    }
    let manifest = parse(&wire).unwrap();
    let kinds: Vec<_> = manifest.images().iter().map(|image| image.kind).collect();
    assert_eq!(kinds, [ImageKind::Slot, ImageKind::Kernel, ImageKind::PcrPolicy]);
    let policy = manifest.image(ImageKind::PcrPolicy).unwrap();
    assert_eq!(policy.operations().collect::<Vec<_>>(), [OpId::new(3)]);
    assert_eq!(manifest.data_len(), 4 * BLOCK + 20);
}

#[test]
fn noop_operations_are_ignored() {
    let mut wire = full();
    wire.noop_operations
        .push(replace(4 * BLOCK, 264, wire::SPARSE_HOLE, 1));
    wire.signatures_offset = Some(4 * BLOCK);
    wire.signatures_size = Some(264);
    let manifest = parse(&wire).unwrap();
    assert_eq!(manifest.operations().len(), 2);
    assert_eq!(manifest.signatures_len(), 264);
}

#[test]
fn an_operation_past_the_end_of_the_slot_is_refused_with_its_block() {
    let text = refusal_of(|operation| operation.dst_extents = vec![extent(63, 2)]);
    assert_eq!(
        text,
        "operation 1 writes block 64, past the end of the slot (64 blocks)"
    );
    let text = refusal_of(|operation| operation.dst_extents = vec![extent(u64::MAX - 1, 2)]);
    assert!(
        text.contains("writes block 18446744073709551614, past the end"),
        "{text}"
    );
}

#[test]
fn the_last_chunk_may_run_past_the_image_but_not_past_the_slot() {
    let mut wire = full();
    wire.new_partition_info = Some(info(3 * BLOCK + 5));
    wire.partition_operations[1].dst_extents = vec![extent(2, BLOCKS - 2)];
    parse(&wire).unwrap();
    wire.partition_operations[1].dst_extents = vec![extent(2, BLOCKS - 1)];
    assert!(refusal(&wire).contains("past the end of the slot"));
}

#[test]
fn operations_that_say_too_little_are_refused() {
    assert!(refusal_of(|operation| operation.r#type = None).ends_with("has no type"));
    assert!(refusal_of(|operation| operation.dst_extents.clear()).ends_with("writes nothing"));
    assert!(refusal_of(|operation| operation.dst_extents[0].num_blocks = None).contains("no blocks"));
    assert!(refusal_of(|operation| operation.data_length = None).ends_with("has no data"));
    assert!(refusal_of(|operation| operation.data_length = Some(0)).ends_with("has no data"));
    assert!(refusal_of(|operation| operation.data_offset = None).ends_with("has no data"));
    assert!(refusal_of(|operation| operation.data_sha256_hash = None).ends_with("has no hash of its data"));
    assert!(refusal_of(|operation| operation.data_sha256_hash = Some(vec![1; 20])).contains("20 bytes"));
}

#[test]
fn an_unknown_operation_type_is_refused_by_number() {
    assert_eq!(
        refusal_of(|operation| operation.r#type = Some(15)),
        "operation 1 has unknown type 15"
    );
    assert_eq!(
        refusal_of(|operation| operation.r#type = Some(8)),
        "operation 1 is a REPLACE_XZ (type 8), which is not supported in payloads of major version 1"
    );
}

#[test]
fn data_must_lie_in_order_without_gaps() {
    for offset in [2 * BLOCK - 1, 2 * BLOCK + 1, 0, u64::MAX] {
        let text = refusal_of(|operation| operation.data_offset = Some(offset));
        assert_eq!(
            text,
            format!("operation 1 has its data at byte {offset} after the manifest instead of 8192")
        );
    }
}

#[test]
fn data_longer_than_its_blocks_is_refused() {
    let text = refusal_of(|operation| operation.data_length = Some(2 * BLOCK + 1));
    assert_eq!(
        text,
        "operation 1 has 8193 bytes of data for 8192 bytes of blocks"
    );
}

#[test]
fn a_full_image_with_a_gap_is_refused() {
    let mut wire = full();
    wire.partition_operations[1].dst_extents = vec![extent(3, 2)];
    assert_eq!(
        refusal(&wire),
        "no operation writes block 2 of the partition image"
    );
}

#[test]
fn an_image_must_have_size_and_hash() {
    let broken = |new_partition_info| {
        refusal(&DeltaArchiveManifest {
            new_partition_info,
            ..full()
        })
    };
    assert_eq!(broken(None), "the partition image has no size and hash");
    assert_eq!(broken(Some(info(0))), "the partition image is empty");
    assert!(broken(Some(info(BLOCKS * BLOCK + 1))).contains("there is room for 262144"));
    let short = InstallInfo {
        size: Some(4 * BLOCK),
        hash: Some(vec![7; 31]),
    };
    assert!(broken(Some(short)).contains("31 bytes instead of 32"));
}

#[test]
fn unknown_and_repeated_procedures_are_refused() {
    let procedure = |kind, offset| InstallProcedure {
        r#type: kind,
        operations: vec![replace(offset, 10, 0, 1)],
        new_info: Some(info(10)),
        old_info: None,
    };
    let with = |procedures| refusal(&DeltaArchiveManifest { procedures, ..full() });
    assert_eq!(with(vec![procedure(Some(2), 0)]), "unknown procedure type 2");
    assert_eq!(with(vec![procedure(None, 0)]), "a procedure has no type");
    let kernel = |offset| procedure(Some(wire::KERNEL), offset);
    let twice = vec![kernel(4 * BLOCK), kernel(4 * BLOCK + 10)];
    assert_eq!(with(twice), "there are two kernel images");
}

#[test]
fn signatures_must_begin_where_the_data_ends() {
    let with = |offset, len| {
        refusal(&DeltaArchiveManifest {
            signatures_offset: offset,
            signatures_size: len,
            ..full()
        })
    };
    assert!(with(Some(1), Some(264)).contains("begin at byte 1 after the manifest, the data ends at 16384"));
    assert!(with(Some(4 * BLOCK), None).contains("only one of"));
    assert!(with(None, Some(264)).contains("only one of"));
    assert_eq!(
        with(Some(4 * BLOCK), Some(1 << 30)),
        "1073741824 bytes of signatures"
    );
}

#[test]
fn only_powers_of_two_are_block_sizes() {
    for size in [0, 1, 256, 4095, 131_072, u32::MAX] {
        let text = refusal(&DeltaArchiveManifest {
            block_size: Some(size),
            ..full()
        });
        assert_eq!(
            text,
            format!("block size {size} is no power of two from 512 to 65536")
        );
    }
}
