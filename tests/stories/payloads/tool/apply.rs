//! A payload unpacked into a file or onto a device.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Bench, apply_to, expected_sum, sum};
use crate::support::loops::{Loop, may_mount};
use test_support::fixtures::{self, payload};

fn key() -> PathBuf {
    payload("test-key.pub.pem")
}

#[test]
fn apply_builds_the_image_and_the_kernel_of_a_full_payload() {
    let bench = Bench::new();
    let kernel = bench.path("vmlinuz");
    let said = bench.apply(
        &payload("full.payload"),
        &[&"--kernel", &kernel, &"--public-key", &key()],
    );
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
    assert_eq!(sum(&kernel), expected_sum("vmlinuz-new"));
}

#[test]
fn apply_builds_a_delta_from_the_old_image_and_leaves_that_alone() {
    let bench = Bench::new();
    let delta = payload("delta.payload");
    let said = bench.apply(&delta, &[&"--source", &bench.old, &"--public-key", &key()]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
    assert_eq!(sum(&bench.old), expected_sum("old.img"));
    // The old image may be the target: it is replaced when the new one is complete.
    let said = apply_to(
        &delta,
        &bench.old,
        &[&"--source", &bench.old, &"--public-key", &key()],
    );
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.old), expected_sum("new.img"));
}

#[test]
fn apply_writes_a_device_but_never_from_itself() {
    if !may_mount() {
        return;
    }
    let bench = Bench::new();
    let delta = payload("delta.payload");
    let slot = bench.path("slot.img");
    fs::write(&slot, vec![0xaa; 20 << 20]).unwrap();
    let device = Loop::writable(&slot);
    let onto_it_from = |source: &Path| {
        apply_to(
            &delta,
            device.device(),
            &[&"--source", &source, &"--public-key", &key()],
        )
    };
    let said = onto_it_from(&bench.old);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    onto_it_from(device.device()).refused("can't be both source and target");
    drop(device);
    let written = fs::read(&slot).unwrap();
    assert!(written[..16 << 20] == fixtures::image("new.img"));
    assert!(
        written[16 << 20..].iter().all(|byte| *byte == 0xaa),
        "nothing behind the image was touched"
    );
}

#[test]
fn apply_refuses_a_delta_without_its_source_or_with_another() {
    let bench = Bench::new();
    let delta = payload("delta.payload");
    bench
        .apply(&delta, &[&"--public-key", &key()])
        .refused("the payload's partition is built from an old one: name that, too");
    let other = bench.path("other.img");
    fs::write(&other, vec![0; 16 << 20]).unwrap();
    bench
        .apply(&delta, &[&"--source", &other, &"--public-key", &key()])
        .refused("other.img have SHA-256");
    bench.is_as_before();
}

#[test]
fn apply_writes_nothing_of_a_payload_that_is_not_trusted() {
    let bench = Bench::new();
    let other = payload("other-key.pub.pem");
    bench
        .apply(&payload("full.payload"), &[&"--public-key", &other])
        .refused("is not trusted");
    let unsigned = payload("full-unsigned.payload");
    bench
        .apply(&unsigned, &[&"--public-key", &key()])
        .refused("is not signed");
    assert_eq!(bench.apply(&unsigned, &[]).code, Some(2));
    // The last byte of the last operation's data.
    let flipped = bench.changed("full.payload", |bytes| {
        *bytes.iter_mut().nth_back(264).unwrap() ^= 1;
    });
    bench
        .apply(&flipped, &[&"--public-key", &key()])
        .refused("operation 16");
    let kernel = bench.path("vmlinuz");
    bench
        .apply(&unsigned, &[&"--kernel", &kernel, &"--allow-unsigned"])
        .refused("the payload holds no kernel");
    bench.is_as_before();
}

#[test]
fn apply_says_of_an_unsigned_payload_that_its_origin_was_not_checked() {
    let bench = Bench::new();
    let said = bench.apply(&payload("full-unsigned.payload"), &[&"--allow-unsigned"]);
    assert!(
        said.stdout.ends_with("the payload's origin was not checked\n"),
        "{}",
        said.stdout
    );
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
}
