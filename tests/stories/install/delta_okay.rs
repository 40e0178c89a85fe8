//! Deltas in the fleet: when a node says that one would do.

use update_engine::disk::SlotName;

use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Daemon, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;

fn serving(payload: &str, faults: &str) -> BadServer {
    let bytes = std::fs::read(fixtures::payload(payload)).unwrap();
    let is_delta = payload.starts_with("delta");
    BadServer::offering(bytes, faults, |offer| offer.is_delta = is_delta)
}

/// The node asks `server` from now on.
fn ask(scene: &mut Scene<BadServer>, server: BadServer) {
    let config = format!("SERVER={}\n", server.url());
    scene.node.write(CONFIG, config.as_bytes());
    scene.server = server;
}

/// An attempt up to `end`; gives what the node said of deltas when it asked.
async fn attempt(scene: &mut Scene<BadServer>, end: &str) -> String {
    scene.attempt(end).await;
    let check = scene.server.last_check();
    let (_, after) = check.split_once("delta_okay=\"").unwrap();
    after.split_once('"').unwrap().0.to_owned()
}

fn failures(scene: &Scene<BadServer>) -> Option<String> {
    scene.node.pref("delta-update-failures")
}

/// A node that has updated itself from 1.0.0 in slot A to 2.0.0 in slot B, which runs.
async fn updated() -> (Scene<BadServer>, Daemon) {
    let server = serving("full.payload", "");
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    // Nobody knows what is in there: as the original always says.
    assert_eq!(attempt(&mut scene, NEED_REBOOT).await, "false");
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    let daemon = scene.boot(SlotName::B).await;
    (scene, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_a_slot_that_it_filled_itself_takes_deltas_until_three_have_failed() {
    let (mut scene, daemon) = updated().await;
    // Each is for the image in slot A.
    ask(&mut scene, serving("delta.payload", ""));
    for count in ["1", "2", "3"] {
        assert_eq!(attempt(&mut scene, IDLE).await, "true");
        assert_eq!(failures(&scene).as_deref(), Some(count));
    }
    assert_eq!(attempt(&mut scene, IDLE).await, "false");
    assert_eq!(scene.node.disk.attributes(SlotName::A).2, 1, "still a fallback");

    ask(&mut scene, serving("full.payload", ""));
    assert_eq!(attempt(&mut scene, NEED_REBOOT).await, "false");
    assert_eq!(failures(&scene).as_deref(), Some("0"));
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::A);
    let daemon = scene.boot(SlotName::A).await;
    assert_eq!(attempt(&mut scene, NEED_REBOOT).await, "true");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_bad_network_nor_a_full_payload_speaks_against_deltas() {
    let (mut scene, daemon) = updated().await;
    ask(&mut scene, serving("delta.payload", "status=404"));
    for _ in 0..3 {
        attempt(&mut scene, IDLE).await;
    }
    let mut wrong = std::fs::read(fixtures::payload("full.payload")).unwrap();
    wrong[500_000] ^= 1;
    ask(&mut scene, BadServer::offering(wrong, "", |_| ()));
    for _ in 0..3 {
        assert_eq!(attempt(&mut scene, IDLE).await, "true");
    }
    assert_eq!(failures(&scene).as_deref(), Some("0"));
    daemon.stop();
}
