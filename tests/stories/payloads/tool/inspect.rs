//! What a payload says of itself.

use std::fs;

use super::{Bench, Said, expected_sum, tool};
use crate::support::protobuf::{bytes, number};
use crate::support::raw_payload::{RawPayload, extent, image, info};
use test_support::fixtures::payload;

fn inspected(bench: &Bench, payload: &[u8]) -> Said {
    let path = bench.path("raw.payload");
    fs::write(&path, payload).unwrap();
    let said = tool(&[&"inspect", &path]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said
}

#[test]
fn inspect_describes_a_payload() {
    let said = tool(&[&"inspect", &payload("delta.payload")]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines[0].ends_with("delta.payload: delta payload of 152444 bytes, version 1, blocks of 4096"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[2],
        format!("partition: 16777216 bytes, SHA-256 {}", expected_sum("new.img"))
    );
    assert_eq!(
        lines[3],
        format!("  from: 16777216 bytes, SHA-256 {}", expected_sum("old.img"))
    );
    assert_eq!(
        lines[4],
        "  by: 31 BSDIFF, 152 MOVE, 2 REPLACE, 10 REPLACE_BZ; 145000 bytes of data"
    );
    assert_eq!(lines[5], "signed: 264 bytes of signatures, not checked here");
}

#[test]
fn inspect_gives_scripts_every_operation() {
    let said = tool(&[&"inspect", &"--json", &payload("full.payload")]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["payload_size"], 2_018_477);
    assert_eq!(json["metadata_size"], 1102);
    assert_eq!(json["images"][1]["kind"], "kernel");
    assert_eq!(json["images"][1]["new"]["sha256"], expected_sum("vmlinuz-new"));
    let operations = json["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 17);
    assert_eq!(operations[1]["data_offset"], 6609);
    assert_eq!(operations[1]["destination"], serde_json::json!([[256, 256]]));
}

#[test]
fn a_payload_of_version_2_runs_a_postinst_and_says_which() {
    let bench = Bench::new();
    let out = bench.path("v2.payload");
    let made = tool(&[
        &"generate",
        &"--format",
        &"v2",
        &"--new-image",
        &bench.old,
        &"--out",
        &out,
    ]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let said = tool(&[&"inspect", &out]);
    assert!(
        said.stdout
            .lines()
            .any(|line| line == "  beside: runs the image's postinst"),
        "{}",
        said.stdout
    );
}

#[test]
fn inspect_tells_a_payload_that_was_cut_off() {
    let bench = Bench::new();
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000_000));
    let said = tool(&[&"inspect", &cut]);
    assert!(
        said.stdout.contains("the file has 1000000 bytes: it is cut off"),
        "{}",
        said.stdout
    );
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000));
    tool(&[&"inspect", &cut]).refused("the payload ends at byte 1000, within its manifest");
}

