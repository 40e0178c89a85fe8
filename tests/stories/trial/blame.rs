//! An image that the node rolled back from doesn't come back by itself, whatever package it comes
//! in.

use std::fs;

use payload_format::Sha256Digest;
use tokio::sync::watch;
use update_engine::disk::SlotName;
use update_engine::engine::{AttemptContext, CancelSignal, Checked, Failure, Progress, Report, Updater as _};
use update_engine::install::{InstallError, Voucher};
use update_engine::plan::{BlockedImage, ImageHashes, InstallPlan};
use update_engine::serve::Catalog;
use update_engine::status::{Obstacle, Trigger};

use super::rollback::{engine, grant_times_out, scheduled_check};
use crate::install::v1::{Fate, fate, fixture};
use crate::install::v2::version_2;
use crate::payloads::deltas::{Pair, delta_with_kernel};
use crate::support::installing::plan;
use crate::support::node::{Node, sha256};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

const PRIVATE: i64 = 1 << 28;
const HISTORY: &str = "/var/lib/update_engine/history";
const IMAGES: &str = "/var/lib/update_engine/images";

/// What all payloads of the fixtures make.
fn image() -> ImageHashes {
    ImageHashes {
        slot: Sha256Digest::of(&fixtures::image("new.img")),
        kernel: Some(Sha256Digest::of(&fixture("vmlinuz-new"))),
    }
}

/// One attempt as the schedule makes it, and what the server is told of its failure.
pub(crate) async fn scheduled_attempt(node: &Node) -> Result<(), Failure> {
    let engine = engine(node);
    let mut attempt = AttemptContext::new(Trigger::Schedule);
    let phases = async {
        let plan = match engine.check(Trigger::Schedule).await {
            Checked::Offer((taken, plan)) => {
                attempt = taken;
                plan
            }
            Checked::NoUpdate => panic!("an update is offered"),
            Checked::NotAsked(no_update) => panic!("nobody is asked: {}", no_update.reason),
            Checked::Failed(failure) => return Err(failure),
        };
        let ready = engine.prepare(&mut attempt, plan).await?;
        let (progress, _) = watch::channel(Progress::default());
        let cancel = CancelSignal::default();
        let written = engine
            .download(&mut attempt, ready, progress, cancel.clone())
            .await?;
        engine.finish(&mut attempt, written, cancel).await.map(drop)
    };
    let ended = phases.await;
    if let Err(failure) = &ended {
        let report = Report::Failed(failure.clone());
        engine.report(&attempt, &report).await;
    }
    ended
}

/// The server offers these bytes as `version`.
fn offer(scene: &Scene, version: &str, payload: &[u8]) {
    let path = scene.node.beside(&format!("{}.payload", sha256(payload)));
    fs::write(&path, payload).unwrap();
    scene.server.replace(Some(Catalog::open(version, &path).unwrap()));
}

/// The fixtures' update was installed and never came up.
async fn rolled_back() -> Scene {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.come_back().await.stop();
    scene.server.journal().clear();
    scene
}

