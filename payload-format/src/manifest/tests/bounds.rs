//! How much a manifest may ask for.

use super::*;

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
fn lengths_that_add_up_past_64_bits_are_refused() {
    let text = refusal_of(|operation| {
        operation.r#type = Some(wire::REPLACE_BZ);
        operation.data_length = Some(u64::MAX);
    });
    assert_eq!(text, "the data adds up to more than 2^64 bytes");
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
