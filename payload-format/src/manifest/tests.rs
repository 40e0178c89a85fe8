#![allow(clippy::unwrap_used)]

use super::*;
use crate::operation::{OperationKind, Replay, Run};
use crate::wire::{DeltaArchiveManifest, Extent, InstallInfo, InstallOperation, InstallProcedure};
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

fn extent(start: u64, count: u64) -> Extent {
    Extent {
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

fn move_blocks(from: (u64, u64), to: (u64, u64)) -> InstallOperation {
    InstallOperation {
        r#type: Some(wire::MOVE),
        src_extents: vec![extent(from.0, from.1)],
        dst_extents: vec![extent(to.0, to.1)],
        ..Default::default()
    }
}

fn bsdiff(source_len: u64, result_len: u64) -> InstallOperation {
    InstallOperation {
        r#type: Some(wire::BSDIFF),
        src_extents: vec![extent(0, 2)],
        src_length: Some(source_len),
        dst_length: Some(result_len),
        ..replace(0, 10, 0, 2)
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
    assert_eq!(
        kinds,
        [ImageKind::Partition, ImageKind::Kernel, ImageKind::PcrPolicy]
    );
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
fn a_kernel_too_large_for_its_file_is_refused() {
    let mut wire = full();
    wire.procedures.push(InstallProcedure {
        r#type: Some(wire::KERNEL),
        operations: vec![replace(4 * BLOCK, 10, 8, 1)],
        new_info: Some(info(10)),
        old_info: None,
    });
    assert_eq!(
        refusal(&wire),
        "operation 2 writes block 8, past the end of the kernel file (8 blocks)"
    );
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
fn lengths_that_add_up_past_64_bits_are_refused() {
    let text = refusal_of(|operation| {
        operation.r#type = Some(wire::REPLACE_BZ);
        operation.data_length = Some(u64::MAX);
    });
    assert_eq!(text, "the data adds up to more than 2^64 bytes");
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

#[test]
fn empty_operations_by_the_million_are_refused_before_they_are_allocated() {
    let bytes = [0x0a, 0x00].repeat(100_000);
    let error = Manifest::parse(&bytes, MajorVersion::V1, &limits()).unwrap_err();
    assert_eq!(error, ManifestError::TooManyOperations(1 << 16));
}

#[test]
fn extents_are_counted_over_all_operations_noop_ones_included() {
    let mut wire = full();
    wire.noop_operations.push(InstallOperation {
        src_extents: vec![extent(0, 1); 9],
        ..Default::default()
    });
    let limits = Limits {
        extents: 10,
        ..limits()
    };
    let error = Manifest::parse(&wire.encode_to_vec(), MajorVersion::V1, &limits).unwrap_err();
    assert_eq!(error, ManifestError::TooManyExtents(10));
}

#[test]
fn a_field_that_runs_past_its_message_is_refused() {
    assert_eq!(
        Manifest::parse(&[0x0a, 0x05, 0x00], MajorVersion::V1, &limits()).unwrap_err(),
        ManifestError::Broken(0)
    );
    assert_eq!(
        Manifest::parse(&[0x0a, 0x02, 0x32, 0x05, 0x00], MajorVersion::V1, &limits()).unwrap_err(),
        ManifestError::Broken(2)
    );
}

#[test]
fn writing_the_same_blocks_forever_is_refused() {
    let operations = (0..40).map(|at| replace(at * 10, 10, 0, BLOCKS)).collect();
    let text = refusal(&delta(operations));
    assert_eq!(text, "the partition operations write more than 512 blocks in all");
}

#[test]
fn a_move_reads_old_blocks_until_they_are_written_and_the_target_afterwards() {
    let manifest = parse(&delta(vec![
        move_blocks((1, 1), (0, 1)),
        move_blocks((0, 2), (2, 2)),
    ]))
    .unwrap();
    let OperationKind::Move(source) = &manifest.operations()[1].kind else {
        panic!("it is a MOVE");
    };
    let range = |start, end| BlockRange::new(start, end).unwrap();
    assert_eq!(source.runs, [Run::Target(range(0, 1)), Run::Old(range(1, 2))]);
    assert_eq!(manifest.partition().unwritten, [range(1, 2)]);
}

#[test]
fn moves_must_fit() {
    let one = |operation| refusal(&delta(vec![operation]));
    assert!(one(move_blocks((0, 2), (0, 3))).ends_with("copies 2 blocks to 3 blocks"));
    let sourceless = InstallOperation {
        src_extents: vec![],
        ..move_blocks((0, 1), (0, 1))
    };
    assert!(one(sourceless).ends_with("has no source"));
    let with_data = InstallOperation {
        data_length: Some(5),
        ..move_blocks((0, 1), (1, 1))
    };
    assert!(one(with_data).ends_with("has 5 bytes of data that its kind has no use for"));
    assert!(one(move_blocks((BLOCKS, 1), (0, 1))).contains("reads block 64, past the end of the slot"));
}

#[test]
fn what_no_hash_vouches_for_is_not_read() {
    let text = refusal(&delta(vec![move_blocks((3, 2), (0, 2))]));
    assert_eq!(
        text,
        "operation 0 reads block 4, past the end of the old image (4 blocks)"
    );
    let mut wire = full();
    wire.partition_operations.push(move_blocks((5, 1), (0, 1)));
    assert_eq!(
        refusal(&wire),
        "operation 2 reads a source, but the manifest names no old image"
    );
}

#[test]
fn patches_must_fit() {
    let one = |operation| parse(&delta(vec![operation])).map_err(|error| error.to_string());
    one(bsdiff(BLOCK + 1, BLOCK + 1)).unwrap();
    assert!(
        one(bsdiff(2 * BLOCK + 1, 2 * BLOCK))
            .unwrap_err()
            .contains("reads 8193 bytes from 8192")
    );
    assert!(
        one(bsdiff(1, 2 * BLOCK + 1))
            .unwrap_err()
            .contains("writes 8193 bytes to 8192")
    );
    assert!(
        one(bsdiff(1, BLOCK))
            .unwrap_err()
            .contains("writes 4096 bytes to 8192")
    );
    let large = InstallOperation {
        data_length: Some(1 << 40),
        ..bsdiff(1, 2 * BLOCK)
    };
    assert!(
        one(large)
            .unwrap_err()
            .contains("at most 67108864 are held in memory")
    );
}

#[test]
fn overwriting_ones_own_source_is_bounded() {
    let overlapping = |count| delta(vec![replace(0, 10, 0, 8), move_blocks((0, count), (1, count))]);
    let mut wire = overlapping(2);
    wire.new_partition_info = Some(info(8 * BLOCK));
    wire.old_partition_info = Some(info(8 * BLOCK));
    assert_eq!(parse(&wire).unwrap().operations()[1].replay, Replay::Never);
    let text = refusal(&overlapping(3));
    assert_eq!(
        text,
        "operation 1 overwrites its own source with 12288 bytes; at most 8192 are held in memory"
    );
}
