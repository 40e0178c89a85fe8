//! The gate that needs no configuration: what was well before an update and is lost after it takes
//! the node back, what is only worse is told, and nothing is held up by either.

mod machine;

use std::fs;
use std::time::{Duration, Instant};

use update_engine::disk::SlotName;

use crate::records::{contents, gate, record_of_version};
use crate::support::health::REBOOT;
use crate::support::node::{Daemon, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use crate::support::systemd::{FakeSystemd, FakeUnit};
use machine::Machine;
use test_support::fixtures;

const BASELINE: &str = "/var/lib/update_engine/baseline";
const HISTORY: &str = "/var/lib/update_engine/history";
const TABLE: &str = "/proc/self/mountinfo";
const DOCKER: &str = "/usr/lib/systemd/system/docker.service";
const APP: &str = "/etc/systemd/system/app.service";
const METRICS: &str = "/var/lib/node-exporter/update-engine.prom";
const LOST: &str =
    "extension docker is not merged, although /var/lib/extensions/docker is there (before: merged)";
const LOST_UNIT: &str = "unit docker.service can't be found: it came with extension docker (before: active)";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_extension_takes_the_node_back_and_both_slots_tell_what_was_lost() {
    let mut machine = Machine::new().await;
    machine.update().await;
    machine.extension_is_lost();
    let daemon = machine.left().await;
    for lost in [LOST, LOST_UNIT] {
        assert!(
            daemon.log().contains(&format!("lost with the update: {lost}")),
            "{}",
            daemon.log()
        );
    }
    daemon.stop();

    let daemon = machine.scene.come_back().await;
    let said = format!("rolled back from version \"2.0.0\": lost with the update: {LOST}; {LOST_UNIT}");
    assert!(daemon.log().contains(&said), "{}", daemon.log());
    let why = machine.shows("why").await;
    assert!(why.contains(LOST) && why.contains(LOST_UNIT), "{why}");
    let health = machine.shows("health").await;
    for line in [
        "Required         extension docker, ",
        "version 2.0.0: something was lost, and the slot was left",
        &format!("Missing          {LOST}"),
        "extension docker  merged  not merged, although /var/lib/extensions/docker is there",
        "docker.service    active  can't be found: it came with extension docker",
    ] {
        assert!(health.contains(line), "{line:?} is not in:\n{health}");
    }
    let json: serde_json::Value = serde_json::from_str(&machine.shows("health --json").await).unwrap();
    assert_eq!(
        (&json["outcome"], &json["findings"][0]["certain"]),
        (&"left".into(), &true.into())
    );
    // The server is told as of any rollback, and the payload is not blocked for ever yet.
    let history = machine.scene.node.read(HISTORY);
    let history: serde_json::Value = serde_json::from_slice(contents(&history)).unwrap();
    assert_eq!(history["unreported"], true);
    assert!(history["blamed"][0]["retry_from"].is_number(), "{history}");
    gate::is_like_earlier_versions(&machine.scene.node);
    machine.scene.attempt(NEED_REBOOT).await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_trial_an_hour_later_blocks_the_payload_until_an_operator_asks() {
    let mut machine = Machine::new().await;
    for trial in [1, 2] {
        machine.update().await;
        machine.extension_is_lost();
        machine.left().await.stop();
        let daemon = machine.scene.come_back().await;
        let record = machine.scene.node.read(HISTORY);
        let mut history: serde_json::Value = serde_json::from_slice(contents(&record)).unwrap();
        let retry_from = history["blamed"][0]["retry_from"].as_i64();
        assert_eq!(retry_from.is_some(), trial == 1, "{history}");
        daemon.stop();
        // An hour passes, for the record.
        if let Some(retry_from) = retry_from {
            history["blamed"][0]["retry_from"] = (retry_from - 3600).into();
            let contents = serde_json::to_vec(&history).unwrap();
            machine
                .scene
                .node
                .write(HISTORY, &record_of_version(1, &contents));
        }
        machine.boots();
    }
}

/// As kola does, and users who can't wait.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_seconds_after_the_start_looks_once_and_is_not_held() {
    let mut machine = Machine::new().await;
    machine.scene.configure("HEALTH_SETTLE=3600\n");
    machine.update().await;
    let daemon = machine.scene.boot(SlotName::B).await;
    machine.scene.attempt(IDLE).await;
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (2, 0, 1));
    let said = "all is as it was before the update: 2 units, 1 extensions";
    assert_eq!(daemon.log().matches(said).count(), 1, "{}", daemon.log());
    daemon.stop();

    let mut machine = Machine::new().await;
    machine.scene.configure("HEALTH_SETTLE=3600\n");
    machine.update().await;
    machine.extension_is_lost();
    let daemon = machine.scene.boot(SlotName::B).await;
    let (_, status) = client(&machine.scene.bus, "-check_for_update").await;
    assert!(status.success());
    eventually("a reboot", || machine.scene.node.path(REBOOT).exists()).await;
    assert_eq!(machine.scene.node.disk.attributes(SlotName::A), (1, 0, 1));
    machine.scene.signals_until(IDLE).await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_it_is_switched_off_or_only_reported() {
    let mut machine = Machine::new().await;
    machine.update().await;
    machine.extension_is_lost();
    machine.scene.configure("HEALTH_REGRESSIONS=off\n");
    let daemon = machine.kept().await;
    assert!(daemon.log().contains("is not required: HEALTH_REGRESSIONS=off"));
    assert!(!machine.shows("why").await.contains("docker"));

    let mut machine = Machine::new().await;
    machine.update().await;
    machine.extension_is_lost();
    machine.scene.configure("HEALTH_REGRESSIONS=report\n");
    let daemon = machine.kept().await;
    assert!(
        daemon
            .log()
            .contains("the running slot is kept: HEALTH_REGRESSIONS=report")
    );
    machine.eventually_shows("why", LOST).await;
    machine
        .eventually_shows("health", "because: HEALTH_REGRESSIONS=report")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_by_itself_is_told_everywhere_and_the_slot_kept() {
    let mut machine = Machine::new().await;
    fs::create_dir_all(machine.scene.node.path(METRICS).parent().unwrap()).unwrap();
    machine.scene.configure(&format!("METRICS_FILE={METRICS}\n"));
    machine.update().await;
    machine.application_ends_with(7);
    let daemon = machine.kept().await;
    let said = "unit app.service has failed (exit code 7) (before: active)";
    assert!(
        daemon
            .log()
            .contains(&format!("worse than before the update: {said}"))
    );
    for command in ["status", "why", "history", "health"] {
        machine.eventually_shows(command, said).await;
    }
    let metrics = || fs::read_to_string(machine.scene.node.path(METRICS)).unwrap_or_default();
    eventually("metrics", || {
        metrics().contains("update_engine_regressions{certainty=\"perhaps\"} 1\n")
            && metrics().contains("update_engine_regressions{certainty=\"certain\"} 0\n")
    })
    .await;
    daemon.stop();
    // It is still known after a restart.
    let _daemon = machine.scene.boot(SlotName::B).await;
    machine.eventually_shows("status", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_lost_unless_its_unit_is_excused() {
    let said = "unit app.service has no program any more: /usr/bin/app is missing (before: active)";
    let mut machine = Machine::new().await;
    machine.update().await;
    machine.application_ends_with(203);
    let daemon = machine.left().await;
    assert!(daemon.log().contains(said), "{}", daemon.log());
    daemon.stop();

    let mut machine = Machine::new().await;
    machine.update().await;
    machine.application_ends_with(203);
    machine.scene.configure("HEALTH_EXCUSED=app\n");
    let daemon = machine.kept().await;
    assert!(!daemon.log().contains(said), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_other_slot_does_not_boot_what_is_lost_is_told_and_the_slot_kept() {
    let mut machine = Machine::new().await;
    machine.update().await;
    machine.extension_is_lost();
    fs::remove_file(machine.scene.node.path("/boot/flatcar/vmlinuz-a")).unwrap();
    let daemon = machine.kept().await;
    assert!(
        daemon
            .log()
            .contains("the running slot is kept: USR-A has no kernel at")
    );
    machine.eventually_shows("status", LOST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_systemd_that_does_not_answer_requires_nothing_and_holds_nobody() {
    let mut machine = Machine::new().await;
    machine.update().await;
    machine.extension_is_lost();
    machine.systemd.hang();
    let begun = Instant::now();
    let daemon = machine.kept().await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    let said = "is not required: systemd did not answer within 5 s";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    machine
        .eventually_shows("health", "nothing could be compared")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_record_of_the_other_slot_nothing_is_required() {
    type Spoil<'a> = &'a dyn Fn(&Machine);
    let foreign = |machine: &Machine| {
        let record = machine.scene.node.read(BASELINE);
        let mut json: serde_json::Value = serde_json::from_slice(contents(&record)).unwrap();
        json["bound"]["version"] = "0.9.0".into();
        let contents = serde_json::to_vec(&json).unwrap();
        machine
            .scene
            .node
            .write(BASELINE, &record_of_version(1, &contents));
    };
    let cases: [(&str, Spoil<'_>); 3] = [
        ("nothing was recorded before the update", &|machine| {
            fs::remove_file(machine.scene.node.path(BASELINE)).unwrap();
        }),
        ("baseline is no record", &|machine| {
            machine.scene.node.write(BASELINE, b"?");
        }),
        ("is of version \"0.9.0\", which isn't in the other slot", &foreign),
    ];
    for (reason, spoil) in cases {
        let mut machine = Machine::new().await;
        machine.update().await;
        machine.extension_is_lost();
        spoil(&machine);
        let daemon = machine.kept().await;
        let told = daemon
            .log()
            .lines()
            .filter(|line| line.contains("is not required: ") && line.contains(reason))
            .count();
        assert_eq!(told, 1, "{reason}: {}", daemon.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_boot_of_an_update_is_compared() {
    let mut machine = Machine::new().await;
    machine.scene.configure("HEALTH_SETTLE=3600\n");
    machine.update().await;
    machine.scene.boot(SlotName::B).await.stop();
    // Somebody has given it another try.
    assert_eq!(machine.scene.node.reboot(), SlotName::A);
    machine.scene.node.disk.set_attributes(SlotName::B, (3, 1, 0));
    assert_eq!(machine.scene.node.reboot(), SlotName::B);
    machine.boots();
    machine.extension_is_lost();
    machine.scene.configure("HEALTH_SETTLE=1\n");
    let config = machine.scene.node.read("/etc/flatcar/update.conf");
    let config = String::from_utf8(config)
        .unwrap()
        .replace("HEALTH_SETTLE=3600\n", "");
    machine
        .scene
        .node
        .write("/etc/flatcar/update.conf", config.as_bytes());
    let daemon = machine.scene.boot(SlotName::B).await;
    let attributes = || machine.scene.node.disk.attributes(SlotName::B);
    eventually("marked good", || attributes().2 == 1).await;
    assert!(
        daemon.log().contains("this is not the first boot of an update"),
        "{}",
        daemon.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_renewed_when_systemd_reloads_and_when_the_daemon_ends() {
    let mut machine = Machine::new().await;
    let daemon = machine.scene.boot(SlotName::A).await;
    eventually("recorded", || machine.recorded().contains("docker.service")).await;
    machine.systemd.put("reloaded.service", FakeUnit::active(APP));
    machine.systemd.reload().await;
    eventually("recorded after the reload", || {
        machine.recorded().contains("reloaded.service")
    })
    .await;
    machine.systemd.put("last.service", FakeUnit::active(APP));
    daemon.stop();
    assert!(machine.recorded().contains("last.service"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_systemd_nothing_is_recorded_and_that_is_said() {
    let mut machine = Machine::new().await;
    fs::remove_dir_all(machine.scene.node.path("/run/systemd")).unwrap();
    let daemon = machine.scene.boot(SlotName::A).await;
    eventually("it is said", || {
        daemon
            .log()
            .contains("systemd doesn't run this system: what is well is not recorded")
    })
    .await;
    daemon.stop();
    assert!(!machine.scene.node.path(BASELINE).exists());
}
