//! What is refused, by name and number: the journal's words, the server's code, the signals, and
//! what became of slot B.

use std::path::PathBuf;

use update_engine::disk::SlotName;

use crate::support::image::Attributes;
use crate::support::node::{KERNEL_B, KEY, MARKER, sha256};
use crate::support::scene::{Asked, IDLE, Scene, operations};
use test_support::fixtures;

/// The error codes' flag of a server that is not the public one.
pub(crate) const PRIVATE: i64 = 1 << 28;
/// Slot B as it was: a fallback that boots.
pub(crate) const FALLBACK: Attributes = (1, 0, 1);
/// Slot B after its first byte was written.
pub(crate) const UNBOOTABLE: Attributes = (0, 0, 0);

/// What a refusal looks like from outside.
pub(crate) struct Refusal<'a> {
    /// The Omaha code, without flags.
    pub(crate) code: i64,
    /// Words of the journal.
    pub(crate) says: &'a str,
    /// Attributes of slot B afterwards.
    pub(crate) slot_b: Attributes,
    /// Whether the download was announced to the server.
    pub(crate) announced: bool,
}

impl Refusal<'_> {
    /// Runs an attempt and compares.
    pub(crate) async fn is_seen(&self, scene: &mut Scene<impl Asked>) {
        let rest = scene.node.disk.rest();
        let daemon = scene.boot(SlotName::A).await;
        let signals = scene.attempt(IDLE).await;
        let log = daemon.log();
        assert!(log.contains(self.says), "{:?} is not in the journal", self.says);

        let mut operations = operations(&signals);
        operations.retain(|operation| *operation != "DOWNLOADING");
        let expected = [
            "CHECKING_FOR_UPDATE",
            "UPDATE_AVAILABLE",
            "REPORTING_ERROR_EVENT",
            "IDLE",
        ];
        assert_eq!(operations, expected);
        let last = signals.last().unwrap();
        assert_eq!((last.3.as_str(), last.4), ("0.0.0", 0));

        let mut events = vec![(3, 0, Some(PRIVATE + self.code))];
        if self.announced {
            events.insert(0, (13, 1, None));
        }
        assert_eq!(scene.events(), events);

        let disk = &scene.node.disk;
        assert_eq!(disk.attributes(SlotName::A), (2, 0, 1), "the running slot");
        assert_eq!(disk.attributes(SlotName::B), self.slot_b);
        disk.assert_table_is_whole();
        assert!(disk.rest() == rest, "bytes outside slot B and the table changed");
        if self.slot_b == FALLBACK {
            assert!(
                disk.slot(SlotName::B).iter().all(|&byte| byte == 0xb0),
                "slot B was written"
            );
            assert_eq!(scene.node.read(KERNEL_B), b"the fallback's kernel");
        }
        assert!(!scene.node.path(MARKER).exists());
        assert!(daemon.stop().success());
    }
}

/// Nothing was written: not one attribute changed.
pub(crate) const fn untouched(code: i64, says: &str) -> Refusal<'_> {
    Refusal {
        code,
        says,
        slot_b: FALLBACK,
        announced: true,
    }
}

/// Bytes had come: the slot boots no more.
pub(crate) const fn unbootable(code: i64, says: &str) -> Refusal<'_> {
    Refusal {
        slot_b: UNBOOTABLE,
        ..untouched(code, says)
    }
}

