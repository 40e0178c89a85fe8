//! What the journal is told: fields and identifiers to select by, and the texts as ever.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use update_engine::disk::SlotName;
use update_engine::journal::MessageId;

use crate::support::health::{REBOOT, become_healthy, require_a_file};
use crate::support::journald::{Entry, JournalSocket, Journald};
use crate::support::loops::may_mount;
use crate::support::node::CONFIG;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

/// Message, priority, attempt, version, slot and code of the only entry of this kind.
fn told(journal: &JournalSocket, kind: MessageId) -> [String; 6] {
    let entries = journal.of_kind(kind.id());
    let [entry] = entries
        .try_into()
        .unwrap_or_else(|all| panic!("{kind:?}: {all:?}"));
    fields(&entry)
}

fn fields(entry: &Entry) -> [String; 6] {
    [
        "MESSAGE",
        "PRIORITY",
        "UPDATE_ATTEMPT",
        "UPDATE_VERSION",
        "UPDATE_SLOT",
        "UPDATE_CODE",
    ]
    .map(|name| entry.get(name).cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_its_end_are_told_with_version_slot_and_attempt() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let journal = JournalSocket::of(&mut scene.node);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let installed = told(&journal, MessageId::Installed);
    let said = "version \"2.0.0\" is installed in USR-B: it boots next";
    assert_eq!(installed, [said, "6", "1", "2.0.0", "USR-B", ""]);

    let entries = journal.entries();
    let of_attempt = |entry: &&Entry| entry.contains_key("UPDATE_ATTEMPT");
    // Others look for this one in the journal, over several lines.
    let answer = entries
        .iter()
        .find(|entry| entry["MESSAGE"].starts_with("Omaha request response: "));
    let answer = answer.unwrap();
    assert!(
        of_attempt(&answer) && answer["MESSAGE"].trim_end().ends_with("/response>"),
        "{answer:?}"
    );
    let words = |entry: &Entry| entry["MESSAGE"].clone();
    assert!(entries.iter().map(words).any(|text| text == NEED_REBOOT));
    assert!(
        entries
            .iter()
            .all(|entry| entry["SYSLOG_IDENTIFIER"] == "update_engine")
    );
    assert_eq!(daemon.log(), "", "nothing is said twice");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_kept_is_told() {
    let mut scene = Scene::quiet().await;
    scene.configure("HEALTH_SETTLE=1\n");
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    let journal = JournalSocket::of(&mut scene.node);
    let daemon = scene.boot(SlotName::A).await;
    let is_told = || !journal.of_kind(MessageId::MarkedGood.id()).is_empty();
    eventually("the slot is kept", is_told).await;
    let kept = told(&journal, MessageId::MarkedGood);
    assert_eq!(kept, ["USR-A is marked good", "6", "", "", "USR-A", ""]);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_left_and_the_way_back_are_told() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    require_a_file(&scene.node);
    let journal = JournalSocket::of(&mut scene.node);
    let daemon = scene.boot(SlotName::B).await;
    eventually("a reboot", || scene.node.path(REBOOT).exists()).await;
    let [text, priority, _, _, slot, _] = told(&journal, MessageId::DeadlinePassed);
    assert!(
        text.starts_with("the running slot is not healthy in time: health check"),
        "{text}"
    );
    assert_eq!((priority.as_str(), slot.as_str()), ("3", "USR-B"));
    daemon.stop();

    become_healthy(&scene.node);
    assert_eq!(scene.node.reboot(), SlotName::A);
    scene.node.run_version("1.0.0");
    let journal = JournalSocket::of(&mut scene.node);
    let daemon = scene.boot(SlotName::A).await;
    let [text, priority, _, version, ..] = told(&journal, MessageId::RolledBack);
    assert!(
        text.starts_with("rolled back from version \"2.0.0\": health check"),
        "{text}"
    );
    assert_eq!((priority.as_str(), version.as_str()), ("3", "2.0.0"));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart_and_with_their_code() {
    let mut scene = Scene::offering(&fixtures::payload("full-unsigned.payload")).await;
    let journal = JournalSocket::of(&mut scene.node);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let [text, priority, attempt, version, slot, code] = told(&journal, MessageId::PayloadRefused);
    assert!(text.starts_with("update attempt failed (code 17): "), "{text}");
    assert_eq!(
        [priority, attempt, version, slot, code],
        ["3", "1", "2.0.0", "USR-B", "17"]
    );

    scene.node.write(CONFIG, b"SERVER=http://127.0.0.1:1/\n");
    scene.attempt(IDLE).await;
    let [text, _, attempt, version, _, code] = told(&journal, MessageId::CheckFailed);
    assert!(text.starts_with("update attempt failed (code 2000): "), "{text}");
    assert_eq!([attempt, version, code], ["2", "", "2000"]);

    scene.node.write(CONFIG, b"SERVER=disabled\n");
    scene.attempt(IDLE).await;
    assert_eq!(told(&journal, MessageId::Deferred)[5], "2000");
    assert!(journal.of_kind(MessageId::Failed.id()).is_empty());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_table_that_was_repaired_is_told() {
    let mut scene = Scene::quiet().await;
    scene.configure("HEALTH_SETTLE=1\n");
    let journal = JournalSocket::of(&mut scene.node);
    let disk = File::options().write(true).open(scene.node.disk.path()).unwrap();
    // The primary header's checksum.
    disk.write_all_at(b"????", 512 + 16).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    let is_told = || !journal.of_kind(MessageId::TableRepaired.id()).is_empty();
    eventually("the table is repaired", is_told).await;
    let [text, priority, ..] = told(&journal, MessageId::TableRepaired);
    let image = scene.node.disk.path().display();
    let said = "a copy of the partition table was damaged or differed; it was written anew";
    assert_eq!((text, priority.as_str()), (format!("{image}: {said}"), "4"));
    scene.node.disk.assert_table_is_whole();
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_the_same_texts_go_to_standard_error() {
    let mut scene = Scene::offering(&fixtures::payload("full-unsigned.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("update attempt failed"))
        .unwrap();
    let (before, text) = line.split_once(": ").unwrap();
    assert!(before.ends_with("ERROR update_engine::engine::task"), "{line}");
    assert!(text.starts_with("update attempt failed (code 17): "), "{line}");
    for name in ["MESSAGE_ID", "UPDATE_"] {
        assert!(!line.contains(name), "{line}");
    }
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn journald_finds_what_is_selected_by_fields() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let journald = Journald::start();
    eventually("journald listens", || journald.listens()).await;
    journald.listen_to(&mut scene.node);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;

    let installed = format!("MESSAGE_ID={}", MessageId::Installed.id());
    let selected = || journald.show(&[&installed, "UPDATE_VERSION=2.0.0", "UPDATE_SLOT=USR-B"]);
    let said = "version \"2.0.0\" is installed in USR-B: it boots next\n";
    eventually("journald has written it", || selected() == said).await;
    // As images' postinsts look for it.
    let all = journald.show(&["SYSLOG_IDENTIFIER=update_engine", "UPDATE_ATTEMPT=1"]);
    let answer = all.split_once("Omaha request response: ").unwrap().1;
    assert!(
        answer.contains("version=\"2.0.0\"") && answer.contains("/response>"),
        "{all}"
    );
    daemon.stop();
}
