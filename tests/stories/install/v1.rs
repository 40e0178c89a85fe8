//! A payload becomes a slot that boots next, or leaves one that doesn't boot at all.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use payload_format::Sha256Digest;
use update_engine::disk::{BlockTarget, DiskError, OwnDisk, Sealed, SlotDisk, SlotName};
use update_engine::engine::Reportable as _;
use update_engine::install::{InstallError, PostinstMode, Slots};
use update_engine::omaha::MetadataClaim;

use crate::support::installing::{self, plan};
use crate::support::node::{Node, sha256};
use test_support::fixtures;
use test_support::server::Server;

/// What became of slot B.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not one byte and not one attribute changed.
    Untouched,
    /// It boots no more.
    Unbootable,
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures::payload(name)).unwrap()
}

pub(crate) fn fate(node: &Node) -> Fate {
    let attributes = node.slot_attributes(SlotName::B);
    if attributes.is_good() {
        assert!(node.disk.slot(SlotName::B).iter().all(|byte| *byte == 0xb0));
        return Fate::Untouched;
    }
    assert_eq!(attributes, attributes.unbootable());
    Fate::Unbootable
}

/// Offers `payload`, and sees that the update is refused; the running slot is as it was.
pub(crate) async fn refused(node: &Node, payload: Vec<u8>) -> (InstallError, Fate) {
    let server = Server::start();
    let plan = plan(server.url("p"), &payload);
    server.serve("p", payload);
    let before = node.disk.slot(SlotName::A);
    let error = node.install(plan).await.unwrap_err();
    assert!(node.disk.slot(SlotName::A) == before);
    let running = node.slot_attributes(SlotName::A);
    assert!(running.is_good());
    (error, fate(node))
}

async fn becomes_the_next_to_boot(payload: &str, kernel: &str) {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture(payload);
    server.serve("p", payload.clone());
    let before = node.disk.rest();

    node.install(plan(server.url("p"), &payload)).await.unwrap();

    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    assert!(node.read("/boot/flatcar/vmlinuz-b") == fixture(kernel));
    assert!(node.read("/boot/flatcar/vmlinuz-a") == fixture("vmlinuz-old"));
    let (a, b) = (
        node.slot_attributes(SlotName::A),
        node.slot_attributes(SlotName::B),
    );
    assert!(b.priority() > a.priority());
    assert_eq!((b.tries().get(), b.is_successful()), (1, false));
    assert_eq!((a.tries().get(), a.is_successful()), (0, true));
    assert!(node.disk.rest() == before, "something else on the disk changed");
    assert!(!node.state().join("checkpoint").exists());
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].header("range"), None);
}

#[tokio::test]
async fn a_full_payload_becomes_the_slot_that_boots_next() {
    becomes_the_next_to_boot("full.payload", "vmlinuz-new").await;
}

#[tokio::test]
async fn a_delta_becomes_it_too_and_brings_the_running_kernel_along() {
    becomes_the_next_to_boot("delta.payload", "vmlinuz-old").await;
}

#[tokio::test]
async fn an_unsigned_payload_is_refused_before_anything_is_touched() {
    let (error, fate) = refused(&Node::with_two_good_slots(), fixture("full-unsigned.payload")).await;
    assert!(matches!(error, InstallError::Unsigned), "{error:?}");
    assert_eq!(fate, Fate::Untouched);
}

#[tokio::test]
async fn what_another_key_signed_leaves_the_slot_unbootable() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let mut plan = plan(server.url("p"), &payload);
    plan.public_keys = vec![fixtures::payload("other-key.pub.pem")];
    let error = node.install(plan).await.unwrap_err();
    assert!(matches!(error, InstallError::Signature(_)), "{error:?}");
    assert_eq!(fate(&node), Fate::Unbootable);
}

/// An offer's signature of header and manifest, by the key that signed the payload.
fn metadata_claim(payload: &[u8]) -> MetadataClaim {
    let manifest = u64::from_be_bytes(payload[12..20].try_into().unwrap());
    let size = 20 + manifest;
    let key = fixtures::payload("test-key.pem");
    let arguments = ["dgst", "-sha256", "-sign", key.to_str().unwrap()].map(OsStr::new);
    let signature = fixtures::filter("openssl", arguments, &payload[..usize::try_from(size).unwrap()]);
    MetadataClaim { size, signature }
}

