#![allow(clippy::unwrap_used)]

use prost::Message as _;

use super::*;
use crate::image::ImageKind;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::partition::ExtraPartitionLimits;
use crate::wire::{DeltaArchiveManifest, InstallInfo, InstallOperation, PartitionUpdate, WireExtent};

fn partition(name: &str, r#type: i32) -> PartitionUpdate {
    PartitionUpdate {
        partition_name: Some(name.to_owned()),
        new_partition_info: Some(InstallInfo {
            size: Some(4096),
            hash: Some(vec![7; 32]),
        }),
        operations: vec![InstallOperation {
            r#type: Some(r#type),
            data_offset: Some(0),
            data_length: Some(5),
            dst_extents: vec![WireExtent {
                start_block: None,
                num_blocks: Some(1),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn refusals(manifest: &DeltaArchiveManifest, version: MajorVersion) -> Vec<String> {
    let limits = Limits {
        extra_partitions: ExtraPartitionLimits::Any,
        ..Limits::for_slot(u64::MAX)
    };
    let refusals = Manifest::refusals(&manifest.encode_to_vec(), version, &limits);
    refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn what_nobody_here_can_apply_is_shown_all_the_same() {
    let mut system = partition("system", 9);
    system.hash_tree_extent = Some(WireExtent {
        start_block: Some(8),
        num_blocks: Some(2),
    });
    let manifest = DeltaArchiveManifest {
        minor_version: Some(99),
        partitions: vec![system, partition("a\u{202e}b", 77), PartitionUpdate::default()],
        ..Default::default()
    };
    let bytes = manifest.encode_to_vec();
    let outline = Outline::parse(&bytes, MajorVersion::V2).unwrap();
    let names: Vec<_> = outline.images().map(|image| image.to_string()).collect();
    assert_eq!(
        names,
        [
            "partition system",
            "partition \"a\\u{202e}b\"",
            "partition without a name"
        ]
    );
    let images: Vec<_> = outline.images().collect();
    assert_eq!(images[0].extras().hash_tree, Some((Some(8), 2)));
    let operations: Vec<_> = images.iter().flat_map(OutlinedImage::operations).collect();
    assert_eq!(operations[0].name(), Some("PUFFDIFF"));
    assert_eq!((operations[1].name(), operations[1].number()), (None, Some(77)));
    assert_eq!(operations[1].destination().collect::<Vec<_>>(), [(Some(0), 1)]);
    assert_eq!((outline.minor_version(), outline.data_end()), (Some(99), 5));
}

/// Each image's own, the numbers of operations and the places of data as if those before had been
/// taken.
#[test]
fn all_that_is_refused_is_told() {
    let mut good = partition("kernel", 0);
    good.operations[0].data_offset = Some(10);
    good.operations[0].data_sha256_hash = Some(vec![0; 32]);
    let mut tree = partition("usr", 0);
    tree.hash_tree_extent = Some(WireExtent::default());
    let manifest = DeltaArchiveManifest {
        minor_version: Some(1),
        signatures_size: Some(5),
        partitions: vec![tree, partition("vendor", 11), good, partition("boot", 13)],
        ..Default::default()
    };
    let told = refusals(&manifest, MajorVersion::V2);
    assert_eq!(
        told,
        [
            "minor version 1 is none of 0 and 2 to 10",
            "the partition image leaves its hash tree to be computed here, which is not supported",
            "operation 1 is a ZUCCHINI (type 11), which is not supported in payloads of major version 2",
            "operation 3 is a LZ4DIFF_PUFFDIFF (type 13), which is not supported in payloads of major version 2",
            "only one of signatures_offset and signatures_size is present",
        ]
    );
    let none = DeltaArchiveManifest::default();
    assert_eq!(
        refusals(&none, MajorVersion::V2),
        ["there is no partition usr or root"]
    );
    assert_eq!(
        refusals(&none, MajorVersion::V1),
        ["the partition image has no size and hash"]
    );
}

/// Field 10 was another message once.
#[test]
fn a_field_of_another_type_is_absent_and_no_protobuf_is_an_error() {
    let bytes = [0x52, 3, 0x0a, 1, b'x', 0x4a, 2, 0x08, 5];
    let outline = Outline::parse(&bytes, MajorVersion::V1).unwrap();
    let images: Vec<_> = outline.images().collect();
    assert_eq!(images[0].kind(), Some(ImageKind::Slot));
    assert_eq!(images[0].new_info().unwrap().size, Some(5));
    assert_eq!(images[1].to_string(), "procedure without a type");
    assert!(Outline::parse(&bytes[..3], MajorVersion::V1).is_err());
}

#[test]
fn no_bytes_make_it_panic() {
    let seed = partition("system", 9);
    let manifest = DeltaArchiveManifest {
        partitions: vec![seed],
        ..Default::default()
    };
    let bytes = manifest.encode_to_vec();
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            for version in [MajorVersion::V1, MajorVersion::V2] {
                let Ok(outline) = Outline::parse(&bytes, version) else {
                    continue;
                };
                let operations: usize = outline.images().map(|image| image.operations().count()).sum();
                let told = outline.images().map(|image| (image.to_string(), image.extras()));
                assert!(told.count() + operations <= bytes.len());
                let _ = outline.data_end();
            }
        }
    }
}
