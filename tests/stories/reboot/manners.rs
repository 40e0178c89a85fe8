//! What the reboot manager waits for besides the lock, and whom it heeds.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use update_engine::bus::{INTERFACE, PATH};
use update_engine::disk::SlotName;
use update_engine::host::Host;
use update_engine::reboot_lock::Strategy;
use update_engine::reboot_manager::CoordinatorFile;

use super::manager::Machine;
use crate::support::health::{REBOOT, require_a_file};
use crate::support::other_users::{client_process, may_become_others};
use crate::support::reboot_manager::RebootManager;
use crate::support::scene::eventually;
use test_support::bus::NOBODY_UID;

const ALONE: &str = "REBOOT_STRATEGY=reboot\nREBOOT_USER_GRACE=1\n";

fn install(machine: &Machine, path: &str, script: &str) {
    machine
        .scene
        .node
        .write(path, format!("#!/bin/sh\n{script}\n").as_bytes());
    std::fs::set_permissions(machine.scene.node.path(path), Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lock_programs_run_before_the_reboot_and_once_the_slot_is_good() {
    let mut machine = Machine::with('1', ALONE).await;
    let said = machine.scene.node.beside("said");
    for (moment, what) in [("pre-reboot.d", "drain"), ("post-good.d", "undrain")] {
        let script = format!("echo {what} $1 >> '{}'", said.display());
        install(&machine, &format!("/etc/update-engine/{moment}/10-node"), &script);
    }
    let told = || std::fs::read_to_string(&said).unwrap_or_default();
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(told(), "drain 2.0.0\n");
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("idle").await;
    assert_eq!(told(), "drain 2.0.0\nundrain 2.0.0\n");
}

/// What was drained for a version that failed comes back, and is told the same version.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_programs_are_told_the_version_that_failed() {
    let mut machine = Machine::with('1', &format!("{ALONE}HEALTH_DEADLINE=1\n")).await;
    require_a_file(&machine.scene.node);
    let said = machine.scene.node.beside("said");
    for (moment, what) in [("pre-reboot.d", "drain"), ("post-good.d", "undrain")] {
        let script = format!("echo {what} $1 >> '{}'", said.display());
        install(&machine, &format!("/etc/update-engine/{moment}/10-node"), &script);
    }
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::B);
    let gave_up = machine.scene.node.path(REBOOT);
    eventually("the rollback", || gave_up.exists()).await;
    assert_eq!(machine.reboot().await, SlotName::A);
    machine.manager().reaches("held-after-rollback").await;
    let told = std::fs::read_to_string(said).unwrap();
    assert_eq!(told, "drain 2.0.0\nundrain 2.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_vetoes_with_its_reason_until_it_lets_the_node_go() {
    let mut machine = Machine::with('1', ALONE).await;
    let gate = machine.scene.node.beside("backup");
    let script = format!(
        "[ -e '{}' ] && exit 0; echo the backup is not done; exit 1",
        gate.display()
    );
    install(&machine, "/usr/lib/update-engine/pre-reboot.d/50-backup", &script);
    machine.boot(SlotName::A).await;
    machine.update().await;
    let vetoed = || machine.manager().report().obstacle.unwrap_or_default();
    eventually("the veto", || {
        vetoed() == "pre-reboot.d/50-backup refuses: the backup is not done"
    })
    .await;
    machine.manager().reaches("waiting-for-window").await;
    assert_eq!(vetoed(), "pre-reboot.d/50-backup refuses: the backup is not done");
    std::fs::write(gate, "").unwrap();
    machine.is_asked_to_reboot(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_told_and_given_time() {
    let mut machine = Machine::with('1', ALONE).await;
    machine.scene.node.write("/dev/pts/7", b"");
    machine.logind.log_in("pts/7").await;
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.manager().reaches("notifying-users").await;
    machine.is_asked_to_reboot(1).await;
    let told = String::from_utf8(machine.scene.node.read("/dev/pts/7")).unwrap();
    assert!(told.contains("System reboot in 1 seconds!"), "{told}");
}

/// A window that opens in twelve hours from now, or did twelve hours ago.
pub(super) fn far_window() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let minutes = (now / 60 + 12 * 60) % (24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_window_is_waited_for_and_told() {
    let start = far_window();
    let lines = format!(
        "{ALONE}LOCKSMITHD_REBOOT_WINDOW_START={start}\nREBOOT_WINDOW_LENGTH=1h\nREBOOT_TIME_ZONE=UTC\n"
    );
    let mut machine = Machine::with('1', &lines).await;
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.manager().reaches("waiting-for-window").await;
    let report = machine.manager().report();
    assert!(!report.window_open);
    assert!(
        report
            .next_window_local
            .unwrap()
            .contains(&format!(" {start}:00 UTC"))
    );
    let (_, told, code) = machine.lock_command(&["status"]).await;
    assert!(
        told.contains("the reboot into 2.0.0 waits for its window; it opens at "),
        "{told}"
    );
    assert_eq!(code, 0);
    assert_eq!(machine.logind.reboots(), 0);

    // One that has gone is not said to wait.
    let stopped = machine.manager.take().unwrap().stop();
    assert!(stopped.success());
    let (_, told, _) = machine.lock_command(&["status"]).await;
    let gone =
        "This node's reboot manager is not running. It said last: the reboot into 2.0.0 waits for its window";
    assert!(told.starts_with(gone), "{told}");

    // Another manager with another setting, and without the update being told anew.
    machine.scene.configure("REBOOT_WINDOWS=00:00 24h\n");
    machine.start_manager();
    machine.is_asked_to_reboot(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_may_ask_for_a_reboot_without_an_update() {
    let mut machine = Machine::with('1', ALONE).await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    assert_eq!(machine.lock_command(&["send-need-reboot"]).await.2, 0);
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::A);
    machine.manager().reaches("idle").await;
    assert_eq!(machine.logind.reboots(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_reboot_that_is_not_roots_is_ignored() {
    if !may_become_others() {
        return;
    }
    let mut machine = Machine::with('1', ALONE).await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    let asks = client_process(&machine.scene.bus, NOBODY_UID);
    let asked = tokio::process::Command::from(asks)
        .args(["reboot-lock", "send-need-reboot"])
        .output()
        .await
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let told = format!("user {NOBODY_UID} asks for a reboot, and is not root: ignored");
    eventually("the warning", || machine.manager().log().contains(&told)).await;
    assert_eq!(machine.manager().report().phase, "idle");
    assert_eq!(machine.logind.reboots(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_the_manager_and_not_the_boot() {
    let mut machine = Machine::with('1', ALONE).await;
    machine.logind.inhibit(Some("block"));
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    assert_eq!(machine.lock_command(&["send-need-reboot"]).await.2, 0);
    machine.manager().reaches("confirming").await;
    machine.manager.take().unwrap().kill();
    machine.logind.inhibit(None);
    machine.start_manager();
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::A);
    machine.manager().reaches("idle").await;
    assert_eq!(machine.logind.reboots(), 1);
}

/// Everybody on the bus can send them, and a connection whose queues are full is not read on.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_signals_keeps_no_answer_from_being_read() {
    let mut machine = Machine::with('1', ALONE).await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    let flood = machine.scene.bus.connect().await;
    let flood = tokio::spawn(async move {
        let status = (0_i64, 0.0_f64, "UPDATE_STATUS_IDLE", "", 0_i64);
        loop {
            let sent = flood
                .emit_signal(Option::<&str>::None, PATH, INTERFACE, "StatusUpdate", &status)
                .await;
            sent.unwrap();
        }
    });
    let began = Instant::now();
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    flood.abort();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_another_manager_it_refuses_and_off_is_off() {
    let machine = Machine::with('1', ALONE).await;
    let host = Host::new(machine.scene.node.path("/"));
    let other = CoordinatorFile::new(&host, Strategy::Reboot).unwrap();
    let refused = RebootManager::start(&machine.scene.node, &machine.scene.bus);
    let log = machine.scene.node.beside("manager.log");
    assert_eq!(refused.ended().code(), Some(1));
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("another reboot manager runs on this node"),
        "{told}"
    );
    drop(other);
    // Whatever else is set.
    machine
        .scene
        .configure("REBOOT_STRATEGY=off\nREBOOT_WINDOWS=never\nAFTER_ROLLBACK=perhaps\n");
    let (off, service) = RebootManager::start_as_service(&machine.scene.node, &machine.scene.bus);
    assert_eq!(off.ended().code(), Some(0));
    let mut told = [0; 64];
    let length = service.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1");
    machine.scene.configure("REBOOT_STRATEGY=best-effort\n");
    let unknown = RebootManager::start(&machine.scene.node, &machine.scene.bus);
    assert_eq!(unknown.ended().code(), Some(1));
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("REBOOT_STRATEGY=best-effort is none of reboot"),
        "{told}"
    );
}

fn syscall_of(manager: &RebootManager) -> String {
    format!("/proc/{}/syscall", manager.id())
}

/// Whether the kernel shows what the manager waits in: hardened ones show it to a debugger alone.
fn may_see_syscalls(manager: &RebootManager) -> bool {
    let shown = std::fs::read_to_string(syscall_of(manager));
    if let Err(error) = &shown {
        eprintln!("this kernel doesn't show what a process waits in ({error}): nothing is proven");
    }
    shown.is_ok()
}

/// The time after which the manager's thread wakes up by itself, in milliseconds: -1 for never, none
/// while it is at work. The fourth argument of `epoll_wait` and `epoll_pwait`, see `proc_pid_syscall(5)`.
fn wakes_up_after(manager: &RebootManager) -> Option<i32> {
    let syscall = std::fs::read_to_string(syscall_of(manager)).unwrap();
    let argument = syscall.split_whitespace().nth(4)?.strip_prefix("0x")?;
    // An int: its upper half counts for nothing.
    let lower_half = u64::from_str_radix(argument, 16).unwrap() & u64::from(u32::MAX);
    Some(u32::try_from(lower_half).unwrap().cast_signed())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_manager_sleeps() {
    let mut machine = Machine::with('1', ALONE).await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    if !may_see_syscalls(machine.manager()) {
        return;
    }
    let never = || wakes_up_after(machine.manager()) == Some(-1);
    eventually("the manager wakes up for events alone", never).await;
}

/// The control of the one above: a window that is waited for is looked at once a minute.
#[tokio::test(flavor = "multi_thread")]
async fn with_windows_a_manager_wakes_up_within_a_minute() {
    let windows = "REBOOT_WINDOW_START=00:00\nREBOOT_WINDOW_LENGTH=23h59m\nREBOOT_TIME_ZONE=UTC\n";
    let mut machine = Machine::with('1', &format!("{ALONE}{windows}")).await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    let within_a_minute =
        || wakes_up_after(machine.manager()).is_some_and(|after| (50_000..=60_000).contains(&after));
    eventually("the manager looks at its windows once a minute", within_a_minute).await;
    assert_ne!(wakes_up_after(machine.manager()), Some(-1));
}
