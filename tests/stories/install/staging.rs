//! Updates that are staged, and activated by order or by an orderly reboot: docs/staging.md.

mod unreadable;

use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use update_engine::disk::SlotName;
use update_engine::serve::Catalog;
use update_engine::status::{AttemptReport, AttemptState, EngineState, Overview};

use super::extra_partitions::{self, OEM_A, OEM_B, PAIR};
use crate::support::image::Attributes;
use crate::support::loops::may_mount;
use crate::support::node::{Daemon, KERNEL_B, MARKER, client};
use crate::support::payload::signed;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

const RECORD: &str = "/var/lib/update_engine/staged";
const REBOOT_REQUIRED: &str = "/run/reboot-required";
/// Attributes of a slot that no loader takes, and of one that is to be tried.
const UNBOOTABLE: Attributes = (0, 0, 0);
const NEXT: Attributes = (2, 1, 0);
const COMPLETE: (u32, u32, Option<i64>) = (3, 1, None);

/// A node whose updates are activated as `activate` says.
async fn scene(activate: &str) -> Scene {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node = scene.node.without_postinst();
    scene.configure(&format!("ACTIVATE={activate}\n"));
    scene
}

/// A node on which an update is staged, and its daemon.
async fn staged(activate: &str) -> (Scene, Daemon) {
    let mut scene = scene(activate).await;
    let daemon = scene.boot(SlotName::A).await;
    let end = if activate == "reboot" { NEED_REBOOT } else { IDLE };
    scene.attempt(end).await;
    is_staged(&scene).await;
    (scene, daemon)
}

async fn is_staged(scene: &Scene) -> Overview {
    let overview = scene
        .overview(|overview| {
            matches!(overview.state, EngineState::Staged | EngineState::StagedForReboot)
                && !overview.slots.is_empty()
        })
        .await;
    assert_eq!(overview.waiting_version, "2.0.0");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
    assert!(scene.node.path(RECORD).exists());
    for announced in [MARKER, REBOOT_REQUIRED] {
        assert!(!scene.node.path(announced).exists(), "{announced}");
    }
    assert!(!scene.events().contains(&COMPLETE), "{:?}", scene.events());
    overview
}

async fn outcomes(scene: &Scene) -> Vec<AttemptState> {
    let attempts = AttemptReport::read_all(&scene.bus.connect().await).await;
    attempts.unwrap().iter().map(|attempt| attempt.outcome).collect()
}

async fn activate(scene: &Scene) -> (String, bool) {
    client_command(scene, "activate").await
}

