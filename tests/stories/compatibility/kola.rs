//! The scenarios by which distributions test updates from end to end, by their names there.
//!
//! | there | here |
//! |---|---|
//! | `cl.update.payload` | [`cl_update_payload`] |
//! | `cl.update.payload-boot-part-too-small` | [`crate::install::kept_bootable`]: a full boot partition costs no kernel |
//! | `cl.omaha.ping` | [`cl_omaha_ping`] |
//! | `cl.update.reboot`, `cl.update.badverity`, `coreos.update.badusr` | the machines: `vm-tests`, with the loader |
//! | `cl.update.oem` | [`crate::postinst::program`]: extensions come with the slot |

use std::time::{Duration, Instant};

use update_engine::disk::SlotName;
use update_engine::serve::Ask;

use crate::support::node::{CONFIG, Node, client};
use crate::support::offer::offer;
use crate::support::scene::{Asked as _, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

/// What kola makes of the status: it panics on a line without `=`.
fn current_operation(status: &str) -> &str {
    let pairs: Vec<_> = status.lines().map(|line| line.split_once('=').unwrap()).collect();
    pairs.iter().find(|(key, _)| *key == "CURRENT_OP").unwrap().1
}

/// kola's server offers the same payload for ever, as no version at all.
fn always_offering(server: &Server) -> String {
    let payload = fixtures::payload("full.payload");
    server.serve("flatcar_production_update.gz", std::fs::read(&payload).unwrap());
    server.serve("update", offer("", &server.url(""), &payload));
    server.url("update")
}

async fn update_to(scene: &mut Scene<Server>, running: SlotName) {
    let daemon = scene.boot(running).await;
    let (_, check) = client(&scene.bus, "-check_for_update").await;
    assert!(check.success());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (status, _) = client(&scene.bus, "-status").await;
        if current_operation(&status) == "UPDATE_STATUS_UPDATED_NEED_REBOOT" {
            assert!(status.contains("\nNEW_VERSION=\n"), "{status}");
            break;
        }
        assert!(Instant::now() < deadline, "{status}{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    daemon.stop();
    assert_eq!(scene.node.reboot(), !running);
}

#[tokio::test(flavor = "multi_thread")]
async fn cl_update_payload() {
    let server = Server::start();
    let url = always_offering(&server);
    let node = Node::new("disabled");
    node.write(CONFIG, format!("GROUP=developer\nSERVER={url}\n").as_bytes());
    node.write(
        "/boot/flatcar/vmlinuz-b",
        &std::fs::read(fixtures::payload("vmlinuz-new")).unwrap(),
    );
    let mut scene = Scene::with(server, node).await;
    update_to(&mut scene, SlotName::A).await;
    // The slot that was left is wiped, and the same version installed over it.
    scene.node.disk.write(SlotName::A, 0, &vec![0; 1 << 20]);
    update_to(&mut scene, SlotName::B).await;
    assert_eq!(scene.node.disk.attributes(SlotName::B).2, 1, "B was marked good");
    assert!(scene.node.disk.slot(SlotName::A) == fixtures::image("new.img"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cl_omaha_ping() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    let start = Instant::now();
    let (_, check) = client(&scene.bus, "-check_for_update").await;
    assert!(check.success());
    eventually("a ping arrives", || {
        let questions = scene.server.questions();
        questions
            .iter()
            .any(|question| question.asks.contains(&Ask::Ping))
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(30));
}
