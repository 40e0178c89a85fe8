//! What is remembered of updates that did not stay, and what is told about them.

use update_engine::disk::SlotName;
use update_engine::engine::{
    AttemptContext, Checked, DiskChoice, Failure, Node as Engine, Report, Settings, Updater as _,
};
use update_engine::host::Host;
use update_engine::install::PostinstMode;
use update_engine::journal::AttemptFields;
use update_engine::omaha::ErrorCode;
use update_engine::policy::GRANT_TIMEOUT;
use update_engine::status::Trigger;
use update_engine::store::record::{self, Version};

use crate::support::node::{MARKER, Node, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

/// The engine behind a daemon in slot A.
pub(crate) fn engine(node: &Node) -> Engine {
    Engine::new(
        Settings {
            host: Host::new(node.path("/")),
            disk: DiskChoice::Named {
                path: node.disk.path().to_owned(),
                running: SlotName::A,
            },
            postinst: PostinstMode::Run,
        },
        AttemptFields::default(),
    )
}

/// Time passes until whatever a server has granted has timed out.
pub(crate) fn grant_times_out(node: &Node) {
    let path = node.path("/var/lib/update_engine/history");
    let contents = record::load(&path, Version(1)).unwrap().unwrap();
    let mut history: serde_json::Value = serde_json::from_slice(&contents).unwrap();
    let until = history["hold_off"]["until"].as_i64().unwrap();
    history["hold_off"]["until"] = (until - GRANT_TIMEOUT).into();
    record::save(&path, Version(1), &serde_json::to_vec(&history).unwrap()).unwrap();
}

/// What the engine makes of a scheduled check in slot A: the code of its refusal, or nothing if it
/// takes the offer. The real daemon would first wait for minutes.
pub(crate) async fn scheduled_check(scene: &Scene) -> Option<i64> {
    match engine(&scene.node).check(Trigger::Schedule).await {
        Checked::Offer(_) => None,
        Checked::NoUpdate => panic!("an update is offered"),
        Checked::NotAsked(no_update) => panic!("nobody is asked: {}", no_update.reason),
        Checked::Failed(failure) => Some(failure.code.to_string().parse().unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_never_came_up_is_reported_and_installed_again_only_on_demand() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    // Slot B hangs before the daemon; the watchdog resets.
    let daemon = scene.come_back().await;
    let said = "rolled back from version \"2.0.0\": did not come up";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    daemon.stop();

    // By itself: never again, and the first check after the rollback tells of it, once.
    assert_eq!(scheduled_check(&scene).await, Some(35));
    assert_eq!(scene.last_news(), (3, 0, Some(44), None));
    assert_eq!(scheduled_check(&scene).await, Some(35));
    assert_eq!(scene.last_news(), (3, 2, None, Some(String::new())));

    // Across another start, and a reboot.
    let daemon = scene.come_back().await;
    assert_eq!(scheduled_check(&scene).await, Some(35));
    // An operator gets it, and what stays this time is forgiven.
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.configure("HEALTH_SETTLE=0\n");
    let daemon = scene.boot(SlotName::B).await;
    eventually("marked good", || {
        scene.node.disk.attributes(SlotName::B) == (2, 0, 1)
    })
    .await;
    daemon.stop();
    assert_eq!(scheduled_check(&scene).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_reboot_and_a_power_cut_in_the_settling_time_blame_nobody() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.boot(SlotName::B).await.stop();
    let daemon = scene.come_back().await;
    let said = "version \"2.0.0\" went down before it was found healthy; nobody is to blame";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    assert_eq!(scheduled_check(&scene).await, None);
    assert_eq!(scene.last_news(), (3, 2, None, Some(String::new())));
    daemon.stop();

    scene.update().await;
    scene.boot(SlotName::B).await.kill();
    scene.come_back().await.stop();
    assert_eq!(scheduled_check(&scene).await, None);

    // A payload that goes down each time is no accident.
    scene.update().await;
    scene.boot(SlotName::B).await.kill();
    scene.come_back().await.stop();
    assert_eq!(scheduled_check(&scene).await, Some(35));
    assert_eq!(scene.last_news(), (3, 0, Some(44), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_disk_gives_no_more_is_not_forgotten_by_who_has_read_it() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.come_back().await.stop();
    let machine = engine(&scene.node);
    let declined = machine.check(Trigger::Schedule).await;
    assert!(
        matches!(&declined, Checked::Failed(failure) if failure.code == ErrorCode::IgnoredPerPolicy),
        "{declined:?}"
    );
    let record = scene.node.path("/var/lib/update_engine/history");
    std::fs::remove_file(&record).unwrap();
    // Reading it is an input/output error.
    std::os::unix::fs::symlink("/proc/self/mem", &record).unwrap();
    let again = machine.check(Trigger::Schedule).await;
    assert!(
        !matches!(again, Checked::Offer(_)),
        "what is blamed is taken: {again:?}"
    );
    // What changes next brings it back.
    let failure = Failure::new(ErrorCode::DownloadTransfer, "no line");
    let attempt = AttemptContext::new(Trigger::Schedule);
    machine.report(&attempt, &Report::Failed(failure)).await;
    assert!(std::fs::symlink_metadata(&record).unwrap().is_file());
    let again = engine(&scene.node).check(Trigger::Schedule).await;
    assert!(!matches!(again, Checked::Offer(_)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_reset_is_no_rollback() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    scene.attempt(NEED_REBOOT).await;
    // The original says 3/0 with code 44 here.
    assert_eq!(scene.last_news(), (3, 2, None, Some(String::new())));
    daemon.stop();
    let daemon = scene.boot(SlotName::A).await;
    assert!(!daemon.log().contains("rolled back"));
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    daemon.stop();
    assert_eq!(scheduled_check(&scene).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_withdraws_the_reboot_that_the_update_asked_for_and_no_other() {
    const REQUEST: &str = "/run/reboot-required";
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert!(scene.node.path(REQUEST).exists());
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    assert!(!scene.node.path(REQUEST).exists());

    // Somebody else needs the reboot anyway.
    scene.node.write(REQUEST, b"");
    scene.attempt(NEED_REBOOT).await;
    assert!(client(&scene.bus, "-reset_status").await.1.success());
    assert!(scene.node.path(REQUEST).exists());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_withdrawn_with_its_slot_never_boots_and_is_no_rollback() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    engine(&scene.node).withdraw().await.unwrap();
    assert_eq!(scene.node.disk.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    scene.node.disk.assert_table_is_whole();
    assert!(!scene.node.path(MARKER).exists());
    assert!(!scene.node.path("/run/reboot-required").exists());

    let daemon = scene.come_back().await;
    assert!(!daemon.log().contains("rolled back"), "{}", daemon.log());
    daemon.stop();
    assert_eq!(scheduled_check(&scene).await, None);
    // The original says 3/0 with code 44 here.
    assert_eq!(scene.last_news(), (3, 2, None, Some(String::new())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_touches_neither_a_fallback_nor_anything_while_the_running_slot_is_on_trial() {
    let scene = Scene::quiet().await;
    engine(&scene.node).withdraw().await.unwrap();
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));

    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    scene.node.disk.set_attributes(SlotName::B, (1, 1, 0));
    scene.node.write(MARKER, b"");
    let refused = engine(&scene.node).withdraw().await.unwrap_err().to_string();
    assert!(
        refused.contains("the running slot USR-A is not marked good"),
        "{refused}"
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 1, 0));
    assert!(scene.node.path(MARKER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_version_installed_again_is_an_update() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    let pref = "/var/lib/update_engine/prefs/previous-version";
    scene.node.write(pref, b"2.0.0");
    let daemon = scene.boot(SlotName::B).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.last_news(), (3, 2, None, Some("2.0.0".to_owned())));
    daemon.stop();
}
