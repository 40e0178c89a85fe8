//! What earlier versions have left means the same to today's daemon.

use std::fs;

use payload_format::Sha256Digest;
use update_engine::disk::SlotName;
use update_engine::extension::{ExtensionStore, RunningSystem};
use update_engine::host::Host;
use update_engine::install::{Installer, PostinstMode};
use update_engine::journal::MessageId;
use update_engine::policy::{History, PayloadState, TrialProgress};
use update_engine::status::UnixTime;
use update_engine::store::{Key, PREFS_DIR, Prefs};

use super::moments::{with_a_partition, with_partitions};
use super::{ATTEMPTS, CHECKPOINT, HISTORY, MANIFEST, MARK, TORN, VERSIONS, contents, kept};
use crate::support::image::Attributes;
use crate::support::installing::plan;
use crate::support::node::{Node, sha256};
use crate::support::scene::Scene;
use crate::trial::rollback::{engine, scheduled_check};
use test_support::fixtures;
use test_support::server::Server;

/// Flatcar's PARTUUIDs.
pub(super) const A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
pub(super) const B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";

const UNHEALTHY: &str = "health check /etc/update-engine/health.d/50-api ended with exit code 7";
const BY_HAND: &str = "rolled back by the operator";

/// SHA-256 of the fixtures' full payload, which all moments are about.
pub(super) fn payload() -> Sha256Digest {
    let payload = fs::read(fixtures::payload("full.payload")).unwrap();
    Sha256Digest::of(&payload)
}

pub(super) fn history(version: &str, moment: &str) -> History {
    serde_json::from_slice(contents(&kept(version, moment, HISTORY))).unwrap()
}

/// What a history says, as far as anything is decided by it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    trial: Option<&'static str>,
    blamed: Option<String>,
    left: Option<String>,
    unreported: bool,
    leaving_b: bool,
    installed: u64,
    rollbacks: u64,
}

impl Meaning {
    pub(super) fn of(history: &History) -> Self {
        let trial = history.trial().map(|trial| {
            assert_eq!(
                (trial.partuuid.as_str(), trial.payload.sha256),
                (B, Some(payload()))
            );
            match &trial.progress {
                TrialProgress::Committed => "committed",
                TrialProgress::CameUp => "came up",
                TrialProgress::Orderly => "orderly",
                TrialProgress::GivenUp(why) => {
                    assert_eq!(
                        (why.cause.as_str(), why.output.as_str()),
                        (UNHEALTHY, "no answer on port 6443")
                    );
                    "given up"
                }
                TrialProgress::Unknown(_) => "unknown",
            }
        });
        Self {
            trial,
            blamed: history
                .blocked_payloads()
                .find(&payload())
                .map(|blame| blame.cause.clone()),
            left: history.last_rollback().map(|rollback| rollback.cause.clone()),
            unreported: history.is_unreported(),
            leaving_b: history.is_leaving(B),
            installed: history.tally().installed,
            rollbacks: history.tally().rollbacks,
        }
    }
}

const NOTHING: Meaning = Meaning {
    trial: None,
    blamed: None,
    left: None,
    unreported: false,
    leaving_b: false,
    installed: 1,
    rollbacks: 0,
};

/// Each moment's.
pub(super) fn meanings() -> Vec<(&'static str, Meaning)> {
    let of = |trial| Meaning {
        trial: Some(trial),
        ..NOTHING
    };
    let text = |text: &str| Some(text.to_owned());
    let rolled_back = |unreported| Meaning {
        blamed: text(UNHEALTHY),
        left: text(UNHEALTHY),
        unreported,
        installed: 2,
        rollbacks: 1,
        ..NOTHING
    };
    let by_hand = |rollbacks| Meaning {
        blamed: text(BY_HAND),
        installed: 3,
        rollbacks,
        ..NOTHING
    };
    vec![
        ("waiting", of("committed")),
        ("on-trial", of("came up")),
        ("shut-down-on-trial", of("orderly")),
        ("interrupted", NOTHING),
        (
            "given-up",
            Meaning {
                installed: 2,
                ..of("given up")
            },
        ),
        ("rolled-back", rolled_back(true)),
        ("failed", rolled_back(false)),
        (
            "leaving",
            Meaning {
                leaving_b: true,
                ..by_hand(1)
            },
        ),
        (
            "left",
            Meaning {
                left: text(BY_HAND),
                ..by_hand(2)
            },
        ),
    ]
}