fn is_refused(failure: &Failure) {
    assert_eq!(
        (failure.code.number(), failure.obstacle),
        (35, Obstacle::RolledBack),
        "{failure:?}"
    );
    let reason = failure.reason();
    assert!(
        reason.contains("rolled back from version \"2.0.0\" (did not come up)"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_left_is_refused_in_another_package_before_the_first_write_and_then_unasked() {
    let scene = rolled_back().await;
    let slot = || {
        (
            scene.node.disk.attributes(SlotName::B),
            sha256(&scene.node.disk.slot(SlotName::B)),
        )
    };
    let before = slot();
    // The same image and kernel, as another version, in another format.
    offer(&scene, "2.0.1", &version_2());
    let failure = scheduled_attempt(&scene.node).await.unwrap_err();
    is_refused(&failure);
    assert!(
        failure.reason().contains("the payload makes the same image"),
        "{}",
        failure.reason()
    );
    assert_eq!(slot(), before);
    assert_eq!(scene.events().last(), Some(&(3, 9, Some(PRIVATE + 35))));
    assert_eq!(
        scene.server.journal().downloads().len(),
        1,
        "its manifest was read"
    );

    // From now on its hash is enough, for earlier versions of the daemon too.
    grant_times_out(&scene.node);
    let failure = scheduled_attempt(&scene.node).await.unwrap_err();
    is_refused(&failure);
    assert_eq!(
        scene.server.journal().downloads().len(),
        1,
        "nothing of it was asked for"
    );
    assert_eq!(slot(), before);
    let history = String::from_utf8_lossy(&scene.node.read(HISTORY)).into_owned();
    let named = |hash: Sha256Digest| history.contains(&serde_json::to_string(hash.as_bytes()).unwrap());
    assert!(
        named(Sha256Digest::of(&version_2())) && named(Sha256Digest::of(&fixture("full.payload"))),
        "{history}"
    );
    assert!(named(image().slot) && named(image().kernel.unwrap()), "{history}");

    // What makes another image is taken.
    grant_times_out(&scene.node);
    offer(&scene, "2.0.1", &fixtures::signed(&fixtures::image("old.img")));
    assert_eq!(scheduled_check(&scene).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_the_image_in_any_package_and_what_stays_is_forgiven_in_all() {
    let mut scene = rolled_back().await;
    offer(&scene, "2.0.0", &version_2());
    is_refused(&scheduled_attempt(&scene.node).await.unwrap_err());
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.configure("HEALTH_SETTLE=0\n");
    let daemon = scene.boot(SlotName::B).await;
    let is_good = || scene.node.disk.attributes(SlotName::B) == (2, 0, 1);
    eventually("marked good", is_good).await;
    eventually("forgiven", || {
        !String::from_utf8_lossy(&scene.node.read(HISTORY)).contains("did not come up")
    })
    .await;
    daemon.stop();
    assert_eq!(scheduled_check(&scene).await, None);
    offer(&scene, "2.0.0", &fixture("full.payload"));
    assert_eq!(scheduled_check(&scene).await, None);
}

/// The version before knows no images: when it notices the rollback, it blames the payload alone
/// and rewrites the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_noticed_by_the_version_before_blames_the_image_all_the_same() {
    let scene = rolled_back().await;
    let record = scene.node.read(HISTORY);
    let mut history: serde_json::Value = serde_json::from_slice(&record[20..record.len() - 32]).unwrap();
    assert!(
        history["blamed"][0]
            .as_object_mut()
            .unwrap()
            .remove("image")
            .is_some()
    );
    let contents = serde_json::to_vec(&history).unwrap();
    scene
        .node
        .write(HISTORY, &crate::records::record_of_version(1, &contents));
    offer(&scene, "2.0.0", &version_2());
    is_refused(&scheduled_attempt(&scene.node).await.unwrap_err());

    // Without the record of images nothing is known but the payload.
    scene
        .node
        .write(HISTORY, &crate::records::record_of_version(1, &contents));
    fs::remove_file(scene.node.path(IMAGES)).unwrap();
    assert_eq!(scheduled_check(&scene).await, None);
    offer(&scene, "2.0.0", &fixture("full.payload"));
    assert_eq!(scheduled_check(&scene).await, Some(35));
}

/// An installation of `payload` where `image` is blamed.
async fn install(payload: &[u8], image: ImageHashes) -> (Result<(), InstallError>, Node) {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    server.serve("p", payload.to_vec());
    let blocked = BlockedImage {
        image,
        version: "2.0.0".to_owned(),
        cause: "did not come up".to_owned(),
    };
    let plan = InstallPlan {
        blocked_images: vec![blocked],
        ..plan(server.url("p"), payload)
    };
    let installed = node.install(plan).await;
    (installed, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_payloads_and_deltas_of_both_versions_are_known_by_their_image() {
    let pair = Pair::new();
    let delta = fs::read(delta_with_kernel(&pair, "delta", true)).unwrap();
    for (payload, vouched) in [
        (fixture("full.payload"), Voucher::Nobody),
        (fixture("delta.payload"), Voucher::Nobody),
        (version_2(), Voucher::TrustedKey),
        (delta, Voucher::TrustedKey),
    ] {
        let (installed, node) = install(&payload, image()).await;
        let error = installed.unwrap_err();
        assert!(
            matches!(error, InstallError::Blocked { image: made, voucher, .. } if made.is(&image()) && voucher == vouched),
            "{error:?}"
        );
        assert_eq!(fate(&node), Fate::Untouched);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_slot_with_another_kernel_is_another_image() {
    let other = ImageHashes {
        kernel: Some([1; 32].into()),
        ..image()
    };
    install(&version_2(), other).await.0.unwrap();
    let any = ImageHashes {
        kernel: None,
        ..image()
    };
    let (refused, node) = install(&version_2(), any).await;
    assert!(
        matches!(refused, Err(InstallError::Blocked { .. })),
        "{refused:?}"
    );
    assert_eq!(fate(&node), Fate::Untouched);
}

/// Whoever sits between server and node can give any manifest, but no signature of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_nobody_vouched_for_holds_nothing_against_its_package() {
    let scene = rolled_back().await;
    offer(&scene, "2.0.0", &fixture("delta.payload"));
    scene
        .node
        .write("/var/lib/update_engine/prefs/delta-update-failures", b"0");
    let history = scene.node.read(HISTORY);
    let blamed = |history: &[u8]| {
        let json: serde_json::Value = serde_json::from_slice(&history[20..history.len() - 32]).unwrap();
        json["blamed"].as_array().unwrap().len()
    };
    assert_eq!(blamed(&history), 1);
    is_refused(&scheduled_attempt(&scene.node).await.unwrap_err());
    assert_eq!(blamed(&scene.node.read(HISTORY)), 1);
    assert_eq!(
        scene.node.pref("delta-update-failures").as_deref(),
        Some("0"),
        "the delta has not failed"
    );
}
