//! Operations of version 1 that read what the slot held.

use super::*;

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
    one(large).unwrap();
}

#[test]
fn a_patch_of_what_it_overwrites_comes_whole() {
    let patch = |len| InstallOperation {
        data_offset: Some(10),
        data_length: Some(len),
        dst_extents: vec![extent(1, 2)],
        ..bsdiff(1, 2 * BLOCK)
    };
    let twice = |len| delta(vec![replace(0, 10, 0, 8), patch(len)]);
    assert_eq!(
        parse(&twice(2 * BLOCK)).unwrap().operations()[1].replay,
        Replay::Never
    );
    assert_eq!(
        refusal(&twice(2 * BLOCK + 1)),
        "operation 1 overwrites its own source by a patch of 8193 bytes; at most 8192 are held in memory"
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
