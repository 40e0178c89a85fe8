//! Characters that change the direction of writing, or that a terminal obeys, in what others say:
//! nobody is shown them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use update_engine::disk::SlotName;
use update_engine::status::Overview;

use crate::omaha::nebraska::Site;
use crate::support::bad_server::BadServer;
use crate::support::health::CHECK;
use crate::support::node::{CONFIG, Node};
use crate::support::raw_payload::{RawPayload, image};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};

/// Turns what follows round; erases a screen; ends a line for some readers.
const TRICKS: &str = "\u{202e}\u{2066}\u{200b}\u{1b}[2J\u{2028}";
/// Those that XML and offers let through.
const IN_OFFERS: &str = "\u{202e}\u{2066}\u{200b}\u{2028}";
const METRICS: &str = "/var/lib/metrics.prom";

fn is_harmless(what: &str, text: &str) {
    let found = text
        .lines()
        .find(|line| line.chars().any(|c| TRICKS.contains(c) && !c.is_ascii_graphic()));
    assert_eq!(found, None, "{what}");
}

/// What the client says to people.
async fn everything_told<S>(scene: &Scene<S>) -> String {
    let mut told = String::new();
    let root = scene.node.path("/");
    for command in [
        &["status"][..],
        &["why"],
        &["slots"],
        &["history"],
        &["check", "--dry-run"],
        &["config", "--root", root.to_str().unwrap()],
    ] {
        let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        let output = tokio::process::Command::from(client)
            .args(command)
            .output()
            .await
            .unwrap();
        told += &String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    }
    told
}

async fn status_for_programs<S>(scene: &Scene<S>) -> String {
    let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let output = tokio::process::Command::from(client)
        .arg("-status")
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The texts of an overview that are for people: versions are what the server said, for programs.
fn texts(mut overview: Overview) -> String {
    overview.waiting_version.clear();
    overview.running_version.clear();
    overview.slots.clear();
    format!(
        "{}{}",
        overview.summary,
        serde_json::to_string(&overview).unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_is_shown_harmless_to_people_and_as_it_is_to_programs() {
    let version = format!("2.0.0{IN_OFFERS}");
    let mut site = Site::new("", &format!("version=\"{version}\"")).await;
    let config = format!(
        "GROUP=st{IN_OFFERS}able\nSERVER={}\nMETRICS_FILE={METRICS}\n",
        site.scene.server.url()
    );
    site.scene.node.write(CONFIG, config.as_bytes());
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene
        .server
        .group(|group| group.refusal = Some("error-new\u{202e}\u{2028}"));
    site.scene.attempt(IDLE).await;
    let mut told = everything_told(&site.scene).await;
    told += &texts(
        site.scene
            .overview(|overview| overview.no_update.0.is_some())
            .await,
    );
    site.scene.server.group(|group| group.refusal = None);
    let signals = site.scene.attempt(NEED_REBOOT).await;
    told += &everything_told(&site.scene).await;
    let overview = site
        .scene
        .overview(|overview| !overview.waiting_version.is_empty())
        .await;

    assert_eq!(signals.last().unwrap().3, version, "programs get what was said");
    assert_eq!(overview.waiting_version, version);
    assert!(status_for_programs(&site.scene).await.contains(&version));
    told += &texts(overview);
    let metrics = || String::from_utf8(site.scene.node.read(METRICS)).unwrap();
    eventually("the metrics tell of the update", || metrics().contains("2.0.0")).await;
    for (what, text) in [
        ("what is told", told),
        ("metrics", metrics()),
        ("journal", daemon.log()),
    ] {
        is_harmless(what, &text);
        assert!(
            text.contains("2.0.0\\u{202e}") || text.contains("2.0.0\\\\u{202e}"),
            "{what}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_of_the_node_says_is_shown_harmless() {
    let mut scene = Scene::quiet().await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    let script = format!("#!/bin/sh\nprintf '%s\\n' 'no answer{TRICKS}!'\nexit 7\n");
    scene.node.write(CHECK, script.as_bytes());
    std::fs::set_permissions(scene.node.path(CHECK), Permissions::from_mode(0o755)).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    eventually("the check has failed", || daemon.log().contains("no answer")).await;
    scene.attempt(IDLE).await;
    is_harmless("journal", &daemon.log());
    assert!(
        daemon
            .log()
            .contains("no answer\\u{202e}\\u{2066}\\u{200b}\\u{1b}[2J\\u{2028}!")
    );
    is_harmless("what is told", &everything_told(&scene).await);
    is_harmless(
        "bus",
        &texts(scene.overview(|overview| !overview.trial.is_empty()).await),
    );
}

/// The manifest is refused before anybody has vouched for it, and a bus lets no message of so many
/// bytes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_megabytes_is_told_in_short() {
    let mut raw = RawPayload::v2();
    raw.partition(&"\u{1}".repeat(7 << 20), &image(1), &[], &[]);
    let server = BadServer::offering(raw.unsigned(), "", |_| ());
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    for _ in 0..2 {
        scene.attempt(IDLE).await;
        let overview = scene.overview(|overview| overview.last_failure.0.is_some()).await;
        let told = texts(overview);
        assert!(told.len() < 10_000, "{} bytes are told", told.len());
        assert!(told.contains("unknown partition"), "{told}");
    }
    let log = daemon.log().len();
    assert!(log < 100_000, "the journal got {log} bytes");
}
