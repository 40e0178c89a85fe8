//! Bounds: how much a manifest may ask for.

use proptest::prelude::*;

use super::*;
use crate::content::TablesError;

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
fn empty_images_are_refused_before_they_are_allocated() {
    for field in [0x52, 0x6a] {
        let bytes = [field, 0x00].repeat(1025);
        let error = Manifest::parse(&bytes, MajorVersion::V2, &limits()).unwrap_err();
        assert_eq!(error, ManifestError::TooManyImages(1024));
    }
}

/// They are counted before they are decoded: two bytes on the wire become up to 184 in memory.
#[test]
fn empty_messages_of_content_tables_are_refused_before_they_are_allocated() {
    for (field, name) in [(0x2a, "encoders"), (0x72, "predecessors")] {
        // In two fields, which are read as one message.
        let tables = |count| {
            let messages = [field, 0x00].repeat(count);
            [
                vec![0x8a, 0xb5, 0x18, messages.len().try_into().unwrap()],
                messages,
            ]
            .concat()
        };
        let partition = [tables(9), tables(8)].concat();
        let bytes = [vec![0x6a, partition.len().try_into().unwrap()], partition].concat();
        let error = Manifest::parse(&bytes, MajorVersion::V2, &limits()).unwrap_err();
        let too_many = TablesError::TooMany {
            field: name,
            limit: 16,
        };
        assert_eq!(error, ManifestError::Content(too_many));
    }
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
    let times = |times: u64| delta((0..times).map(|at| replace(at * 10, 10, 0, BLOCKS)).collect());
    // Three times, and 1024 blocks for tiny images.
    let most = 3 * BLOCKS + 1024;
    let text = refusal(&times(most / BLOCKS + 1));
    let expected = format!("the partition operations write more than {most} blocks in all");
    assert_eq!(text, expected);
    assert!(parse(&times(most / BLOCKS)).is_ok());
}

proptest! {
    #[test]
    fn extents_are_taken_as_they_are_named_or_refused(
        block_size in prop::sample::select(vec![512_u32, 4096, 65_536]),
        slot_len in prop_oneof![Just(u64::MAX), (1_u64 << 40)..1 << 52],
        start in near(&[0, 1 << 30, BlockRange::MAX_END, u64::MAX]),
        count in near(&[1, BlockRange::MAX_END, u64::MAX]),
    ) {
        let wire = DeltaArchiveManifest {
            block_size: Some(block_size),
            partition_operations: vec![
                replace(0, 10, 0, 1),
                InstallOperation { dst_extents: vec![extent(start, count)], ..replace(10, 10, 0, 1) },
            ],
            new_partition_info: Some(info(1)),
            ..Default::default()
        };
        let blocks = (slot_len / u64::from(block_size)).min(BlockRange::MAX_END);
        let is_hole = start == wire::SPARSE_HOLE;
        let end = if is_hole { Some(count) } else { start.checked_add(count) };
        let fits = count > 0 && end.is_some_and(|end| end <= blocks);
        let parsed = Manifest::parse(&wire.encode_to_vec(), MajorVersion::V1, &Limits::for_slot(slot_len));
        prop_assert_eq!(parsed.is_ok(), fits, "{:?}", parsed.err());
        if let Ok(manifest) = parsed {
            let expected = match BlockRange::new(start, start.wrapping_add(count)) {
                Some(range) if !is_hole => crate::Extent::Blocks(range),
                _ => crate::Extent::Hole(u32::try_from(count).unwrap()),
            };
            prop_assert_eq!(&manifest.operations()[1].destination, &vec![expected]);
        }
    }
}

/// Numbers close to one of these.
fn near(numbers: &[u64]) -> impl Strategy<Value = u64> + use<> {
    let number = prop::sample::select(numbers.to_vec());
    (number, -3_i64..=3).prop_map(|(number, by)| number.wrapping_add_signed(by))
}

#[test]
fn an_image_of_more_blocks_than_there_are_numbers_is_refused() {
    let mut wire = full();
    wire.new_partition_info = Some(info((BlockRange::MAX_END + 1) * BLOCK));
    let anywhere = Limits::for_slot(u64::MAX);
    let error = Manifest::parse(&wire.encode_to_vec(), MajorVersion::V1, &anywhere).unwrap_err();
    let size = BlockRange::MAX_END * BLOCK;
    assert!(
        matches!(error, ManifestError::ImageSize { room, .. } if room == size),
        "{error}"
    );
}