/// A payload of the fixtures, changed by `edit`.
fn edited(name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = std::fs::read(fixtures::payload(name)).unwrap();
    edit(&mut bytes);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("update.gz");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// The full fixture changed by `edit` is refused.
async fn is_refused(edit: impl FnOnce(&mut Vec<u8>), refusal: Refusal<'_>) {
    let (_directory, payload) = edited("full.payload", edit);
    refusal.is_seen(&mut Scene::offering(&payload).await).await;
}

/// Where the manifest of a payload ends.
fn manifest_end(payload: &[u8]) -> usize {
    20 + usize::try_from(u64::from_be_bytes(payload[12..20].try_into().unwrap())).unwrap()
}

/// Replaces the first occurrence of `old` in the manifest.
fn replace(payload: &mut [u8], old: &[u8], new: &[u8]) {
    let end = manifest_end(payload);
    let at = payload[..end].windows(old.len()).position(|window| window == old);
    payload[at.unwrap()..][..new.len()].copy_from_slice(new);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_downloaded() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    std::fs::remove_file(scene.node.path(KEY)).unwrap();
    let says = "cannot read the public key";
    Refusal {
        announced: false,
        ..untouched(18, says)
    }
    .is_seen(&mut scene)
    .await;
    assert_eq!(scene.server.journal().downloads(), []);
    // Else a node whose key comes back would put the payload off for days.
    let attempts = scene.node.pref("payload-attempt-number");
    assert_eq!(attempts.as_deref(), Some("0"), "the payload is blamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.trust("other-key.pub.pem");
    let says = "none of the 1 trusted keys made the signature";
    unbootable(18, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_payload_is_refused() {
    let mut scene = Scene::offering(&fixtures::payload("full-unsigned.payload")).await;
    let says = "the payload is not signed";
    untouched(17, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_payload_is_refused() {
    let says = "not an update payload";
    is_refused(|payload| payload[0] = b'X', untouched(21, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_manifest_size_is_refused() {
    let says = "claims a manifest of 1099511627776 bytes";
    is_refused(
        |payload| payload[12..20].copy_from_slice(&(1_u64 << 40).to_be_bytes()),
        untouched(23, says),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_operation_type_is_refused() {
    // Field 1 of the first operation, REPLACE_BZ.
    let edit = |payload: &mut Vec<u8>| replace(payload, &[0x08, 0x01, 0x10, 0x00], &[0x08, 0x63]);
    is_refused(edit, untouched(28, "has unknown type 99")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extent_outside_the_slot_is_refused() {
    // The last operation writes 256 blocks from 3840 on.
    let edit = |payload: &mut Vec<u8>| {
        replace(
            payload,
            &[0x08, 0x80, 0x1e, 0x10, 0x80, 0x02],
            &[0x08, 0xff, 0x7f],
        );
    };
    is_refused(edit, untouched(28, "past the end of the slot (4096 blocks)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_operation_data_is_refused() {
    let edit = |payload: &mut Vec<u8>| {
        let at = manifest_end(payload) + 200_000;
        payload[at] ^= 1;
    };
    is_refused(edit, unbootable(29, "the manifest says")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_payload_is_refused() {
    let edit = |payload: &mut Vec<u8>| payload.truncate(payload.len() - 1000);
    is_refused(edit, untouched(11, "by its manifest the payload has")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_with_bytes_after_its_end_is_refused() {
    let edit = |payload: &mut Vec<u8>| payload.extend([0; 1000]);
    is_refused(edit, untouched(11, "by its manifest the payload has")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_whose_metadata_nobody_signed_is_refused_where_it_must_be_signed() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("REQUIRE_SIGNED_METADATA=yes\n");
    let says = "which REQUIRE_SIGNED_METADATA asks for";
    untouched(39, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_than_the_one_offered_is_refused() {
    let (_directory, payload) = edited("full.payload", |_| ());
    let mut scene = Scene::offering(&payload).await;
    // The server hashed it already. The last byte is one of the signature.
    let (_other, changed) = edited("full.payload", |payload| *payload.last_mut().unwrap() ^= 1);
    std::fs::copy(changed, payload).unwrap();
    let says = "offered was";
    unbootable(10, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_for_another_image_is_refused() {
    let mut scene = Scene::offering(&fixtures::payload("delta.payload")).await;
    scene.node.disk.write(
        SlotName::A,
        1 << 20,
        b"an image that the delta does not start from",
    );
    let says = "the delta is for an image with SHA-256 68599b9216f4d69d";
    untouched(20, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_the_server_lost_is_refused() {
    let (_directory, payload) = edited("full.payload", |_| ());
    let mut scene = Scene::offering(&payload).await;
    std::fs::remove_file(payload).unwrap();
    let says = "answers 500";
    untouched(9, says).is_seen(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_payload_is_installed_after_a_refusal() {
    let (_directory, payload) = edited("full.payload", |_| ());
    let mut scene = Scene::offering(&payload).await;
    scene.node.trust("other-key.pub.pem");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    scene.node.trust("test-key.pub.pem");
    scene.attempt("UPDATE_STATUS_UPDATED_NEED_REBOOT").await;
    let slot = scene.node.disk.slot(SlotName::B);
    assert_eq!(sha256(&slot), sha256(&fixtures::image("new.img")));
    daemon.stop();
}
