//! An update that an operator breaks off, and how it goes on.

use std::process::Output;

use update_engine::disk::SlotName;

use crate::support::bad_server::BadServer;
use crate::support::node::Node;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

pub(crate) async fn cancel(scene: &Scene<BadServer>) -> Output {
    let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let mut client = tokio::process::Command::from(client);
    client.arg("cancel").output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_hangs_is_broken_off_and_the_next_attempt_goes_on_where_it_was() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let server = BadServer::offering(payload, "hold=1000000;", |_| {});
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;

    let refused = cancel(&scene).await;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("a cancel has no meaning while nothing is under way"),
        "{said}"
    );

    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    let checkpoint = scene.node.path("/var/lib/update_engine/install/checkpoint");
    eventually("a checkpoint", || checkpoint.exists()).await;
    assert!(cancel(&scene).await.status.success());
    let failures = scene.signals_until(IDLE).await;
    assert!(
        failures
            .iter()
            .any(|signal| signal.2 == "UPDATE_STATUS_REPORTING_ERROR_EVENT")
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    assert_eq!(
        scene.events().last().map(|event| (event.0, event.1)),
        Some((3, 0))
    );
    let count = scene.node.pref("current-url-failure-count");
    assert_eq!(count.as_deref(), Some("0"), "nobody's fault");
    let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let history = tokio::process::Command::from(client)
        .arg("history")
        .output()
        .await
        .unwrap();
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(history.contains("an operator broke it off"), "{history}");

    scene.attempt(NEED_REBOOT).await;
    let downloads = scene.server.downloads();
    let range = downloads.last().unwrap().header("range").unwrap_or_default();
    assert!(range.starts_with("bytes=") && range != "bytes=0-", "{range}");
    assert!(scene.node.disk.slot(SlotName::B)[..16 << 20] == fixtures::image("new.img"));
    daemon.stop();
}
