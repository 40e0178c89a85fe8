//! A site without a network: what `flatcar-update` does, with its servers and its command lines.

use std::process::ExitStatus;

use update_engine::disk::SlotName;

use crate::support::ncat::Ncat;
use crate::support::node::{CONFIG, Node, sha256};
use crate::support::offer::offer;
use crate::support::scene::Scene;
use crate::support::socat::Socat;
use test_support::bus::PrivateBus;
use test_support::fixtures;

const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");

/// How the script sees that an update waits for its reboot.
const WAITS: &str = r#""$0" -status 2>/dev/null | grep -q '^CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT$'"#;
/// How it starts one.
const UPDATE: &str = r#""$0" -update >/dev/null 2>&1"#;

async fn script(bus: &PrivateBus, line: &str) -> ExitStatus {
    let mut shell = bus.process("sh");
    shell.args(["-c", line, CLIENT]);
    tokio::process::Command::from(shell).status().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_from_a_file_is_installed_through_ncat_and_socat_and_a_second_run_refuses() {
    let payload = fixtures::payload("full.payload");
    let packages = Socat::serving(&payload);
    let directory = tempfile::tempdir().unwrap();
    let response = directory.path().join("response.xml");
    std::fs::write(&response, offer("9999.0.0", &packages.url(), &payload)).unwrap();
    let omaha = Ncat::answering(&response);

    let mut scene = Scene::with((), Node::new("disabled")).await;
    let daemon = scene.boot(SlotName::A).await;
    assert!(!script(&scene.bus, WAITS).await.success());
    // The daemon runs already: the file counts at the next check.
    let config = format!("GROUP=developer\nSERVER={}\n", omaha.url());
    scene.node.write(CONFIG, config.as_bytes());
    assert!(script(&scene.bus, UPDATE).await.success());
    assert!(script(&scene.bus, WAITS).await.success(), "{}", daemon.log());

    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    assert_eq!(
        sha256(&scene.node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    let kept = scene.node.pref("full-response").unwrap();
    assert_eq!(kept.as_bytes(), std::fs::read(&response).unwrap());
}

/// As the script has done it since August 2024: socat on both sides, and the one for Omaha doesn't
/// read what it is asked, so that about one answer of a hundred is lost. Who runs the script runs
/// it again then.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_from_a_file_is_installed_through_socat_alone() {
    let payload = fixtures::payload("full.payload");
    let packages = Socat::serving(&payload);
    let directory = tempfile::tempdir().unwrap();
    let response = directory.path().join("response.xml");
    std::fs::write(&response, offer("9999.0.0", &packages.url(), &payload)).unwrap();
    let omaha = Socat::answering(&response);

    let mut scene = Scene::with((), Node::new("disabled")).await;
    let daemon = scene.boot(SlotName::A).await;
    let config = format!("GROUP=developer\nSERVER={}update\n", omaha.url());
    scene.node.write(CONFIG, config.as_bytes());
    let mut runs = 0;
    while !script(&scene.bus, WAITS).await.success() {
        runs += 1;
        assert!(runs < 5, "{}", daemon.log());
        assert!(script(&scene.bus, UPDATE).await.success());
    }
    assert_eq!(
        sha256(&scene.node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
}
