//! What is told of the reboot manager: in the journal, in metrics, in its status.

use update_engine::disk::SlotName;
use update_engine::journal::MessageId;

use super::manager::Machine;
use crate::support::health::{REBOOT, become_healthy, require_a_file};
use crate::support::journald::JournalSocket;
use crate::support::node::client;
use crate::support::scene::eventually;
use test_support::etcd::Etcd;

const METRICS: &str = "/run/metrics.prom";

/// Message, priority, version and slot of all entries of this kind.
fn told(journal: &JournalSocket, kind: MessageId) -> Vec<[String; 4]> {
    let entries = journal.of_kind(kind.id()).into_iter().map(|entry| {
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "update_reboot_manager");
        ["MESSAGE", "PRIORITY", "UPDATE_VERSION", "UPDATE_SLOT"]
            .map(|name| entry.get(name).cloned().unwrap_or_default())
    });
    entries.collect()
}

/// The same once there is one: the manager reports its phase before it tells the journal.
async fn at_last_told(journal: &JournalSocket, kind: MessageId) -> Vec<[String; 4]> {
    eventually("the entry", || !told(journal, kind).is_empty()).await;
    told(journal, kind)
}

/// A machine without a lock, whose slot is good once a file is there, and where its manager's entries go.
async fn journalled() -> (Machine, JournalSocket) {
    let lines = "REBOOT_STRATEGY=reboot\nHEALTH_DEADLINE=1\n";
    let mut machine = Machine::with('1', lines).await;
    require_a_file(&machine.scene.node);
    machine.manager_in_journal = true;
    let journal = boot_journalled(&mut machine, SlotName::A).await;
    (machine, journal)
}

/// Boots; the journal's socket lies in `/run`, which no boot keeps.
async fn boot_journalled(machine: &mut Machine, slot: SlotName) -> JournalSocket {
    let journal = JournalSocket::of(&mut machine.scene.node);
    // Not the daemon's.
    ":".clone_into(&mut machine.scene.node.before);
    machine.boot(slot).await;
    journal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_that_is_called_off_is_told_with_its_identifiers() {
    let (mut machine, journal) = journalled().await;
    machine.logind.inhibit(Some("block"));
    machine.update().await;
    machine.manager().reaches("confirming").await;
    let taken = [
        "the reboot lock is ours, for version \"2.0.0\"",
        "6",
        "2.0.0",
        "USR-B",
    ];
    assert_eq!(at_last_told(&journal, MessageId::RebootLockTaken).await, [taken]);
    client(&machine.scene.bus, "-reset_status").await;
    machine.manager().reaches("idle").await;
    let off = ["the reboot is called off", "6", "", ""];
    assert_eq!(at_last_told(&journal, MessageId::RebootCalledOff).await, [off]);
    let released = ["the reboot lock is given back", "6", "", ""];
    assert_eq!(
        at_last_told(&journal, MessageId::RebootLockReleased)
            .await
            .last()
            .unwrap(),
        &released
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_and_a_hold_are_told_with_version_and_slot() {
    let (mut machine, journal) = journalled().await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    let ordered = [
        "asking logind for the reboot into version \"2.0.0\"",
        "6",
        "2.0.0",
        "USR-B",
    ];
    assert_eq!(at_last_told(&journal, MessageId::RebootOrdered).await, [ordered]);
    assert_eq!(machine.reboot().await, SlotName::B);
    eventually("the rollback", || machine.scene.node.path(REBOOT).exists()).await;
    let slot = machine.go_down();
    assert_eq!(slot, SlotName::A);
    let journal = boot_journalled(&mut machine, slot).await;
    machine.manager().reaches("held-after-rollback").await;
    let [message, priority, version, _] = at_last_told(&journal, MessageId::RebootLockKept).await.remove(0);
    assert!(
        message.starts_with("the reboot lock is kept after the rollback from \"2.0.0\": health check"),
        "{message}"
    );
    assert_eq!((priority.as_str(), version.as_str()), ("3", "2.0.0"));
}

/// The values of one metric by what stands behind its name.
fn metric(machine: &Machine, name: &str) -> Vec<String> {
    let text = String::from_utf8(machine.scene.node.read(METRICS)).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("update_reboot_manager_{name}")));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_since_when_the_lock_is_held_what_is_waited_for_and_who_refuses() {
    let Some(etcd) = Etcd::start() else { return };
    let lines = format!(
        "REBOOT_STRATEGY=etcd-lock\nREBOOT_ETCD_API=v3\nLOCKSMITHD_ENDPOINT={}\nREBOOT_METRICS_FILE={METRICS}\n",
        etcd.url()
    );
    let mut machine = Machine::with('1', &lines).await;
    require_a_file(&machine.scene.node);
    assert_eq!(machine.lock_command(&["lock", "other"]).await.2, 0);
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    let is = |machine: &Machine, name: &str, value: &str| metric(machine, name) == [value];
    let is_at = |machine: &Machine, phase: &str| {
        let phases = metric(machine, "phase");
        let on: Vec<_> = phases.iter().filter(|line| line.ends_with(" 1")).collect();
        on == [&format!("{{phase=\"{phase}\"}} 1")]
    };
    eventually("idle", || is_at(&machine, "idle")).await;
    assert_eq!(metric(&machine, "holding_since_seconds"), [""; 0]);
    assert_eq!(metric(&machine, "waiting_since_seconds"), [""; 0]);
    assert!(is(&machine, "engine_answers", " 1"));

    machine.update().await;
    let refused = r#"{by="lock-taken",reason="the reboot lock is taken: 1 of 1 places, by other"} 1"#;
    eventually("the refusal", || is(&machine, "obstacle", refused)).await;
    assert!(is_at(&machine, "waiting-for-lock"));
    assert_eq!(
        machine.manager().report().refused_by.as_deref(),
        Some("lock-taken")
    );
    let seconds = |name: &str| {
        let [value] = metric(&machine, name).try_into().unwrap();
        value.trim().parse::<u64>().unwrap()
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now - 60..=now).contains(&seconds("waiting_since_seconds")));
    assert_eq!(machine.lock_command(&["release", "other"]).await.2, 0);
    machine.is_asked_to_reboot(1).await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now - 60..=now).contains(&seconds("holding_since_seconds")));

    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("on-trial").await;
    let is_trial = || {
        metric(&machine, "obstacle")
            .concat()
            .starts_with(r#"{by="trial",reason="#)
    };
    eventually("the trial", is_trial).await;
    become_healthy(&machine.scene.node);
    machine.manager().reaches("idle").await;
    eventually("the release", || {
        metric(&machine, "holding_since_seconds").is_empty()
    })
    .await;
}

