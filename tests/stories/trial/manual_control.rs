//! Manual control of slots: an operator's rollback, and marking the running slot good.

use update_engine::bus::Engine1Proxy;
use update_engine::disk::SlotName;
use update_engine::status::EngineState;

use crate::support::health::require_a_file;
use crate::support::node::{Daemon, KERNEL_B, MARKER, client};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

async fn engine(scene: &Scene) -> Engine1Proxy<'static> {
    Engine1Proxy::new(&scene.bus.connect().await).await.unwrap()
}

/// The sentence with which the engine refuses.
fn refusal(result: zbus::Result<()>) -> String {
    match result {
        Err(zbus::Error::MethodError(name, text, _)) => {
            assert_eq!(name.as_str(), "org.updateengine.Error.Refused");
            text.unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// A node that was updated to version 2.0.0 in slot B, which was marked good by order.
async fn kept() -> (Scene, Daemon) {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    let daemon = scene.boot(SlotName::B).await;
    engine(&scene).await.mark_good().await.unwrap();
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 1));
    assert_eq!(scene.node.disk.attributes(SlotName::A), (1, 0, 1));
    (scene, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_boots_the_slot_that_was_good_and_is_remembered() {
    let (mut scene, daemon) = kept().await;
    engine(&scene).await.roll_back().await.unwrap();
    scene.signals_until(NEED_REBOOT).await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
    assert_eq!(
        scene.node.disk.attributes(SlotName::B),
        (1, 0, 1),
        "the running slot stays selectable"
    );
    scene.node.disk.assert_table_is_whole();
    assert!(scene.node.path(MARKER).exists());
    let told = scene
        .overview(|overview| overview.state == EngineState::RollbackNeeded)
        .await;
    assert_eq!(
        told.summary,
        "the other slot (1.0.0) boots next: reboot to roll back"
    );

    daemon.stop();
    let daemon = scene.boot(SlotName::B).await;
    let told = scene.overview(|overview| !overview.slots.is_empty()).await;
    assert_eq!(
        (told.state, told.waiting_version.as_str()),
        (EngineState::RollbackNeeded, "1.0.0"),
        "also after a restart"
    );
    daemon.stop();
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));

    let _daemon = scene.come_back().await;
    let told = scene.overview(|overview| overview.rollback.0.is_some()).await;
    assert_eq!(told.state, EngineState::Idle);
    let rollback = told.rollback.0.unwrap();
    assert_eq!(
        (rollback.version.as_str(), rollback.cause.as_str()),
        ("2.0.0", "rolled back by the operator")
    );
    assert!(rollback.payload_sha256.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_is_taken_back_leaves_the_running_slot_first() {
    let (scene, _daemon) = kept().await;
    let engine = engine(&scene).await;
    engine.roll_back().await.unwrap();
    engine.reset(true).await.unwrap();
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 1));
    assert_eq!(scene.node.disk.attributes(SlotName::A), (1, 0, 1));
    assert!(!scene.node.path(MARKER).exists());
    let told = scene
        .overview(|overview| overview.state == EngineState::Idle)
        .await;
    assert_eq!(told.rollback, None.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_is_taken_back_in_the_table_leaves_no_blame_on_the_running_slot() {
    let (mut scene, _daemon) = kept().await;
    engine(&scene).await.roll_back().await.unwrap();
    scene.signals_until(NEED_REBOOT).await;
    let is_blamed = || {
        let history = scene.node.read("/var/lib/update_engine/history");
        String::from_utf8_lossy(&history).contains("rolled back by the operator")
    };
    assert!(is_blamed(), "it is left, and so is what it holds");
    scene.node.disk.set_attributes(SlotName::B, (2, 0, 1));
    scene.node.disk.set_attributes(SlotName::A, (1, 0, 1));
    assert!(client(&scene.bus, "-check_for_update").await.1.success());
    eventually("nothing is blamed", || !is_blamed()).await;
    assert!(!scene.node.path(MARKER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_back_to_a_slot_that_was_not_good_or_has_no_kernel() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    let engine = engine(&scene).await;
    engine.mark_good().await.unwrap();

    scene.node.disk.set_attributes(SlotName::B, (1, 1, 0));
    assert_eq!(
        refusal(engine.roll_back().await),
        "USR-B is not marked good (priority=1 tries=1 successful=0): it never was, or an installation has begun to write it"
    );
    scene.node.disk.set_attributes(SlotName::B, (1, 0, 1));
    scene.node.write(KERNEL_B, b"");
    assert_eq!(
        refusal(engine.roll_back().await),
        "USR-B has no kernel at /boot/flatcar/vmlinuz-b"
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));
    assert!(!scene.node.path(MARKER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_update_waits_neither_slot_is_touched_by_hand() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let engine = engine(&scene).await;
    assert_eq!(
        refusal(engine.roll_back().await),
        "a rollback has no meaning while an update waits for the reboot"
    );
    assert_eq!(
        refusal(engine.mark_good().await),
        "marking the running slot good has no meaning while an update waits for the reboot"
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_mark_a_slot_good_that_its_checks_hold_back() {
    let mut scene = Scene::quiet().await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;
    eventually("the check has failed", || daemon.log().contains("exit code 7")).await;
    engine(&scene).await.mark_good().await.unwrap();
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
    let told = scene.overview(|overview| overview.trial.is_empty()).await;
    assert_eq!(told.trial, "");
}
