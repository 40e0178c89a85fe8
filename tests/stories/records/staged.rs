//! The record of a staged update, of this version, older and newer ones.

use std::collections::BTreeMap;

use payload_format::Sha256Digest;
use serde_json::{Value, json};
use update_engine::plan::PartitionImage;
use update_engine::policy::StagedUpdate;
use update_engine::status::UnixTime;

use super::older::B;
use super::{contents, kept};

const STAGED: &str = "/var/lib/update_engine/staged";

fn golden() -> Value {
    serde_json::from_slice(contents(&kept("unreleased", "staged", STAGED))).unwrap()
}

#[test]
fn the_record_of_a_staged_update_means_what_it_meant() {
    let read: StagedUpdate = serde_json::from_value(golden()).unwrap();
    let expected = StagedUpdate {
        partuuid: B.to_owned(),
        image: Sha256Digest::of(b"image"),
        image_bytes: 16 << 20,
        kernel: "/boot/flatcar/vmlinuz-b".to_owned(),
        kernel_sha256: Sha256Digest::of(b"kernel"),
        kernel_bytes: 500_000,
        partitions: Vec::new(),
        version: "2.0.0".to_owned(),
        payload: Some(Sha256Digest::of(b"payload")),
        has_run_postinst: true,
        extensions: vec!["oem-*".to_owned(), "docker-flatcar".to_owned()],
        staged: UnixTime(1_796_000_000),
        reboots: 0,
        is_counted: false,
        is_told_as_failed: false,
        // Of a version before.
        unknown: BTreeMap::from([
            ("announced".to_owned(), json!(1)),
            (
                "announced_in".to_owned(),
                json!("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"),
            ),
        ]),
    };
    assert_eq!(read, expected);
    assert_eq!(serde_json::to_value(read).unwrap(), golden());
}

/// Each field that the record of today has beside those of the first one, by its name on the disk.
#[test]
fn what_was_added_since_the_first_record_has_the_names_that_it_had() {
    let partition = PartitionImage {
        path: "/dev/disk/by-partlabel/OEM-B".to_owned(),
        sha256: Sha256Digest::of(b"oem"),
        bytes: 5000,
    };
    let mut todays = golden();
    for old in ["announced", "announced_in"] {
        todays.as_object_mut().unwrap().remove(old).unwrap();
    }
    todays["partitions"] = json!([{
        "path": "/dev/disk/by-partlabel/OEM-B",
        "sha256": json!(Sha256Digest::of(b"oem")),
        "bytes": 5000,
    }]);
    todays["reboots"] = json!(2);
    todays["is_counted"] = json!(true);
    todays["is_told_as_failed"] = json!(true);
    let read: StagedUpdate = serde_json::from_value(todays.clone()).unwrap();
    assert_eq!(read.partitions, [partition]);
    assert_eq!(read.reboots, 2);
    assert!(read.is_counted && read.is_told_as_failed);
    assert_eq!(read.unknown, BTreeMap::new());
    assert_eq!(serde_json::to_value(read).unwrap(), todays);
}

#[test]
fn what_another_version_writes_otherwise_leaves_the_rest_usable_and_is_kept() {
    let mut newer = golden();
    newer["verity"] = json!({ "root": "abc" });
    newer["extensions"] = json!([{ "name": "docker" }, "podman"]);
    newer["reboots"] = json!("often");
    newer["is_counted"] = json!("yes");
    newer["version"] = json!(3);
    let read: StagedUpdate = serde_json::from_value(newer).unwrap();
    assert_eq!((read.extensions.len(), read.reboots), (1, 0));
    assert!(!read.is_counted);
    assert_eq!(read.version, "3");
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(again["verity"], json!({ "root": "abc" }));

    let mut older = golden();
    for optional in ["version", "payload", "has_run_postinst", "extensions", "staged"] {
        older.as_object_mut().unwrap().remove(optional);
    }
    serde_json::from_value::<StagedUpdate>(older).unwrap();
}

#[test]
fn partitions_that_can_not_be_read_are_not_taken_for_none() {
    let partition = PartitionImage {
        path: "/dev/disk/by-partlabel/OEM-B".to_owned(),
        sha256: Sha256Digest::of(b"oem"),
        bytes: 5000,
    };
    let mut golden = golden();
    golden["partitions"] = json!([partition]);
    let read: StagedUpdate = serde_json::from_value(golden.clone()).unwrap();
    assert_eq!(read.partitions, [partition]);
    golden["partitions"] = json!(["/dev/disk/by-partlabel/OEM-B"]);
    serde_json::from_value::<StagedUpdate>(golden).unwrap_err();
}

#[test]
fn without_slot_image_or_kernel_it_is_no_record() {
    for field in [
        "partuuid",
        "image",
        "image_bytes",
        "kernel",
        "kernel_sha256",
        "kernel_bytes",
    ] {
        let mut broken = golden();
        broken[field] = json!({});
        serde_json::from_value::<StagedUpdate>(broken).unwrap_err();
    }
}
