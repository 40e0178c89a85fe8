//! The marker that says that an update waits for the reboot counts while the partition table
//! agrees: operators turn the slots round by hand, and a daemon may be cut right before it leaves
//! the marker.

use std::time::Duration;

use update_engine::disk::SlotName;
use update_engine::status::{AttemptReport, AttemptState, EngineState};

use crate::support::node::{MARKER, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;

const REBOOT_REQUIRED: &str = "/run/reboot-required";

/// As `cgpt prioritize` leaves it: the new slot keeps its try, behind the running one.
fn put_running_slot_first(scene: &Scene) {
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 1));
    scene.node.disk.set_attributes(SlotName::B, (1, 1, 0));
}

/// Waits until the history of attempts says that they ended so.
async fn they_ended(scene: &Scene, expected: &[AttemptState]) {
    let connection = scene.bus.connect().await;
    let wait = async {
        loop {
            let attempts = AttemptReport::read_all(&connection).await.unwrap();
            let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
            if outcomes == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), wait).await;
    ended.unwrap_or_else(|_| panic!("never {expected:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_the_table_contradicts_is_taken_away_at_the_next_start() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    // While the table agrees it counts, as ever.
    let daemon = scene.boot(SlotName::A).await;
    assert!(client(&scene.bus, "-status").await.0.contains(NEED_REBOOT));
    let overview = scene.overview(|overview| !overview.slots.is_empty()).await;
    assert_eq!(
        (overview.state, overview.slots[1].tries),
        (EngineState::RebootNeeded, 1)
    );
    they_ended(&scene, &[AttemptState::Waiting]).await;
    daemon.stop();

    put_running_slot_first(&scene);
    let _daemon = scene.boot(SlotName::A).await;
    assert!(client(&scene.bus, "-status").await.0.contains(IDLE));
    let overview = scene.overview(|overview| !overview.slots.is_empty()).await;
    assert_eq!(
        (overview.state, overview.waiting_version.as_str()),
        (EngineState::Idle, "")
    );
    they_ended(&scene, &[AttemptState::Withdrawn]).await;
    assert!(!scene.node.path(MARKER).exists());
    assert!(!scene.node.path(REBOOT_REQUIRED).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_waits_looks_at_the_table_before_it_answers_that_an_update_waits() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    // With nothing changed, an attempt comes to nothing: one does wait.
    assert!(client(&scene.bus, "-check_for_update").await.1.success());
    put_running_slot_first(&scene);
    let signals = scene.attempt(NEED_REBOOT).await;
    assert_eq!(signals[0].2, IDLE, "nothing waits any more");
    assert_eq!(signals[1].2, "UPDATE_STATUS_CHECKING_FOR_UPDATE");
    they_ended(&scene, &[AttemptState::Withdrawn, AttemptState::Waiting]).await;
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reset_the_status_says_that_the_other_slot_boots_next_all_the_same() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    let overview = scene
        .overview(|overview| overview.state == EngineState::Idle)
        .await;
    assert_eq!(
        overview.summary,
        "nothing is under way; the other slot boots next"
    );
    they_ended(&scene, &[AttemptState::Waiting]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_committed_right_before_the_daemon_died_waits_for_the_reboot() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    // It is killed as it begins to leave the marker.
    let marker = scene.node.path(MARKER);
    scene.node.before = format!(
        r#"exec strace -f -o /dev/null -P '{}' -e trace=openat -e inject=openat:signal=SIGKILL "$0" "$@""#,
        marker.display()
    );
    let daemon = scene.boot(SlotName::A).await;
    assert!(client(&scene.bus, "-check_for_update").await.1.success());
    assert!(!daemon.ended().success());
    assert!(!marker.exists());
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));

    // As it was left by one that was cut a little earlier. Without it no success is told after the
    // reboot.
    scene
        .node
        .write("/var/lib/update_engine/prefs/previous-version", b"");
    scene.node.before = ":".to_owned();
    let daemon = scene.boot(SlotName::A).await;
    assert!(client(&scene.bus, "-status").await.0.contains(NEED_REBOOT));
    assert_eq!(scene.node.pref("previous-version").as_deref(), Some("1.0.0"));
    they_ended(&scene, &[AttemptState::Waiting]).await;
    assert!(marker.exists() && scene.node.path(REBOOT_REQUIRED).exists());
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
}
