//! The reboot manager and updates that are staged: docs/staging.md.

use update_engine::disk::SlotName;

use super::manager::Machine;
use super::manners::far_window;
use crate::support::image::Attributes;
use crate::support::node::client;
use crate::support::scene::{IDLE, NEED_REBOOT};

const UNBOOTABLE: Attributes = (0, 0, 0);

/// A node on which an update is staged, whose manager reboots at any time unless `lines` say
/// otherwise.
async fn staged(activate: &str, lines: &str) -> Machine {
    let lines = format!("REBOOT_STRATEGY=reboot\nACTIVATE={activate}\n{lines}");
    let mut machine = Machine::with('1', &lines).await;
    machine.scene.node = machine.scene.node.without_postinst();
    machine.boot(SlotName::A).await;
    let end = if activate == "reboot" { NEED_REBOOT } else { IDLE };
    machine.scene.attempt(end).await;
    is_unbootable(&machine);
    machine
}

fn is_unbootable(machine: &Machine) {
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
}

/// The machine goes down as ordered, which activates the update, and comes up with it.
async fn reboots_into_the_update(machine: &mut Machine) {
    let activated = machine.scene.node.activate_at_reboot();
    assert!(activated.status.success(), "{activated:?}");
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("idle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_reboots_in_its_window_and_only_that_activates_the_update() {
    let windows = format!(
        "REBOOT_WINDOW_START={}\nREBOOT_WINDOW_LENGTH=1h\nREBOOT_TIME_ZONE=UTC\n",
        far_window()
    );
    let mut machine = staged("reboot", &windows).await;
    machine.manager().reaches("waiting-for-window").await;
    assert_eq!(machine.logind.reboots(), 0);
    assert!(machine.manager.take().unwrap().stop().success());
    machine.scene.configure("REBOOT_WINDOWS=00:00 24h\n");
    machine.start_manager();
    machine.is_asked_to_reboot(1).await;
    is_unbootable(&machine);
    reboots_into_the_update(&mut machine).await;
}

/// As after a power cut on the way down.
#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_that_does_not_activate_the_update_is_no_rollback_and_is_ordered_again() {
    let mut machine = staged("reboot", "").await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::A);
    machine.is_asked_to_reboot(2).await;
    assert!(!machine.manager().log().contains("held-after-rollback"));
    is_unbootable(&machine);
    reboots_into_the_update(&mut machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_waits_for_an_order_is_rebooted_for_once_it_has_come() {
    let mut machine = staged("order", "").await;
    machine.manager().reaches("idle").await;
    assert_eq!(machine.logind.reboots(), 0);
    assert!(client(&machine.scene.bus, "activate").await.1.success());
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("idle").await;
}
