//! The history of attempts: what is remembered of each, through restarts, cuts and damage, and what
//! people see of it.

use std::process::Output;

use update_engine::disk::SlotName;
use update_engine::status::{AttemptReport, AttemptState, Trigger};

use crate::support::bad_server::BadServer;
use crate::support::node::{KEY, Node, sha256};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::bus::PrivateBus;
use test_support::fixtures;

const RECORD: &str = "/var/lib/update_engine/attempts";

fn payload() -> Vec<u8> {
    std::fs::read(fixtures::payload("full.payload")).unwrap()
}

pub(crate) async fn history(bus: &PrivateBus, arguments: &[&str]) -> Output {
    let client = bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let mut client = tokio::process::Command::from(client);
    let output = client.arg("history").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// What the daemon says once `holds`.
pub(crate) async fn attempts<S>(
    scene: &Scene<S>,
    holds: impl Fn(&[AttemptReport]) -> bool,
) -> Vec<AttemptReport> {
    let client = scene.bus.connect().await;
    let wait = async {
        loop {
            let attempts = AttemptReport::read_all(&client).await.unwrap();
            if holds(&attempts) {
                return attempts;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    let waited = tokio::time::timeout(patience, wait).await;
    waited.expect("what is waited for never comes")
}

pub(crate) fn ended_as(outcome: AttemptState) -> impl Fn(&[AttemptReport]) -> bool {
    move |attempts| attempts.last().is_some_and(|last| last.outcome == outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_remembered_from_its_offer_to_the_slot_that_is_kept() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    assert_eq!(attempts(&scene, |_| true).await, []);
    scene.attempt(NEED_REBOOT).await;
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    let [attempt] = told.as_slice() else {
        panic!("{told:?}")
    };
    let size = payload().len() as u64;
    assert_eq!(
        (attempt.from.as_str(), attempt.to.as_str(), attempt.slot.as_str()),
        ("1.0.0", "2.0.0", "USR-B")
    );
    assert_eq!(
        (attempt.bytes_total, attempt.bytes_fetched, attempt.bytes_resumed),
        (size, size, 0)
    );
    assert_eq!(
        (attempt.asked_by, attempt.code, attempt.times),
        (Trigger::Operator, None, 1)
    );
    assert!(attempt.ended.unwrap() >= attempt.began);
    assert_eq!(attempt.payload_sha256.len(), 64);
    daemon.stop();

    let daemon = scene.boot(SlotName::A).await;
    assert_eq!(attempts(&scene, |_| true).await, told, "at once after a restart");
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    scene.configure("HEALTH_SETTLE=1\n");
    let _daemon = scene.boot(SlotName::B).await;
    let kept = attempts(&scene, ended_as(AttemptState::Kept)).await;
    assert_eq!(kept.len(), 1);

    let table = String::from_utf8(history(&scene.bus, &[]).await.stdout).unwrap();
    assert!(table.contains("  1.0.0  2.0.0  USR-B  operator  "), "{table}");
    assert!(table.ends_with("  booted, found good\n"), "{table}");
    let json = history(&scene.bus, &["--json"]).await.stdout;
    let json: Vec<AttemptReport> = serde_json::from_slice(&json).unwrap();
    assert_eq!(json, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_killed_or_stopped_is_interrupted_and_the_next_goes_on_where_it_stood() {
    let half = payload().len() / 2;
    let server = BadServer::offering(payload(), &format!("hold={half};hold={half};"), |_| {});
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    daemon.kill();
    let daemon = scene.boot(SlotName::A).await;
    let told = attempts(&scene, |_| true).await;
    assert_eq!(told.last().unwrap().outcome, AttemptState::Interrupted);
    assert_eq!(told.last().unwrap().ended, None);
    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    assert!(daemon.stop().success());
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    let reasons: Vec<_> = told.iter().map(|attempt| attempt.reason.as_deref()).collect();
    assert_eq!(
        reasons,
        [
            Some("the power was cut, or the daemon was killed"),
            Some("the daemon was stopped"),
            None
        ]
    );
    let last = told.last().unwrap();
    assert!(last.bytes_resumed > 0, "{last:?}");
    assert_eq!(last.bytes_resumed + last.bytes_fetched, last.bytes_total);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_code_and_causes_and_without_what_links_carry() {
    let server = BadServer::offering(payload(), "", |offer| offer.name = "missing.gz?token=hush");
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let told = attempts(&scene, ended_as(AttemptState::Failed)).await;
    let reason = told[0].reason.clone().unwrap();
    assert_eq!(told[0].code, Some(9));
    assert!(
        reason.contains("missing.gz") && reason.contains("404"),
        "{reason}"
    );
    let kept = scene.node.read(RECORD);
    assert!(!String::from_utf8_lossy(&kept).contains("hush"));

    std::fs::remove_file(scene.node.path(KEY)).unwrap();
    for _ in 0..3 {
        scene.attempt(IDLE).await;
    }
    let told = attempts(&scene, |attempts| {
        attempts.last().is_some_and(|last| last.times == 3)
    })
    .await;
    assert_eq!((told.len(), told[1].code), (2, Some(18)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_torn_or_forged_stops_nothing() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let forged = br#"[{"began":"never"}]"#;
    let mut record = b"UpdEngSt\0\0\0\x01".to_vec();
    record.extend((forged.len() as u64).to_be_bytes());
    record.extend(forged);
    record.extend(ring::digest::digest(&ring::digest::SHA256, &record).as_ref());
    let torn = record[..30].to_vec();
    for damage in [torn, record, vec![b'x'; 3 << 20]] {
        scene.node.write(RECORD, &damage);
        let daemon = scene.boot(SlotName::A).await;
        assert_eq!(attempts(&scene, |_| true).await, []);
        assert!(daemon.log().contains("the history of attempts begins anew"));
        daemon.stop();
    }
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert_eq!(attempts(&scene, ended_as(AttemptState::Waiting)).await.len(), 1);
    let slot = scene.node.disk.slot(SlotName::B);
    assert_eq!(sha256(&slot), sha256(&fixtures::image("new.img")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_withdrawn_and_one_that_was_left_are_told_so() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let mut client = tokio::process::Command::from(client);
    let reset = client.args(["reset", "--withdraw-slot"]).status().await.unwrap();
    assert!(reset.success());
    attempts(&scene, ended_as(AttemptState::Withdrawn)).await;
    scene.attempt(NEED_REBOOT).await;
    attempts(&scene, ended_as(AttemptState::Waiting)).await;
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    // It never comes up.
    let _daemon = scene.come_back().await;
    let told = attempts(&scene, |_| true).await;
    let outcomes: Vec<_> = told.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptState::Withdrawn, AttemptState::RolledBack]);
    assert_eq!(told[1].reason.as_deref(), Some("did not come up"));
}