/// Both hold the lock until somebody acts.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_without_deadline_and_a_silent_engine_are_named_in_status() {
    let lines = "REBOOT_STRATEGY=reboot\nHEALTH_DEADLINE=0\n";
    let mut machine = Machine::with('1', lines).await;
    require_a_file(&machine.scene.node);
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.tells("; no deadline ends the trial").await;
    let (_, told, _) = machine.lock_command(&["status"]).await;
    assert!(told.contains("; no deadline ends the trial"), "{told}");
    // The control: with one it is not said.
    machine.scene.configure("HEALTH_DEADLINE=3600\n");
    machine.restart_engine(SlotName::B).await;
    let obstacle = || machine.manager().report().obstacle.unwrap_or_default();
    eventually("a deadline", || {
        let told = obstacle();
        told.contains("not good yet") && !told.contains("no deadline")
    })
    .await;

    machine.stop_daemon();
    let silent = || machine.manager().report().engine_silent.is_some();
    eventually("the silence", silent).await;
    let (_, told, _) = machine.lock_command(&["status"]).await;
    assert!(told.contains("the update engine does not answer"), "{told}");
}

/// Also where something else is the matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_engine_is_named_while_a_lock_is_given_back() {
    let lines = "REBOOT_STRATEGY=fleet-lock\nFLEET_LOCK_URL=http://127.0.0.1:1\n";
    let mut machine = Machine::with('1', lines).await;
    machine.boot(SlotName::A).await;
    // What another manager may have left there.
    machine.manager().reaches("releasing").await;
    machine.stop_daemon();
    let silent = || machine.manager().report().engine_silent.is_some();
    eventually("the silence", silent).await;
    let report = machine.manager().report();
    assert_eq!(report.refused_by.as_deref(), Some("lock-failed"), "{report:?}");
    assert!(
        report.summary.contains("; the update engine does not answer: "),
        "{report:?}"
    );
}
