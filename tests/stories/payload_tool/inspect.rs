//! What a payload says of itself.

use super::{Bench, expected_sum, tool};
use crate::support::fixtures::payload;

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