#[test]
fn histories_mean_what_they_meant() {
    for version in VERSIONS {
        for (moment, meaning) in meanings() {
            let history = history(version, moment);
            assert_eq!(Meaning::of(&history), meaning, "{version}, {moment}");
            assert_eq!(history.version_in(A), Some("1.0.0"));
            assert!(history.was_updated(B) && history.is_filled(B), "{moment}");
        }
        let interrupted = history(version, "interrupted");
        let json = serde_json::to_value(&interrupted).unwrap();
        assert_eq!(json["interrupted"][1], 1, "one of three");
    }
}

/// A node whose daemon finds what `version` left, with these attributes of slot B.
fn node_after(scene: &Scene, version: &str, moment: &str, b: Attributes) {
    scene.node.disk.set_attributes(SlotName::B, b);
    for path in [HISTORY, ATTEMPTS] {
        scene.node.write(path, &kept(version, moment, path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_noticed_by_another_version_is_still_blamed_and_told() {
    for version in VERSIONS {
        let scene = Scene::offering(&fixtures::payload("full.payload")).await;
        node_after(&scene, version, "rolled-back", (2, 0, 0));
        assert_eq!(scheduled_check(&scene).await, Some(35));
        assert_eq!(scene.last_news(), (3, 0, Some(44), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_given_up_by_another_version_is_noticed_and_blamed() {
    for version in VERSIONS {
        let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
        node_after(&scene, version, "given-up", (2, 0, 0));
        let daemon = scene.boot(SlotName::A).await;
        let said = format!("rolled back from version \"2.0.0\": {UNHEALTHY}: no answer on port 6443");
        assert!(daemon.log().contains(&said), "{}", daemon.log());
        daemon.stop();
        assert_eq!(scheduled_check(&scene).await, Some(35));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_another_version_are_told_as_it_told_them() {
    for version in VERSIONS {
        let mut scene = Scene::quiet().await;
        node_after(&scene, version, "failed", (0, 0, 0));
        let _daemon = scene.boot(SlotName::A).await;
        let mut client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        client.args(["history", "--json"]);
        let told = tokio::process::Command::from(client).output().await.unwrap();
        let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(
            parse(&told.stdout),
            parse(&kept(version, "failed", "/history.json"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_cut_under_another_version_goes_on() {
    for version in VERSIONS {
        let (node, server) = (Node::with_two_good_slots(), Server::start());
        let payload = fs::read(fixtures::payload("full.payload")).unwrap();
        server.serve("p", payload.clone());
        for path in [MANIFEST, CHECKPOINT] {
            node.write(path, &kept(version, "cut", path));
        }
        // All that the checkpoint vouches for, and more.
        node.disk.set_attributes(SlotName::B, (0, 0, 0));
        node.disk.write(SlotName::B, 0, &fixtures::image("new.img"));
        let plan = plan(server.url("p"), &payload);
        let ready = Installer::new(plan.clone(), node.site(PostinstMode::Skip))
            .prepare()
            .await
            .unwrap();
        assert!(
            ready.resumes() && ready.resumed_at() > 100_000,
            "{}",
            ready.resumed_at()
        );
        drop(ready);
        node.install(plan).await.unwrap();
        assert_eq!(
            sha256(&node.disk.slot(SlotName::B)),
            sha256(&fixtures::image("new.img"))
        );
        let requests = server.requests();
        let ranges: Vec<_> = requests
            .iter()
            .map(|request| request.header("range").unwrap_or("all"))
            .collect();
        assert!(
            ranges
                .iter()
                .all(|range| range.starts_with("bytes=") && *range != "bytes=0-"),
            "{ranges:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_torn_under_another_version_becomes_a_copy() {
    const OEM: &str = "/dev/disk/by-partlabel/OEM-B";
    let payload = crate::install::v2::version_2();
    let server = Server::start();
    server.serve("p", payload.clone());
    let mut records = vec![None, Some(b"no record".to_vec())];
    records.extend(VERSIONS.map(|version| Some(kept(version, "torn", TORN))));
    for record in records {
        let node = with_partitions();
        if let Some(record) = &record {
            node.write(TORN, record);
        }
        node.install(with_a_partition(plan(server.url("p"), &payload)))
            .await
            .unwrap();
        // Forgetting that it is torn would make it bootable: what can't be read counts as torn.
        let expected = if record.is_some() { 0xaa } else { 0xbb };
        assert_eq!(node.read(OEM)[0], expected, "{record:?}");
    }
}

#[test]
fn extensions_placed_by_another_version_belong_to_the_slot_that_they_were_made_for() {
    for version in VERSIONS {
        for (slot, stays) in [("USR-B", true), ("USR-A", false)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("2.0.0");
            fs::create_dir(&path).unwrap();
            fs::write(path.join(".update-engine"), kept(version, "waiting", MARK)).unwrap();
            let running = RunningSystem {
                slot,
                version: "called otherwise",
            };
            ExtensionStore::new(directory.path().to_owned())
                .prune(None, running)
                .unwrap();
            assert_eq!(path.exists(), stays, "{version} {slot}");
        }
    }
}

#[test]
fn preferences_of_another_version_are_read_as_they_were_written() {
    for version in VERSIONS {
        for moment in ["waiting", "failed"] {
            let directory = super::fixtures(version)
                .join(moment)
                .join(PREFS_DIR.trim_start_matches('/'));
            let prefs = Prefs::new(&directory);
            let read = |key| prefs.get(key).unwrap();
            let state = PayloadState::load(read, UnixTime(1_795_872_100));
            assert_eq!(read(Key::PayloadAttemptNumber).as_deref(), Some("1"), "{moment}");
            for (key, value) in state.prefs() {
                assert_eq!(
                    read(key).as_deref(),
                    Some(value.as_str()),
                    "{moment} {}",
                    key.name()
                );
            }
            let answer = read(Key::FullResponse).unwrap();
            let packages = update_engine::omaha::downloads(answer.as_bytes()).unwrap();
            assert_eq!(packages.len(), 2, "{moment}");
            let previous = if moment == "waiting" { "1.0.0" } else { "" };
            assert_eq!(read(Key::PreviousVersion).as_deref(), Some(previous));
        }
    }
}

#[test]
fn the_first_start_of_a_boot_that_another_version_noted_counts() {
    const FIRST_START: &str = "/run/update_engine/first-start";
    for version in VERSIONS {
        let noted = String::from_utf8(kept(version, "given-up", FIRST_START)).unwrap();
        let (boot, seconds) = noted.trim_end().split_once(' ').unwrap();
        let node = Node::with_two_good_slots();
        node.write("/proc/sys/kernel/random/boot_id", boot.as_bytes());
        let now: f64 = seconds.parse::<f64>().unwrap() + 100.0;
        node.write("/proc/uptime", format!("{now:.2} 1.00\n").as_bytes());
        node.write(FIRST_START, noted.as_bytes());
        let since = Host::new(node.path("/")).since_first_start().unwrap();
        assert_eq!(since.as_millis().div_ceil(100), 1000);
    }
}

/// What is kept of each version as `message-ids`, a name and an identifier in each line.
pub(super) const MESSAGE_IDS: [(&str, MessageId); 17] = [
    ("installed", MessageId::Installed),
    ("staged", MessageId::Staged),
    ("failed", MessageId::Failed),
    ("payload-refused", MessageId::PayloadRefused),
    ("check-failed", MessageId::CheckFailed),
    ("deferred", MessageId::Deferred),
    ("rolled-back", MessageId::RolledBack),
    ("marked-good", MessageId::MarkedGood),
    ("deadline-passed", MessageId::DeadlinePassed),
    ("table-repaired", MessageId::TableRepaired),
    ("reboot-lock-taken", MessageId::RebootLockTaken),
    ("reboot-lock-released", MessageId::RebootLockReleased),
    ("reboot-lock-kept", MessageId::RebootLockKept),
    ("reboot-ordered", MessageId::RebootOrdered),
    ("reboot-called-off", MessageId::RebootCalledOff),
    ("lost", MessageId::Lost),
    ("worse-than-before", MessageId::WorseThanBefore),
];

#[test]
fn identifiers_of_messages_are_those_of_every_version() {
    for version in VERSIONS {
        let kept = fs::read_to_string(super::fixtures(version).join("message-ids")).unwrap();
        for line in kept.lines() {
            let (name, id) = line.split_once(' ').unwrap();
            let (_, notable) = MESSAGE_IDS.iter().find(|(known, _)| *known == name).unwrap();
            assert_eq!(notable.id(), id, "{version} {name}");
        }
    }
}

/// A node on which nothing can be read that another version has left forgets it, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_forgotten() {
    let scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let newer = super::record_of_version(2, br#"{"blamed":"all"}"#);
    for record in [newer, b"no record".to_vec(), Vec::new()] {
        for path in [HISTORY, ATTEMPTS] {
            scene.node.write(path, &record);
        }
        drop(engine(&scene.node).initial_state());
        assert_eq!(scheduled_check(&scene).await, None);
    }
}
