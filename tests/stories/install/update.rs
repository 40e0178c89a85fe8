//! A node updates itself: the real daemon and client on a real bus, a real server, a real disk
//! image.

use std::path::Path;

use update_engine::bus::StatusFields;
use update_engine::disk::SlotName;

use crate::support::node::{KERNEL_B, MARKER, client, sha256};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, operations};
use test_support::fixtures;

/// Offers it to a node that runs the old image, and sees the new one installed.
pub(crate) async fn a_payload_is_installed(payload: &Path, kernel: &str) {
    let mut scene = Scene::offering(payload).await;
    let before = scene.node.disk.rest();
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(NEED_REBOOT).await;

    let size = std::fs::metadata(payload).unwrap().len();
    reboot_managers_saw_it_all(&signals, size.try_into().unwrap());
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), (3, 1, None)]);
    let downloads = scene.server.journal().downloads();
    assert_eq!(downloads.len(), 1);
    assert_eq!(downloads[0].range, None);
    the_disk_is_as_it_must_be(&scene, kernel);
    assert!(
        scene.node.disk.rest() == before,
        "bytes outside slot B and the table changed"
    );

    let (status, exit) = client(&scene.bus, "-status").await;
    assert!(exit.success());
    let expected = "CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\nNEW_VERSION=2.0.0\n";
    assert!(status.contains(expected), "{status}");
    assert!(daemon.stop().success());
}

fn reboot_managers_saw_it_all(signals: &[StatusFields], size: i64) {
    assert_eq!(
        operations(signals),
        [
            "CHECKING_FOR_UPDATE",
            "UPDATE_AVAILABLE",
            "DOWNLOADING",
            "FINALIZING",
            "UPDATED_NEED_REBOOT"
        ]
    );
    for signal in &signals[1..] {
        assert_eq!((signal.3.as_str(), signal.4), ("2.0.0", size));
        assert!(signal.0 > 0, "the time of the check is shown");
    }
    let downloading = signals.iter().filter(|signal| signal.2.ends_with("DOWNLOADING"));
    let progress: Vec<f64> = downloading.map(|signal| signal.1).collect();
    assert!(progress.is_sorted() && progress[0] > 0.0, "{progress:?}");
    assert!((progress.last().unwrap() - 1.0).abs() < f64::EPSILON);
}

fn the_disk_is_as_it_must_be(scene: &Scene, kernel: &str) {
    let node = &scene.node;
    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    node.disk.assert_table_is_whole();
    assert_eq!(node.disk.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(node.disk.attributes(SlotName::B), (2, 1, 0));
    let kernel = std::fs::read(fixtures::payload(kernel)).unwrap();
    assert_eq!(sha256(&node.read(KERNEL_B)), sha256(&kernel));
    assert!(node.path(MARKER).exists());
    assert!(node.path("/run/reboot-required").exists());
    assert_eq!(node.pref("previous-version").as_deref(), Some("1.0.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_payload_is_installed_end_to_end() {
    a_payload_is_installed(&fixtures::payload("full.payload"), "vmlinuz-new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_payload_is_installed_end_to_end() {
    // It brings no kernel: the running one is copied, so that no stale one boots.
    a_payload_is_installed(&fixtures::payload("delta.payload"), "vmlinuz-old").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_slot_boots_and_is_marked_good() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    let slot = scene.node.reboot();
    assert_eq!(slot, SlotName::B);
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 0));
    scene.node.run_version("2.0.0");
    scene.server.journal().clear();
    let daemon = scene.boot(slot).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(operations(&signals), ["CHECKING_FOR_UPDATE", "IDLE"]);
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 1));
    scene.node.disk.assert_table_is_whole();
    let exchanges = scene.server.journal().exchanges();
    let event = exchanges[0].events().next().unwrap();
    assert_eq!((event.kind, event.result), (3, 2));
    assert_eq!(event.previous_version.as_deref(), Some("1.0.0"));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_daemon_still_waits_for_the_reboot_and_a_reset_forgets_it() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    let daemon = scene.node.start(&scene.bus, SlotName::A);
    let status = scene.signal().await;
    assert_eq!(status, (0, 0.0, NEED_REBOOT.to_owned(), "0.0.0".to_owned(), 0));
    // A daemon that marked the running slot good now would put it before the new one.
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    // Whoever shows what was last signalled would show for ever that a reboot is needed.
    let status = scene.signal().await;
    assert_eq!(status, (0, 0.0, IDLE.to_owned(), "0.0.0".to_owned(), 0));
    assert!(!scene.node.path(MARKER).exists());
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    assert_eq!(scene.node.pref("previous-version").as_deref(), Some("1.0.0"));
    let (status, _) = client(&scene.bus, "-status").await;
    assert!(
        status.contains("CURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\n"),
        "{status}"
    );
    daemon.stop();
}
