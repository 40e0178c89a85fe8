//! The project's promises, where no story about a part carries one's name already.
//!
//! 1. A node always boots: [`super::power_cut`], [`super::endurance`], [`super::killed_deltas`].
//! 2. Nothing unverified is ever made bootable: here, and each way by itself in
//!    [`super::refusals`].
//! 3. It says why: here.
//! 4. It does not disturb the node: here, and with a large payload in [`super::endurance`].
//! 5. It is fast: here, by what it doesn't do.

use update_engine::disk::SlotName;

use super::refusals::{FALLBACK, PRIVATE, UNBOOTABLE};
use crate::support::bad_server::BadServer;
use crate::support::image::Image;
use crate::support::node::{CONFIG, Daemon, Node, sha256};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;

fn full_payload() -> Vec<u8> {
    std::fs::read(fixtures::payload("full.payload")).unwrap()
}

/// Slot B must not boot, unless nothing was written to it.
fn assert_nothing_new_boots(disk: &Image) {
    assert_eq!(disk.attributes(SlotName::A), (2, 0, 1));
    match disk.attributes(SlotName::B) {
        FALLBACK => assert!(disk.slot(SlotName::B).iter().all(|&byte| byte == 0xb0)),
        other => assert_eq!(other, UNBOOTABLE),
    }
}

/// The full fixture with one bit changed at `at`. The offer is of the changed payload: whoever
/// tampers with one tampers with the other.
fn tampered(at: usize) -> BadServer {
    let mut payload = full_payload();
    payload[at] ^= 1;
    BadServer::offering(payload, "", |_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_unverified_is_ever_made_bootable() {
    let payload = full_payload();
    let (metadata, end) = (1102, payload.len());
    let header = [0, 11, 18, 19];
    let manifest = (20..metadata).step_by(97);
    let data = (metadata..end - 264).step_by(311_111);
    let signature = [end - 265, end - 264, end - 263, end - 200, end - 1];
    let places = header.into_iter().chain(manifest).chain(data).chain(signature);

    let mut scene = Scene::with(tampered(0), Node::new("disabled")).await;
    let daemon = scene.boot(SlotName::A).await;
    for at in places {
        scene.server = tampered(at);
        trust_server(&scene);
        scene.attempt(IDLE).await;
        let (kind, result, code) = *scene.events().last().unwrap();
        assert_eq!((kind, result), (3, 0), "byte {at}");
        assert!(code.is_some_and(|code| code & 0xfff > 1), "byte {at}: {code:?}");
        assert_nothing_new_boots(&scene.node.disk);
    }
    // It was the bits.
    scene.server = BadServer::offering(payload, "", |_| ());
    trust_server(&scene);
    scene.attempt(NEED_REBOOT).await;
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    daemon.stop();
}

/// Makes the node ask the scene's server, from its next check on.
fn trust_server(scene: &Scene<BadServer>) {
    let config = format!("SERVER={}\n", scene.server.url());
    scene.node.write(CONFIG, config.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_why() {
    let server = tampered(500_000);
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    // In the report a code, in the journal the same with a sentence that names place and values.
    let reported = PRIVATE + 29;
    assert_eq!(scene.events().last(), Some(&(3, 0, Some(reported))));
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("ERROR update_engine"))
        .unwrap();
    for part in ["(code 29)", "operation 3", "SHA-256", "the manifest says"] {
        assert!(line.contains(part), "{part:?} is missing: {line}");
    }
    daemon.stop();
}

/// Whoever reads a slot from end to end leaves the cache to those who work on this machine.
async fn it_does_not_disturb_the_node_by_filling_the_page_cache(payload: &str) {
    /// What mounting the slot and its table take, and what the kernel reads ahead.
    const LITTLE: u64 = 4 << 20;
    let mut scene = Scene::offering(&fixtures::payload(payload)).await;
    scene.node.disk.drop_from_cache();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let cached = scene.node.disk.cached();
    assert!(cached < LITTLE, "{cached} bytes of the disk are cached");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_disturb_the_node_by_filling_the_page_cache_with_a_full_payload() {
    it_does_not_disturb_the_node_by_filling_the_page_cache("full.payload").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_disturb_the_node_by_filling_the_page_cache_with_a_delta() {
    it_does_not_disturb_the_node_by_filling_the_page_cache("delta.payload").await;
}

/// A counter of what the daemon has read or written by now, in bytes.
fn counted(daemon: &Daemon, counter: &str) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{}/io", daemon.id())).unwrap();
    let line = counters.lines().find_map(|line| line.strip_prefix(counter));
    line.unwrap().trim_start_matches(':').trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_fast_because_it_writes_each_block_once_and_reads_it_back_once() {
    /// The image, and room for a kernel, records, the journal and the gap before the first
    /// partition.
    const ONCE: u64 = (16 + 5) << 20;
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    let before = ["rchar", "wchar"].map(|counter| counted(&daemon, counter));
    scene.attempt(NEED_REBOOT).await;
    let [read, written] = ["rchar", "wchar"].map(|counter| counted(&daemon, counter));
    let (read, written) = (read - before[0], written - before[1]);
    assert!((16 << 20..ONCE).contains(&written), "{written} bytes written");
    assert!((16 << 20..ONCE).contains(&read), "{read} bytes read");
    let slot = scene.node.disk.slot(SlotName::B);
    assert_eq!(sha256(&slot), sha256(&fixtures::image("new.img")));
    daemon.stop();
}