#[tokio::test]
async fn metadata_that_the_offer_signs_is_checked_before_anything_is_touched() {
    let payload = fixture("full.payload");
    let right = metadata_claim(&payload);
    let mut forged = right.clone();
    forged.signature[100] ^= 1;
    let wrong_size = MetadataClaim {
        size: right.size + 1,
        ..right.clone()
    };
    for (claim, refusal) in [
        (forged, "the signature of the payload's metadata is refused"),
        (wrong_size, "the payload is refused"),
    ] {
        let (node, server) = (Node::with_two_good_slots(), Server::start());
        server.serve("p", payload.clone());
        let mut plan = plan(server.url("p"), &payload);
        plan.metadata = Some(claim);
        let error = node.install(plan).await.unwrap_err();
        assert_eq!(error.to_string(), refusal);
        assert_eq!(fate(&node), Fate::Untouched);
    }
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    server.serve("p", payload.clone());
    let mut plan = plan(server.url("p"), &payload);
    plan.metadata = Some(right);
    node.install(plan).await.unwrap();
}

#[tokio::test]
async fn where_metadata_must_be_signed_only_what_is_signed_is_written() {
    let (one, two) = (fixture("full.payload"), super::v2::version_2());
    for (payload, claim, is_taken) in [
        (&one, None, false),
        (&one, Some(metadata_claim(&one)), true),
        (&two, None, true),
    ] {
        let (node, server) = (Node::with_two_good_slots(), Server::start());
        server.serve("p", payload.clone());
        let mut plan = plan(server.url("p"), payload);
        plan.metadata = claim;
        plan.signed_metadata = true;
        let installed = node.install(plan).await;
        assert_eq!(installed.is_ok(), is_taken, "{installed:?}");
        if let Err(error) = installed {
            assert!(matches!(error, InstallError::MetadataUnsigned), "{error:?}");
            assert_eq!(fate(&node), Fate::Untouched);
        }
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_even_asked_for() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let mut plan = plan(server.url("p"), b"x");
    plan.public_keys = vec![node.path("/no/such/key.pem")];
    let error = node.install(plan.clone()).await.unwrap_err();
    assert!(matches!(error, InstallError::KeyFile { .. }), "{error:?}");
    plan.public_keys.clear();
    let error = node.install(plan).await.unwrap_err();
    assert!(matches!(error, InstallError::NoKeys), "{error:?}");
    assert_eq!(fate(&node), Fate::Untouched);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn data_that_was_tampered_with_is_refused_by_its_operation() {
    let mut payload = fixture("full.payload");
    let middle = payload.len() / 2;
    payload[middle] ^= 1;
    let (error, fate) = refused(&Node::with_two_good_slots(), payload).await;
    assert!(error_text(&error).contains("data of operation"), "{error:?}");
    assert_eq!(fate, Fate::Unbootable);
}

#[tokio::test]
async fn a_payload_other_than_the_offered_one_is_refused() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let mut plan = plan(server.url("p"), &payload);
    plan.payload_sha256 = Sha256Digest::of(b"another");
    let error = node.install(plan).await.unwrap_err();
    assert!(matches!(error, InstallError::PayloadHash { .. }), "{error:?}");
    assert_eq!(fate(&node), Fate::Unbootable);
}

#[tokio::test]
async fn a_manifest_that_is_none_or_absurd_costs_nothing() {
    let valid = fixture("full.payload");
    let edit = |at: usize, bytes: &[u8]| {
        let mut payload = valid.clone();
        payload[at..at + bytes.len()].copy_from_slice(bytes);
        payload
    };
    for (payload, text) in [
        (edit(0, b"CrAP"), "not an update payload"),
        (edit(4, &3_u64.to_be_bytes()), "major version 3"),
        (
            edit(12, &(1_u64 << 40).to_be_bytes()),
            "manifest of 1099511627776 bytes",
        ),
        (edit(20, &[0xff; 16]), "manifest"),
        (valid[..10].to_vec(), "within its header"),
        (valid[..500].to_vec(), "within its manifest"),
        (
            valid[..valid.len() - 1].to_vec(),
            "by its manifest the payload has",
        ),
        (
            [valid.clone(), vec![0]].concat(),
            "by its manifest the payload has",
        ),
    ] {
        let (error, fate) = refused(&Node::with_two_good_slots(), payload).await;
        assert!(error_text(&error).contains(text), "{error:?}");
        assert_eq!(fate, Fate::Untouched, "{text}");
    }
}

#[tokio::test]
async fn a_delta_for_another_image_is_refused_before_anything_is_touched() {
    let node = Node::with_two_good_slots();
    node.damage(SlotName::A, 5_000_000);
    let (error, fate) = refused(&node, fixture("delta.payload")).await;
    assert!(matches!(error, InstallError::WrongSource { .. }), "{error:?}");
    assert_eq!(fate, Fate::Untouched);
}

#[tokio::test]
async fn a_payload_that_is_larger_than_the_slot_is_refused() {
    // The image of 16 MiB doesn't fit, but the old one never does either: the slot is written as
    // far as it goes.
    let node = Node::with_two_good_slots();
    let (error, fate) = refused(&node, too_large()).await;
    assert!(
        error_text(&error).contains("there is room for 16777216"),
        "{error:?}"
    );
    assert_eq!(fate, Fate::Untouched);
}

fn too_large() -> Vec<u8> {
    use payload_format::writer::FullPayload;
    let mut payload = Vec::new();
    let mut image = std::io::Cursor::new(vec![0; 17 << 20]);
    FullPayload::new(&mut image)
        .write(&mut std::io::Cursor::new(Vec::new()), &mut payload, &mut |_| {})
        .unwrap();
    payload
}

#[tokio::test]
async fn a_node_on_trial_is_not_updated() {
    let node = Node::with_two_good_slots();
    let other = SlotDisk::open(node.disk.path(), SlotName::B).unwrap();
    other.make_next(SlotName::A).unwrap();
    let server = Server::start();
    let payload = fixture("full.payload");
    let error = node.install(plan(server.url("p"), &payload)).await.unwrap_err();
    assert!(matches!(error, InstallError::RunningNotGood { .. }), "{error:?}");
    assert_eq!(fate(&node), Fate::Untouched);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_running_slot_is_never_the_target() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let mut plan = plan(server.url("p"), b"x");
    plan.target = SlotName::A;
    let error = node.install(plan).await.unwrap_err();
    assert!(matches!(error, InstallError::RunningNotGood { .. }), "{error:?}");
}

/// The error and its sources, as they are reported.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A disk whose slots can't be read, and make the thread that writes to them panic.
struct Broken(SlotDisk);

/// A slot of [`Broken`].
struct BrokenSlot(Arc<dyn BlockTarget>);

impl Slots for Broken {
    fn running(&self) -> SlotName {
        self.0.running()
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.0.require_running_good(target)
    }

    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.0.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.0.make_next(slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Ok(Arc::new(BrokenSlot(self.0.open_target(slot)?)))
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Ok(Arc::new(BrokenSlot(self.0.open_source(slot)?)))
    }

    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        Slots::seal(&self.0, slot)
    }

    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.0.require_unbootable(slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        self.0.own_disk()
    }
}

