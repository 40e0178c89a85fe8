//! The client's commands, as people type them: what they print and how they end.

use std::process::Output;

use serde_json::Value;
use update_engine::disk::SlotName;
use update_engine::status::{EngineState, FailureReport, Overview, Snapshot, Transfer};

use crate::support::bus_engine::BusEngine;
use crate::support::health::{REBOOT, require_a_file};
use crate::support::node::Node;
use crate::support::other_users::{client_process, may_become_others};
use crate::support::scene::{Scene, eventually};
use test_support::bus::{Accounts, NOBODY_UID, PrivateBus};
use test_support::fixtures;

/// Runs the client on `bus` as user `uid`.
async fn client_as(bus: &PrivateBus, uid: u32, arguments: &[&str]) -> Output {
    let mut process = tokio::process::Command::from(client_process(bus, uid));
    process.args(arguments).output().await.unwrap()
}

async fn client(bus: &PrivateBus, arguments: &[&str]) -> Output {
    client_as(bus, nix::unistd::geteuid().as_raw(), arguments).await
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_said(output: &Output, code: i32, parts: &[&str]) {
    let said = stdout(output) + &stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_waited_for_and_shown_and_then_the_slots_are() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    let update = client(&scene.bus, &["update"]).await;
    assert_said(
        &update,
        0,
        &[
            "preparing the update to 2.0.0\n",
            "2.0.0 is installed: reboot to use it\n",
        ],
    );

    scene
        .overview(|overview| overview.slots.iter().any(|slot| slot.tries == 1))
        .await;
    let slots = client(&scene.bus, &["slots"]).await;
    assert_eq!(
        stdout(&slots),
        "slot    runs  version         priority  tries  successful\n\
         USR-A   yes   1.0.0           1         0      yes\n\
         USR-B   no    2.0.0           2         1      no\n"
    );
    let status: Value =
        serde_json::from_slice(&client(&scene.bus, &["status", "--json"]).await.stdout).unwrap();
    assert_eq!(status["state"], "reboot-needed");
    assert_eq!(status["slots"][1]["version"], "2.0.0");
    assert_eq!(status["rollback"], Value::Null);

    let rollback = client(&scene.bus, &["rollback"]).await;
    assert_said(
        &rollback,
        1,
        &["refused: a rollback has no meaning while an update waits for the reboot"],
    );
    assert_said(
        &client(&scene.bus, &["reset", "--withdraw-slot"]).await,
        0,
        &["nothing waits"],
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    assert_said(
        &client(&scene.bus, &["rollback"]).await,
        1,
        &["refused: USR-B is not marked good"],
    );
    assert_said(&client(&scene.bus, &["mark-good"]).await, 0, &["is marked good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_update_ends_is_in_the_exit_code_and_why_says_more() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    assert_said(
        &client(&scene.bus, &["update"]).await,
        5,
        &["the server has none for this node"],
    );
    assert_said(
        &client(&scene.bus, &["why"]).await,
        0,
        &["No update", "nothing to do"],
    );

    scene
        .node
        .write("/etc/flatcar/update.conf", b"SERVER=http://127.0.0.1:1/\n");
    assert_said(
        &client(&scene.bus, &["update"]).await,
        7,
        &["More: update_engine_client why"],
    );
    assert_said(
        &client(&scene.bus, &["why"]).await,
        0,
        &["Last failure", "because: ", "Code             2000", "What to do"],
    );

    scene.node.write("/etc/flatcar/update.conf", b"SERVER=disabled\n");
    assert_said(&client(&scene.bus, &["update"]).await, 6, &["SERVER=disabled"]);
    let why = client(&scene.bus, &["why"]).await;
    assert_said(
        &why,
        0,
        &["SERVER=disabled", "set SERVER in /etc/flatcar/update.conf"],
    );
    // The remedies of its code are for servers that don't answer.
    let said = String::from_utf8(why.stdout).unwrap();
    assert!(!said.contains("name resolution"), "{said}");
}

/// Number, meaning and remedy of each row of the reference, without the marks of links.
fn codes() -> Vec<(u32, String, String)> {
    let reference = include_str!("../../../docs/errors.md");
    let text = |cell: &str| {
        let mut said = cell.trim().to_owned();
        for page in [
            "configuration.md",
            "health.md",
            "images.md",
            "operating.md",
            "rollback.md",
        ] {
            said = said.replace(&format!("[{page}]({page})"), &format!("docs/{page}"));
        }
        assert!(!said.contains("]("), "{said}");
        said
    };
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|');
        let number = cells.next()?.split_whitespace().next()?.parse().ok()?;
        Some((number, text(cells.next()?), text(cells.next()?)))
    };
    reference.lines().filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_says_of_every_code_what_it_means_and_what_to_do() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let mut codes = codes();
    assert!(codes.len() > 40, "{}", codes.len());
    // Those of HTTP share a row.
    let http = codes.last().unwrap().clone();
    codes.push((2404, http.1, http.2));
    for (code, meaning, remedy) in codes {
        let failure = FailureReport {
            code,
            sentence: "it went wrong".to_owned(),
            causes: vec!["of something".to_owned()],
        };
        engine.publish(snapshot(Overview {
            last_failure: Some(failure).into(),
            ..Overview::default()
        }));
        let code = format!("Code             {code}\n");
        let parts = ["it went wrong", "because: of something", &code, &meaning, &remedy];
        assert_said(&client(&bus, &["why"]).await, 0, &parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_status_names_the_check_and_what_it_said() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::B).await;
    eventually("a reboot", || scene.node.path(REBOOT).exists()).await;
    daemon.stop();
    let _daemon = scene.come_back().await;
    scene.overview(|overview| overview.rollback.0.is_some()).await;
    assert_said(
        &client(&scene.bus, &["status"]).await,
        0,
        &[
            "Rolled back      from version 2.0.0, noticed ",
            "because: health check /etc/update-engine/health.d/50-api ended with exit code 7",
            "| no answer on port 6443",
        ],
    );
}

/// Takes root: it becomes another user.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_or_finds_nobody_is_told_what_to_do() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::Ours);
    assert_said(
        &client(&bus, &["status"]).await,
        3,
        &[
            "the update engine is not running",
            "systemctl status update-engine",
        ],
    );
    let _engine = BusEngine::on(&bus).await;
    assert_said(
        &client_as(&bus, NOBODY_UID, &["status"]).await,
        0,
        &["Running version"],
    );
    assert_said(
        &client_as(&bus, NOBODY_UID, &["rollback"]).await,
        4,
        &["not allowed"],
    );
    assert_said(
        &client(&bus, &["status", "--bus-peer", "/nowhere"]).await,
        3,
        &["cannot connect to /nowhere", "-bus_peer /nowhere"],
    );
    assert_said(&client(&bus, &["status", "--nonsense"]).await, 2, &["Usage"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_a_bus_is_reached_by_its_socket() {
    let bus = PrivateBus::start(Accounts::Ours);
    let socket = bus.path("engine");
    let _engine = BusEngine::at(&socket).await;
    let status = client(&bus, &["status", "--bus-peer", socket.to_str().unwrap()]).await;
    assert_said(&status, 0, &["Running version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_followed_to_its_end_without_a_bus_too() {
    let bus = PrivateBus::start(Accounts::Ours);
    let socket = bus.path("engine");
    let engine = BusEngine::at(&socket).await;
    let downloading = |bytes_done| {
        let transfer = Transfer {
            bytes_done,
            bytes_total: 300,
            bytes_per_second: None,
            eta_seconds: None,
            content_package: None,
        };
        Overview {
            state: EngineState::Downloading,
            progress: Some(transfer).into(),
            ..Overview::default()
        }
    };
    engine.publish(snapshot(downloading(0)));
    let arguments = ["update", "--bus-peer", socket.to_str().unwrap()];
    let mut update = std::pin::pin!(client(&bus, &arguments));
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
    // Far more changes than a connection keeps for whoever doesn't read them.
    let mut changes = (1..=300).map(downloading).chain([Overview::default()]);
    let ended = loop {
        tokio::select! {
            ended = &mut update => break ended,
            // Once it listens, and has asked.
            _ = ticks.tick() => if engine.attempts() > 0 && let Some(change) = changes.next() {
                engine.publish(snapshot(change));
            },
        }
    };
    assert_said(&ended, 5, &[" of 300 B"]);
}

fn snapshot(overview: Overview) -> Snapshot {
    Snapshot {
        overview,
        ..Snapshot::default()
    }
}

#[tokio::test]
async fn the_configuration_is_told_with_the_file_of_each_value_and_without_secrets() {
    let bus = PrivateBus::start(Accounts::Ours);
    let node = Node::with_slots("http://server/", 4 << 20);
    node.write(
        "/etc/flatcar/update.conf",
        b"GROUP=beta\nDOWNLOAD_PASSWORD=hush\nHEALTH_SETTLE=soon\nPARTITION_oem=/dev/OEM-%s\nPARTITION_fixed=/dev/sda6\n",
    );
    let root = node.path("/");
    let config = client(&bus, &["config", "--root", root.to_str().unwrap()]).await;
    let lines = stdout(&config);
    let line = |key: &str| {
        let found = lines.lines().find(|line| line.starts_with(key)).unwrap();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("GROUP="), "GROUP=beta # /etc/flatcar/update.conf");
    assert_eq!(
        line("DOWNLOAD_PASSWORD="),
        "DOWNLOAD_PASSWORD=(set) # /etc/flatcar/update.conf"
    );
    assert_eq!(
        line("HEALTH_SETTLE="),
        "HEALTH_SETTLE=45 # default: /etc/flatcar/update.conf has a value that can't be used"
    );
    assert_eq!(
        line("PARTITION_oem="),
        "PARTITION_oem=/dev/OEM-%s # /etc/flatcar/update.conf"
    );
    assert_eq!(
        line("PARTITION_fixed="),
        "PARTITION_fixed=/dev/sda6 # no partition: /etc/flatcar/update.conf has a value that can't be used"
    );
    let config = client(&bus, &["config", "--json", "--root", root.to_str().unwrap()]).await;
    let settings: Vec<serde_json::Value> = serde_json::from_str(&stdout(&config)).unwrap();
    let find = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(find("PARTITION_oem")["from"], "/etc/flatcar/update.conf");
    assert_eq!(find("PARTITION_fixed")["refused_in"], "/etc/flatcar/update.conf");
}
