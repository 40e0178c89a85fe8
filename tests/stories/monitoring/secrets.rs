//! No secret of a URL or of the configuration is shown anywhere: one daemon, through everything
//! that has any.

use std::path::Path;

use update_engine::bus::{ENGINE_INTERFACE, ENGINE_PATH, SERVICE};
use update_engine::disk::SlotName;
use zbus::fdo::PropertiesProxy;

use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;

/// All secrets of this story are called so.
const SECRET: &str = "geheim";
const METRICS: &str = "/var/lib/metrics.prom";

/// Writes the configuration with `server` as `SERVER`.
fn configure(node: &Node, server: &str) {
    let text = format!(
        "GROUP=stable\nSERVER={server}\nDOWNLOAD_USER=it\nDOWNLOAD_PASSWORD={SECRET}5\nMETRICS_FILE={METRICS}\n"
    );
    node.write(CONFIG, text.as_bytes());
}

/// What every command of the client says, and every property of the bus.
async fn everything_shown(scene: &Scene<BadServer>) -> String {
    let mut shown = String::new();
    let root = scene.node.path("/");
    let root = root.to_str().unwrap();
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["why"],
        &["history"],
        &["history", "--json"],
        &["check", "--dry-run", "--ask-server"],
        &["config", "--root", root],
        &["config", "--json", "--root", root],
        &["-status"],
    ] {
        let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        let output = tokio::process::Command::from(client)
            .args(command)
            .output()
            .await
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        shown += &String::from_utf8_lossy(&said);
    }
    let client = scene.bus.connect().await;
    let properties = PropertiesProxy::new(&client, SERVICE, ENGINE_PATH).await.unwrap();
    let all = properties
        .get_all(ENGINE_INTERFACE.try_into().unwrap())
        .await
        .unwrap();
    shown + &format!("{all:?}")
}

/// Each file of the daemon that somebody else may read, and its records.
fn everything_written(node: &Node) -> String {
    let mut files = vec![node.path(METRICS), node.path("/var/lib/update_engine/attempts")];
    files.push(node.path("/var/lib/update_engine/history"));
    let text = |path: &Path| {
        std::fs::read(path).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    };
    files.iter().map(|path| text(path)).collect()
}

fn is_clean(what: &str, text: &str) {
    let found = text.lines().find(|line| line.contains(SECRET));
    assert_eq!(found, None, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_journal_status_metrics_history_properties_or_errors() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    // An attempt and a dry run are refused, two are led to something that is no URL, the last is
    // led away and succeeds.
    let faults = "status=403;status=403;redirect=broken;redirect=broken;redirect=secret";
    let server = BadServer::offering(payload, faults, |offer| {
        offer.name = "update.gz?sig=geheim4";
        offer.user = "you:geheim3@";
    });
    let url = server
        .url()
        .replace("http://", "http://me:geheim1@")
        .replace("/offer", "/redirect=secret/offer?key=geheim2");
    let node = Node::new(&url);
    let mut scene = Scene::with(server, node).await;
    configure(&scene.node, &url);
    let mut shown = String::new();

    let daemon = scene.boot(SlotName::A).await;
    for _ in 0..2 {
        scene.attempt(IDLE).await;
        shown += &everything_shown(&scene).await;
        is_clean("what the client and the bus say", &shown);
        is_clean("files", &everything_written(&scene.node));
    }
    configure(&scene.node, "htp://me:geheim7@[/?key=geheim8");
    scene.attempt(IDLE).await;
    shown += &everything_shown(&scene).await;
    // Readers of URLs would find a host in each.
    for odd in [
        "http:///me:geheim9@host/",
        r"http:\\me:geheim9@host",
        "https:me:geheim9@host",
    ] {
        configure(&scene.node, odd);
        scene.attempt(IDLE).await;
        shown += &everything_shown(&scene).await;
    }
    configure(&scene.node, &url);
    scene.attempt(NEED_REBOOT).await;
    shown += &everything_shown(&scene).await;
    shown += &everything_written(&scene.node);
    shown += &daemon.log();
    daemon.stop();
    std::fs::remove_dir_all(scene.node.path("/var/run")).unwrap();
    for proxy in [
        "http://p:geheim6@127.0.0.1:9",
        "ftp://p:geheim6@127.0.0.1:9",
        "socks4://p:geheim6@127.0.0.1:9",
    ] {
        let daemon = scene
            .node
            .start_after(&format!("export http_proxy={proxy}"), &scene.bus, SlotName::A);
        scene.signals_until(IDLE).await;
        scene.attempt(IDLE).await;
        shown += &everything_shown(&scene).await;
        shown += &daemon.log();
        daemon.stop();
    }
    is_clean("what was shown", &shown);

    all_were_at_work(&shown, &scene.server);
}

/// Shown is what is left of each, and sent is what it was.
fn all_were_at_work(shown: &str, server: &BadServer) {
    for told in [
        "/redirect=secret/offer…",
        "update.gz… answers 403; DOWNLOAD_PASSWORD was not sent there",
        "is not followed: its target \"http://[/update.gz…\" is no URL",
        "the server \"htp://[/…\" is no http or https URL",
        "the server \"http:///host/\" is no http or https URL",
        "DOWNLOAD_PASSWORD is not sent to",
        "no connection to 127.0.0.1:9",
        "http_proxy names a proxy of the unknown scheme \"ftp\"",
        "http_proxy has a user name",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let sent = |user: &str| {
        let header = format!("Basic {}", base64(user));
        server
            .requests()
            .iter()
            .any(|request| request.header("authorization") == Some(&header))
    };
    assert!(sent("me:geheim1") && sent("you:geheim3") && sent("bob:geheim"));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
