//! Parity with the original in details that others have come to rely on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use update_engine::disk::SlotName;

use crate::install::killed_deltas::wait_for_checkpoint;
use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, KERNEL_B, MARKER, Node, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;

const DAEMON: &str = env!("CARGO_BIN_EXE_update_engine");
/// The server is not the public one.
const PRIVATE: i64 = 1 << 28;
const RESUMED: i64 = 1 << 30;
/// Those of the original's preferences that are kept here.
const PREFERENCES: [&str; 17] = [
    "aleph-version",
    "backoff-expiry-time",
    "current-response-signature",
    "current-url-failure-count",
    "current-url-index",
    "delta-update-failures",
    "full-response",
    "manifest-metadata-size",
    "payload-attempt-number",
    "previous-version",
    "resumed-update-failures",
    "update-check-response-hash",
    "update-state-next-data-offset",
    "update-state-next-operation",
    "update-state-sha-256-context",
    "update-state-signature-blob",
    "update-state-signed-sha-256-context",
];

async fn offered() -> Scene {
    Scene::offering(&fixtures::payload("full.payload")).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_says_at_its_start_that_it_is_idle() {
    let mut scene = Scene::quiet().await;
    let daemon = scene.node.start(&scene.bus, SlotName::A);
    let first = scene.signal().await;
    assert_eq!(first, (0, 0.0, IDLE.to_owned(), "0.0.0".to_owned(), 0));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_while_an_update_waits_succeeds_and_does_nothing() {
    let mut scene = offered().await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let asked = scene.server.journal().exchanges().len();
    let (_, attempted) = client(&scene.bus, "-check_for_update").await;
    assert!(attempted.success());
    // The version stays with the state.
    let (status, _) = client(&scene.bus, "-status").await;
    let expected = "CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\nNEW_VERSION=2.0.0\n";
    assert!(status.contains(expected), "{status}");
    daemon.stop();
    assert_eq!(scene.server.journal().exchanges().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_when_idle_succeeds_and_leaves_everything_as_it_is() {
    let mut scene = Scene::quiet().await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let (before, _) = client(&scene.bus, "-status").await;
    let (_, reset) = client(&scene.bus, "-reset_status").await;
    assert!(reset.success());
    assert_eq!(client(&scene.bus, "-status").await.0, before);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_check_is_the_last_that_succeeded_since_the_start() {
    let mut scene = Scene::quiet().await;
    let daemon = scene.boot(SlotName::A).await;
    let checked = scene.attempt(IDLE).await.last().unwrap().0;
    assert!(checked > 0);
    // Also: an edit of the configuration counts without a restart.
    let nowhere = scene.server.url().replace("/v1/update/", "/nowhere/");
    scene.node.write(CONFIG, format!("SERVER={nowhere}\n").as_bytes());
    let failed = scene.attempt(IDLE).await;
    assert_eq!(failed.last().unwrap().0, checked);
    daemon.stop();
    let daemon = scene.node.start(&scene.bus, SlotName::A);
    assert_eq!(scene.signal().await.0, 0);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_update_leaves_is_for_root_alone_but_for_the_request_to_reboot() {
    let mut scene = offered().await;
    fs::remove_file(scene.node.path(KERNEL_B)).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    let marker = scene.node.path(MARKER);
    assert_eq!((mode(&marker), fs::read(marker).unwrap().len()), (0o600, 0));
    assert_eq!(mode(&scene.node.path(KERNEL_B)), 0o600);
    for entry in fs::read_dir(scene.node.path("/var/lib/update_engine/prefs")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_after_an_update_are_those_that_the_original_leaves() {
    let mut scene = offered().await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    for (key, value) in [
        ("aleph-version", "1.0.0"),
        ("previous-version", "1.0.0"),
        ("delta-update-failures", "0"),
        ("payload-attempt-number", "1"),
        ("manifest-metadata-size", "-1"),
        ("update-state-next-data-offset", "-1"),
        ("update-state-next-operation", "-1"),
        ("update-state-sha-256-context", ""),
        ("update-state-signature-blob", ""),
        ("update-state-signed-sha-256-context", ""),
    ] {
        assert_eq!(scene.node.pref(key).as_deref(), Some(value), "{key}");
    }
    let signature = scene.node.pref("current-response-signature").unwrap();
    let keys: Vec<_> = signature
        .lines()
        .map(|line| line.split(" = ").next().unwrap())
        .collect();
    let expected = [
        "NumURLs",
        "Url0",
        "Payload Size",
        "Payload Sha256 Hash",
        "Is Delta Payload",
        "Max Failure Count Per Url",
        "Disable Payload Backoff",
    ];
    assert_eq!(keys, expected);
    // Not that to an event, which has none.
    let response = scene.node.pref("full-response").unwrap();
    assert!(
        response.starts_with("<?xml") && response.contains("<updatecheck"),
        "{response}"
    );
    let directory = fs::read_dir(scene.node.path("/var/lib/update_engine/prefs")).unwrap();
    for entry in directory {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(PREFERENCES.contains(&name.as_str()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kernels_stay_in_the_directory_that_has_them() {
    let mut scene = offered().await;
    let kernels = scene.node.path("/boot/flatcar");
    fs::rename(&kernels, scene.node.path("/boot/coreos")).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    let new = fs::read(fixtures::payload("vmlinuz-new")).unwrap();
    assert!(scene.node.read("/boot/coreos/vmlinuz-b") == new);
    assert!(!kernels.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_went_on_reports_from_the_beginning_and_marks_its_failure() {
    let payload = fs::read(fixtures::payload("full.payload")).unwrap();
    let half = payload.len() / 2;
    let server = BadServer::offering(payload, &format!("hold={half};"), |_| ());
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    wait_for_checkpoint(&scene.node, None);
    daemon.kill();

    let daemon = scene.boot(SlotName::A).await;
    scene.node.trust("other-key.pub.pem");
    scene.attempt(IDLE).await;
    daemon.stop();
    let wrong_key = 18 + PRIVATE + RESUMED;
    let events = scene.events();
    assert_eq!(events, [(13, 1, None), (13, 1, None), (3, 0, Some(wrong_key))]);
    let ranges: Vec<_> = scene
        .server
        .downloads()
        .iter()
        .map(|get| get.header("range").is_some())
        .collect();
    assert_eq!(ranges, [false, true]);
}

/// The daemon on a node without a bus, with `flags`.
fn daemon(node: &Node, flags: &[&str]) -> Command {
    let mut daemon = Command::new(DAEMON);
    daemon
        .arg("-root")
        .arg(node.path("/"))
        .arg("-disk")
        .arg(node.disk.path());
    daemon.args(["-running_slot", "A"]).args(flags);
    daemon
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    daemon
}

/// The process whose command line holds `text`.
fn process_with(text: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = numbers.find(|number: &i32| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    });
    found.map(Pid::from_raw)
}

#[test]
fn without_its_foreground_flag_the_daemon_leaves_whoever_started_it() {
    let node = Node::with_slots("disabled", 1 << 20);
    let socket = node.beside("engine");
    let name = socket.to_str().unwrap().to_owned();
    let started = daemon(&node, &["-skip_postinst", "-bus_peer", &name])
        .output()
        .unwrap();
    assert!(started.status.success(), "{started:?}");
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no daemon serves");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = process_with(&name).unwrap();
    kill(left, Signal::SIGTERM).unwrap();
    while process_with(&name).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_daemon_ends_as_gflags_ends() {
    let node = Node::with_slots("disabled", 1 << 20);
    let ended = |flag: &str| {
        let output = daemon(&node, &["-foreground", "-logtostderr", flag])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let unknown = "ERROR: unknown command line flag 'omaha_url'\n".to_owned();
    assert_eq!(ended("-omaha_url=x"), (Some(1), unknown));
    assert_eq!(ended("--version"), (Some(0), "update_engine\n".to_owned()));
    assert_eq!(ended("--help").0, Some(1));
}