/// Of the Android Open Source Project's sample of an updater; made by its tools.
#[test]
fn inspect_shows_a_payload_for_android() {
    let path = payload("aosp-updater-sample.payload");
    let said = tool(&[&"inspect", &path]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for line in [
        "full payload of 1392 bytes, version 2.0, blocks of 4096",
        "  signed: 264 bytes of signatures, not checked here",
        "partition system: 4096 bytes, SHA-256 ca8b69edfa5570c45d1765ef46a824b9e26d38d3aeb1d9090800619fe48b8fe4",
        "  by: 1 REPLACE_BZ; 64 bytes of data",
        "  beside: file system ext4, runs system/bin/otapreopt_script",
        "  only for nodes whose configuration has PARTITION_modem",
        "every node refuses it: there is no partition usr or root",
        "every node refuses it: it brings 5 partitions beside usr, kernel and pcr_policy; a node's configuration names 4 at most",
    ] {
        assert!(
            said.stdout.lines().any(|said| said.ends_with(line)),
            "{line}: {}",
            said.stdout
        );
    }
    let said = tool(&[&"inspect", &"--json", &path]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let kinds: Vec<_> = json["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        ["boot", "system", "vendor", "bootloader", "modem"].map(|name| format!("partition {name}"))
    );
    assert_eq!(json["operations"].as_array().unwrap().len(), 5);
    assert_eq!(json["refused"].as_array().unwrap().len(), 2);
    assert_eq!(json["file_size"], json["payload_size"]);
    let key = payload("test-key.pub.pem");
    tool(&[&"verify", &path, &"--public-key", &key]).refused("there is no partition usr or root");
}

/// Everything that today's Android writes into a manifest, and what it may write tomorrow.
fn of_android() -> Vec<u8> {
    let (plain, mut raw) = (image(1), RawPayload::v2());
    let partitions = [
        ("system", 9),
        ("vendor", 10),
        ("product", 11),
        ("odm", 12),
        ("usr", 13),
        ("x\u{202e}y\u{1b}[2J", 99),
    ];
    for (name, kind) in partitions {
        let mut operation = raw.operation(kind, b"patch", (0, 1));
        operation.extend(bytes(4, extent(0, 1)));
        let mut further = bytes(6, info(&plain));
        if name == "vendor" {
            let fields = [
                [
                    bytes(10, extent(0, 7)),
                    bytes(11, extent(7, 2)),
                    bytes(12, "sha256"),
                ],
                [bytes(15, extent(9, 1)), number(16, 2), bytes(17, "1.2\n3")],
                [bytes(18, number(1, 0)), number(19, 4096), number(2, 1)],
            ];
            further.extend(fields.concat().concat());
            further.extend(bytes(3, "bin/x"));
        }
        raw.partition(name, &plain, &[operation], &further);
    }
    let members = [bytes(3, "system"), bytes(3, "vendor")].concat();
    let group = [bytes(1, "main"), number(2, 1 << 30), members].concat();
    let fields = [
        [
            number(12, 11),
            number(14, 1_700_000_000),
            bytes(15, bytes(1, group)),
        ],
        [
            number(16, 1),
            bytes(17, bytes(1, "com.android.x")),
            bytes(18, "2026-11-05"),
        ],
    ];
    raw.manifest.extend(fields.concat().concat());
    raw.manifest.extend(number(77, 1));
    raw.signed()
}

const OF_ANDROID: [&str; 18] = [
    "delta payload of 1571 bytes, version 2.11, blocks of 4096",
    "  by: 1 PUFFDIFF; 5 bytes of data",
    "  by: 1 LZ4DIFF_BSDIFF; 5 bytes of data",
    "  by: 1 of unknown type 99; 5 bytes of data",
    "partition \"x\\u{202e}y\\u{1b}[2J\": 4096 bytes, SHA-256 ",
    "  beside: version 1.2\\n3, runs bin/x, hash tree to be computed for 2 blocks from 7, error correction to be computed for 1 blocks from 9, 1 operations on a snapshot, snapshot of 4096 bytes",
    "dynamic partitions main of 1073741824 bytes: system, vendor",
    "for builds up to: 1700000000 seconds since 1970",
    "security patches: 2026-11-05",
    "partial: partitions that it doesn't name stay as they are",
    "names 1 APEX packages",
    "fields without a known meaning: 77",
    "every node refuses it: minor version 11 is none of 0 and 2 to 10",
    "every node refuses it: operation 0 is a PUFFDIFF (type 9), which is not supported in payloads of major version 2",
    "every node refuses it: the partition vendor image leaves its hash tree to be computed here, which is not supported",
    "every node refuses it: operation 2 is a ZUCCHINI (type 11), which is not supported in payloads of major version 2",
    "every node refuses it: operation 4 is a LZ4DIFF_PUFFDIFF (type 13), which is not supported in payloads of major version 2",
    "every node refuses it: unknown partition \"x\\u{202e}y\\u{1b}[2J\"",
];

#[test]
fn inspect_shows_what_no_node_can_apply_and_names_it() {
    let bench = Bench::new();
    let said = inspected(&bench, &of_android());
    for line in OF_ANDROID {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    // There is one, and it is refused for another reason.
    assert!(
        !said.stdout.contains("there is no partition usr"),
        "{}",
        said.stdout
    );
}

#[test]
fn inspect_shows_a_payload_of_nothing() {
    let bench = Bench::new();
    let said = inspected(&bench, &RawPayload::v2().unsigned());
    for line in [
        "it builds nothing\n",
        "not signed\n",
        "every node refuses it: there is no partition usr or root\n",
        "every node refuses it: the payload is not signed\n",
        "every node refuses it: its metadata is not signed, as that of major version 2 must be\n",
    ] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
}

/// As Chrome OS had it before there were procedures: kernels beside the system, and names of
/// builds.
#[test]
fn inspect_shows_a_payload_of_old_clients() {
    let bench = Bench::new();
    let mut old = RawPayload {
        version: 1,
        ..RawPayload::default()
    };
    let (plain, blocks) = (image(1), (0, 1));
    let operations = [1, 2].map(|field| bytes(field, old.operation(0, &plain, blocks)));
    let infos = [bytes(7, info(&plain)), bytes(9, info(&plain))].concat();
    old.manifest = [operations.concat(), infos, bytes(11, bytes(1, "x86-generic"))].concat();
    let said = inspected(&bench, &old.signed());
    for line in [
        "partition: 4096",
        "kernel of old clients: 4096",
        "fields without a known meaning: 11",
        "every node refuses it: the signatures begin at byte 8192 after the manifest, the data ends at 4096",
    ] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    old.manifest.extend(bytes(10, bytes(1, "x86-generic")));
    let said = inspected(&bench, &old.signed());
    let no_message = "every node refuses it: the manifest is no protobuf message of the kind expected";
    for line in ["procedure without a type", no_message] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
}

/// Two million operations that say nothing.
fn of_very_much() -> RawPayload {
    let mut much = RawPayload::v2();
    much.manifest = bytes(13, [bytes(1, "usr"), bytes(8, []).repeat(2_000_000)].concat());
    much
}

#[test]
fn inspect_counts_more_operations_than_any_node_reads_and_reads_no_longer_manifests() {
    let (bench, mut much) = (Bench::new(), of_very_much());
    let said = inspected(&bench, &much.signed());
    for line in [
        "by: 2000000 without a type; 0 bytes of data",
        "every node refuses it: the manifest has more than 65536 operations",
    ] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    much.manifest.extend(bytes(77, vec![0; 8 << 20]));
    fs::write(bench.path("raw.payload"), much.signed()).unwrap();
    tool(&[&"inspect", &bench.path("raw.payload")]).refused("at most 8388608 are read");
}

/// The whole list is written out, never held: 200 times the manifest's size would be.
#[test]
fn inspect_lists_millions_of_operations_in_little_memory() {
    let bench = Bench::new();
    let much = of_very_much();
    let (path, list) = (bench.path("raw.payload"), bench.path("list"));
    fs::write(&path, much.signed()).unwrap();
    let script = "ulimit -v 400000; exec \"$0\" inspect --json \"$1\" > \"$2\"";
    let tool = env!("CARGO_BIN_EXE_update_payload");
    let status = std::process::Command::new("sh")
        .args(["-c", script, tool])
        .args([&path, &list])
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.contains("\"number\": 1999999,") && text.ends_with("}\n"));
}

/// A name of a megabyte stands in the manifest once.
#[test]
fn inspect_tells_a_long_name_in_short_at_each_operation() {
    let bench = Bench::new();
    let mut raw = RawPayload::v2();
    let operations = vec![number(1, 0); 1000];
    raw.partition(&"a b".repeat(10_000), &image(1), &operations, &[]);
    let path = bench.path("raw.payload");
    fs::write(&path, raw.unsigned()).unwrap();
    for said in [tool(&[&"inspect", &path]), tool(&[&"inspect", &"--json", &path])] {
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(said.stdout.len() < 1_000_000, "{} bytes", said.stdout.len());
    }
}
