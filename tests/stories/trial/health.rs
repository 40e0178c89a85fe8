//! The health gate: what keeps a freshly booted slot, and what sends the node back.

use std::time::{Duration, Instant};

use update_engine::disk::SlotName;
use update_engine::serve::Ask;
use update_engine::systemd::Systemd;

use crate::support::environment_rerun::{again, message};
use crate::support::health::{REBOOT, become_healthy, require_a_file};
use crate::support::scene::{Asked as _, IDLE, NEED_REBOOT, Scene, eventually, operations};
use crate::support::systemd::FakeSystemd;
use test_support::bus::{Accounts, PrivateBus};
use test_support::fixtures;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_trial_installs_nothing_until_its_checks_hold() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    scene.configure("HEALTH_SETTLE=1\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;

    let said =
        "health check /etc/update-engine/health.d/50-api ended with exit code 7: no answer on port 6443";
    eventually("the check has failed", || daemon.log().contains(said)).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(operations(&signals), ["CHECKING_FOR_UPDATE", "IDLE"]);
    assert_eq!(signals.last().unwrap().0, 0, "that was no check");
    // A ping, and no question; no event either, since any 3/2 would let other nodes of a server go
    // on.
    assert_eq!(scene.events(), []);
    assert!(
        scene
            .server
            .questions()
            .iter()
            .all(|question| question.asks == [Ask::Ping])
    );
    let told = said.split(": ").next().unwrap();
    assert!(
        daemon
            .log()
            .contains(&format!("the running slot is on trial: {told}"))
    );
    assert_eq!(scene.server.journal().downloads(), []);
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 0));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));

    become_healthy(&scene.node);
    eventually("marked good", || {
        scene.node.disk.attributes(SlotName::A) == (2, 0, 1)
    })
    .await;
    scene.attempt(NEED_REBOOT).await;
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_unit_fails_is_left_at_the_deadline_and_the_cause_is_known_in_the_other_one() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let systemd = FakeSystemd::start(&scene.bus).await;
    scene.update().await;
    scene.configure("HEALTH_UNITS=containerd.service kubelet\nHEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    systemd.set("containerd.service", "active");
    systemd.set("kubelet.service", "failed");
    let daemon = scene.boot(SlotName::B).await;
    eventually("a reboot", || scene.node.path(REBOOT).exists()).await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 0));
    daemon.stop();

    let daemon = scene.come_back().await;
    let said = "rolled back from version \"2.0.0\": unit kubelet.service is failed";
    assert!(daemon.log().contains(said), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_again_and_again_does_not_put_off_the_deadline() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=3\n");
    require_a_file(&scene.node);
    let left = || scene.node.path(REBOOT).exists();
    let begun = Instant::now();
    while !left() {
        assert!(begun.elapsed() < PATIENCE, "the deadline never comes");
        let daemon = scene.node.start(&scene.bus, SlotName::B);
        let looks = || daemon.log().matches("no answer on port 6443").count();
        let before = looks();
        eventually("a look or the end", || looks() > before || left()).await;
        daemon.kill();
    }
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_active_for_the_settling_time_keep_the_slot() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let systemd = FakeSystemd::start(&scene.bus).await;
    scene.update().await;
    scene.configure("HEALTH_UNITS=kubelet\nHEALTH_SETTLE=1\n");
    let daemon = scene.boot(SlotName::B).await;
    eventually("no such unit", || {
        daemon.log().contains("unit kubelet.service is not found")
    })
    .await;
    systemd.set("kubelet.service", "active");
    eventually("marked good", || {
        scene.node.disk.attributes(SlotName::B) == (2, 0, 1)
    })
    .await;
    assert!(!scene.node.path(REBOOT).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_nowhere_to_go_stays_says_so_and_is_kept_once_it_is_healthy() {
    let mut scene = Scene::quiet().await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    scene.node.disk.set_attributes(SlotName::B, (1, 0, 0));
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=1\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;
    let said = "it stays, since USR-B is not good (priority=1 tries=0 successful=0)";
    eventually("it stays", || daemon.log().contains(said)).await;
    become_healthy(&scene.node);
    eventually("marked good", || {
        scene.node.disk.attributes(SlotName::A) == (2, 0, 1)
    })
    .await;
    assert!(!scene.node.path(REBOOT).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_without_its_kernel_is_none() {
    let mut scene = Scene::quiet().await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    std::fs::remove_file(scene.node.path("/boot/flatcar/vmlinuz-b")).unwrap();
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=1\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;
    let said = "it stays, since USR-B has no kernel at /boot/flatcar/vmlinuz-b";
    eventually("it stays", || daemon.log().contains(said)).await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_somebody_marks_good_meanwhile_stays() {
    let mut scene = Scene::quiet().await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;
    eventually("the check has failed", || {
        daemon.log().contains("no answer on port 6443")
    })
    .await;
    // As flatcar-setgoodroot does.
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 1));
    let said = "the running slot was marked good by somebody else";
    eventually("it stays", || daemon.log().contains(said)).await;
    assert!(!scene.node.path(REBOOT).exists());
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_machine_is_rebooted_in_an_orderly_way_by_systemd() {
    if message().is_some() {
        assert!(!Systemd.is_rebooting().await.unwrap(), "it only goes down");
        Systemd.reboot().await.unwrap();
        assert!(Systemd.is_rebooting().await.unwrap());
        return;
    }
    let bus = PrivateBus::start(Accounts::Ours);
    let systemd = FakeSystemd::start(&bus).await;
    let test = concat!(
        module_path!(),
        "::a_real_machine_is_rebooted_in_an_orderly_way_by_systemd"
    );
    // Other ways down are no reboot.
    for target in [
        "poweroff.target",
        "kexec.target",
        "soft-reboot.target",
        "shutdown.target",
    ] {
        systemd.set(target, "started, replace-irreversibly");
    }
    let address = bus.address().to_owned();
    let child = move || again(test, "reboot", &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
    tokio::task::spawn_blocking(child).await.unwrap();
    let state = systemd.state("reboot.target");
    assert_eq!(state.as_deref(), Some("started, replace-irreversibly"));
}