impl BlockTarget for BrokenSlot {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("the medium is worn out"))
    }

    fn write_at(&self, _: &[u8], offset: u64) -> io::Result<()> {
        panic!("a mistake in a decoder, at {offset}");
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn forget(&self, offset: u64, len: u64) {
        self.0.forget(offset, len);
    }
}

#[tokio::test]
async fn a_mistake_in_a_worker_ends_the_attempt_instead_of_hanging_it() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let slots = Arc::new(Broken(node.slots()));
    let attempt = installing::download(
        plan(server.url("p"), &payload),
        node.site_with(slots, PostinstMode::Skip),
    );
    let ended = tokio::time::timeout(Duration::from_secs(30), tokio::spawn(attempt)).await;
    // The engine ends with the daemon then, which is started anew.
    let panic = ended.expect("the attempt hangs").err().expect("an error");
    assert!(panic.is_panic());
    assert_eq!(fate(&node), Fate::Unbootable);
}

#[tokio::test]
async fn a_delta_whose_source_cannot_be_read_is_refused_before_anything_is_touched() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("delta.payload");
    server.serve("p", payload.clone());
    let site = node.site_with(Arc::new(Broken(node.slots())), PostinstMode::Skip);
    let attempt = installing::download(plan(server.url("p"), &payload), site).await;
    let error = attempt.err().expect("an error");
    assert_eq!(
        error_text(&error),
        "cannot read the delta's source USR-A: the medium is worn out"
    );
    assert_eq!(error.code().number(), 20);
    assert_eq!(fate(&node), Fate::Untouched);
}