async fn client_command(scene: &Scene, command: &str) -> (String, bool) {
    let mut process = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    process.arg(command);
    let output = tokio::process::Command::from(process).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_update_survives_power_cuts_and_boots_once_an_order_has_come() {
    let (mut scene, daemon) = staged("order").await;
    assert_eq!(outcomes(&scene).await, [AttemptState::Staged]);
    daemon.kill();
    assert_eq!(
        scene.node.reboot(),
        SlotName::A,
        "the old version, after a power cut"
    );

    let daemon = scene.boot(SlotName::A).await;
    is_staged(&scene).await;
    let (said, is_done) = activate(&scene).await;
    assert!(is_done, "{said}");
    scene.signals_until(NEED_REBOOT).await;
    assert_eq!(scene.node.disk.attributes(SlotName::B), NEXT);
    assert!(scene.node.path(MARKER).exists() && scene.node.path(REBOOT_REQUIRED).exists());
    assert!(!scene.node.path(RECORD).exists());
    assert_eq!(scene.events().last(), Some(&COMPLETE));
    assert_eq!(outcomes(&scene).await, [AttemptState::Waiting]);
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    scene.server.journal().clear();
    let _daemon = scene.boot(SlotName::B).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.last_news(), (3, 2, None, Some("1.0.0".to_owned())));
    assert!(scene.events().is_empty(), "it was told before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_reboot_activates_it_and_the_new_version_tells_the_server() {
    let (mut scene, daemon) = staged("reboot").await;
    let overview = is_staged(&scene).await;
    assert_eq!(overview.state, EngineState::StagedForReboot);
    let output = scene.node.activate_at_reboot();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), NEXT);
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    scene.server.journal().clear();
    let _daemon = scene.boot(SlotName::B).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events(), [COMPLETE]);
    assert_eq!(scene.last_news(), (3, 2, None, Some("1.0.0".to_owned())));
    assert!(!scene.node.path(RECORD).exists());
    assert!(matches!(
        outcomes(&scene).await[..],
        [AttemptState::OnTrial | AttemptState::Kept]
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_activates_nothing_that_no_daemon_holds_or_that_waits_for_an_order() {
    let (scene, daemon) = staged("reboot").await;
    // Killed: nobody vouches any more for what was read.
    daemon.kill();
    let output = scene.node.activate_at_reboot();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);

    let (scene, _daemon) = staged("order").await;
    let output = scene.node.activate_at_reboot();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
    assert_eq!(scene.node.reboot(), SlotName::A);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_withdrawal_a_manager_that_has_seen_it_reboots_into_the_old_version() {
    for withdrawal in ["-reset_status", "reset"] {
        let (scene, daemon) = staged("reboot").await;
        let (said, status) = client(&scene.bus, withdrawal).await;
        assert!(status.success(), "{said}");
        assert!(!scene.node.path(RECORD).exists());
        let output = scene.node.activate_at_reboot();
        assert!(output.status.success(), "nothing is staged: {output:?}");
        assert!(!activate(&scene).await.1);
        daemon.stop();
        assert_eq!(scene.node.reboot(), SlotName::A, "{withdrawal}");
        assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_changed_while_nobody_held_it_is_not_activated() {
    let (mut scene, daemon) = staged("order").await;
    daemon.stop();
    scene.node.disk.write(SlotName::B, 4096, b"somebody was here");
    let _daemon = scene.boot(SlotName::A).await;
    is_forgotten(&scene, "USR-B has SHA-256").await;
    // The next check installs it anew.
    scene.attempt(IDLE).await;
    is_staged(&scene).await;
}

/// What was staged is found changed: nothing activates it any more.
async fn is_forgotten(scene: &Scene, why: &str) {
    let failed = scene
        .overview(|overview| overview.last_failure.0.is_some() && overview.state == EngineState::Idle)
        .await;
    let failure = failed.last_failure.0.unwrap();
    assert_eq!(failure.code, 15);
    assert!(failure.sentence.contains(why), "{failure:?}");
    assert!(!scene.node.path(RECORD).exists());
    assert!(!activate(scene).await.1);
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_brought_is_read_back_and_held_as_the_slot_is() {
    let directory = tempfile::tempdir().unwrap();
    let payload = directory.path().join("payload");
    std::fs::write(&payload, extra_partitions::payload(&[0x11; 5000])).unwrap();
    let mut scene = Scene::offering(&payload).await;
    scene.node = scene.node.without_postinst();
    for oem in [OEM_A, OEM_B] {
        scene.node.write(oem, &[0xbb; 8192]);
    }
    scene.configure(&format!("ACTIVATE=order\nPARTITION_oem={PAIR}\n"));
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    is_staged(&scene).await;
    let lock = || {
        let file = std::fs::File::open(scene.node.path(OEM_B)).unwrap();
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
    };
    assert!(lock().is_err(), "nobody else may have it");
    daemon.stop();

    assert!(lock().is_ok());
    let mut contents = scene.node.read(OEM_B);
    contents[4000] ^= 1;
    scene.node.write(OEM_B, &contents);
    let _daemon = scene.boot(SlotName::A).await;
    is_forgotten(&scene, "OEM-B has SHA-256").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_boot_is_not_activated_and_the_reason_is_told() {
    let (scene, _daemon) = staged("order").await;
    scene.configure("EXTENSIONS=podman\n");
    let (said, is_done) = activate(&scene).await;
    assert!(!is_done && said.contains("podman"), "{said}");
    scene.configure("");

    let (scene, _daemon) = staged("order").await;
    std::fs::remove_file(scene.node.path(KERNEL_B)).unwrap();
    let (said, is_done) = activate(&scene).await;
    assert!(!is_done && said.contains("vmlinuz-b is missing"), "{said}");

    let (scene, _daemon) = staged("order").await;
    scene.node.disk.set_attributes(SlotName::A, (2, 1, 0));
    let (said, is_done) = activate(&scene).await;
    assert!(!is_done && said.contains("not marked good"), "{said}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_changed_counts_for_what_is_staged_too() {
    let (mut scene, daemon) = staged("order").await;
    daemon.stop();
    let config = String::from_utf8(scene.node.read("/etc/flatcar/update.conf")).unwrap();
    let config = config.replace("ACTIVATE=order", "ACTIVATE=at-once");
    scene.node.write("/etc/flatcar/update.conf", config.as_bytes());
    let _daemon = scene.boot(SlotName::A).await;
    eventually("it is activated", || {
        scene.node.disk.attributes(SlotName::B) == NEXT
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_three_orderly_reboots_without_activation_no_reboot_is_asked_for_any_more() {
    let (mut scene, mut daemon) = staged("reboot").await;
    let boots = [true, false, false, true, false, true];
    for (boot, is_orderly) in boots.into_iter().enumerate() {
        let overview = is_staged(&scene).await;
        assert_eq!(overview.state, EngineState::StagedForReboot, "boot {boot}");
        // A power cut says nothing.
        daemon.kill();
        if is_orderly {
            let output = scene.node.activate_at_reboot();
            assert!(!output.status.success(), "nobody holds it: {output:?}");
        }
        assert_eq!(scene.node.reboot(), SlotName::A);
        daemon = scene.boot(SlotName::A).await;
    }
    let overview = is_staged(&scene).await;
    assert_eq!(overview.state, EngineState::Staged);
    assert!(
        overview.summary.contains("3 orderly reboots"),
        "{}",
        overview.summary
    );
    let output = scene.node.activate_at_reboot();
    assert!(output.status.success(), "a reboot activates it still: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_takes_back_what_a_reboot_has_activated_and_one_that_fails_says_so() {
    let (scene, _daemon) = staged("reboot").await;
    let lock = scene.node.path("/run/update_engine/staging.lock");
    let file = std::fs::File::create(lock).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    for withdrawal in ["-reset_status", "reset"] {
        let (said, status) = client(&scene.bus, withdrawal).await;
        assert!(!status.success(), "another program activates it: {said}");
        assert!(scene.node.path(RECORD).exists());
        is_staged(&scene).await;
    }
    drop(lock);
    let output = scene.node.activate_at_reboot();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), NEXT);
    let (said, status) = client(&scene.bus, "-reset_status").await;
    assert!(status.success(), "{said}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reboot_has_activated_counts_as_installed_although_it_never_came_up() {
    let (mut scene, daemon) = staged("reboot").await;
    assert_eq!(is_staged(&scene).await.installed_updates, Some(0));
    let output = scene.node.activate_at_reboot();
    assert!(output.status.success(), "{output:?}");
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    assert_eq!(scene.node.reboot(), SlotName::A);
    let _daemon = scene.boot(SlotName::A).await;
    let counted = |overview: &Overview| overview.installed_updates == Some(1);
    scene.overview(counted).await;
    assert!(!scene.node.path(RECORD).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_activated_right_before_the_daemon_ended_is_told_by_the_new_version() {
    let (mut scene, daemon) = staged("order").await;
    daemon.kill();
    scene.node.disk.set_attributes(SlotName::A, (1, 0, 1));
    scene.node.disk.set_attributes(SlotName::B, NEXT);
    let daemon = scene.boot(SlotName::A).await;
    assert!(scene.node.path(MARKER).exists());
    assert!(!scene.events().contains(&COMPLETE), "{:?}", scene.events());
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    scene.server.journal().clear();
    let _daemon = scene.boot(SlotName::B).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events(), [COMPLETE]);
    assert!(!scene.node.path(RECORD).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_the_running_version_is_noted_once_more() {
    let (mut scene, daemon) = staged("order").await;
    daemon.kill();
    let noted = "/var/lib/update_engine/prefs/previous-version";
    assert_eq!(scene.node.read(noted), b"1.0.0");
    scene.node.write(noted, b"");
    let _daemon = scene.boot(SlotName::A).await;
    is_staged(&scene).await;
    assert_eq!(scene.node.read(noted), b"1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_switched_off_since_is_no_obstacle() {
    let (scene, _daemon) = staged("order").await;
    scene.node.write("/etc/flatcar/enabled-sysext.conf", b"-podman\n");
    let (said, is_done) = activate(&scene).await;
    assert!(is_done, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_reboot_that_a_killed_postinst_has_left_is_withdrawn() {
    let (mut scene, daemon) = staged("order").await;
    daemon.kill();
    scene.node.write("/run/update_engine/no-reboot-required", b"");
    scene.node.write(REBOOT_REQUIRED, b"");
    let _daemon = scene.boot(SlotName::A).await;
    is_staged(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_keeps_a_postinst_from_the_table_nothing_is_staged() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("ACTIVATE=order\n");
    let _daemon = scene.boot(SlotName::A).await;
    let before = scene.node.disk.attributes(SlotName::B);
    scene.attempt(IDLE).await;
    let overview = scene.overview(|overview| overview.last_failure.0.is_some()).await;
    let failure = overview.last_failure.0.unwrap();
    assert_eq!(failure.code, 5);
    let causes = failure.causes.concat();
    assert!(causes.contains("ACTIVATE has to be at-once"), "{causes}");
    assert_eq!(
        scene.node.disk.attributes(SlotName::B),
        before,
        "nothing was touched"
    );
}

/// An orderly reboot has looked at the record and the hold, and is about to write the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_staged_update_is_not_overwritten_while_another_program_activates_it() {
    let (mut scene, _daemon) = staged("reboot").await;
    scene.configure("REPLACE_WAITING_UPDATE=yes\n");
    let directory = tempfile::tempdir().unwrap();
    let (image, payload) = (directory.path().join("image"), directory.path().join("update.gz"));
    std::fs::write(&image, fixtures::image("old.img")).unwrap();
    signed(&image, "vmlinuz-old", &payload);
    scene
        .server
        .replace(Some(Catalog::open("3.0.0", &payload).unwrap()));
    let file = std::fs::File::create(scene.node.path("/run/update_engine/staging.lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let staged = scene.node.disk.slot(SlotName::B);
    scene.attempt(NEED_REBOOT).await;
    assert!(scene.node.disk.slot(SlotName::B) == staged, "it was written");
    let overview = is_staged(&scene).await;
    let causes = overview.last_failure.0.unwrap().causes.concat();
    assert!(causes.contains("another program has been activating"), "{causes}");
    drop(lock);
    // The control: nobody activates it.
    scene.attempt(NEED_REBOOT).await;
    assert!(scene.node.disk.slot(SlotName::B) != staged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_leaves_the_extensions_of_a_slot_that_somebody_has_marked_good() {
    for (is_good, stays) in [(true, true), (false, false)] {
        let (scene, _daemon) = staged("order").await;
        let directory = "/var/lib/update_engine/extensions/0.9.0";
        scene.node.write(&format!("{directory}/.update-engine"), b"USR-B");
        scene.configure("EXTENSIONS=oem-test\n");
        if is_good {
            scene.node.disk.set_attributes(SlotName::B, (1, 0, 1));
        }
        let (said, status) = client(&scene.bus, "-reset_status").await;
        assert!(status.success(), "{said}");
        assert!(!scene.node.path(RECORD).exists());
        assert_eq!(scene.node.path(directory).exists(), stays);
    }
}
