//! Promise 1, a node always boots: the power fails at any write or sync of an update. The old slot
//! boots, the other one doesn't, and the next attempt finishes the job.

use std::sync::Arc;

use update_engine::disk::SlotName;
use update_engine::install::PostinstMode;

use crate::support::installing::{install, plan};
use crate::support::node::{Node, sha256};
use crate::support::power::FailingDisk;
use test_support::fixtures;
use test_support::server::Server;

/// More writes and syncs than an update of the fixtures takes.
const NEVER: usize = 1 << 20;

/// Points at which the power fails, spread over the update.
const CUTS: usize = 8;

fn failing(node: &Node, after: usize, seed: u64) -> FailingDisk {
    FailingDisk::new(node.slots(), after, seed, node.state())
}

/// Writes and syncs that an undisturbed update takes.
async fn length(payload: &[u8], server: &Server) -> usize {
    let node = Node::with_two_good_slots();
    let disk = failing(&node, NEVER, 0);
    let supply = disk.supply();
    let site = node.site_with(Arc::new(disk), PostinstMode::Skip);
    install(plan(server.url("p"), payload), site).await.unwrap();
    NEVER - supply.left()
}

async fn survives_a_cut_anywhere(name: &str) {
    let server = Server::start();
    let payload = std::fs::read(fixtures::payload(name)).unwrap();
    server.serve("p", payload.clone());
    let expected = sha256(&fixtures::image("new.img"));
    let length = length(&payload, &server).await;
    for nth in 0..CUTS {
        let node = Node::with_two_good_slots();
        let plan = plan(server.url("p"), &payload);
        let after = 1 + nth * (length - 1) / (CUTS - 1);
        // One cut, and a second one during the attempt that comes after it.
        for after in [after, length / 3] {
            let disk = failing(&node, after, nth as u64 * 77 + after as u64);
            let supply = disk.supply();
            let site = node.site_with(Arc::new(disk), PostinstMode::Skip);
            let ended = install(plan.clone(), site).await;
            supply.restore();
            if ended.is_ok() {
                continue;
            }
            assert!(node.slot_attributes(SlotName::A).is_good());
            assert!(
                !node.slot_attributes(SlotName::B).is_selectable(),
                "cut {after} of {length}"
            );
        }
        node.install(plan).await.unwrap();
        assert_eq!(
            sha256(&node.disk.slot(SlotName::B)),
            expected,
            "cut {after} of {length}"
        );
        assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
    }
}

#[tokio::test]
async fn a_node_always_boots_whenever_the_power_fails_in_a_full_update() {
    survives_a_cut_anywhere("full.payload").await;
}

#[tokio::test]
async fn a_node_always_boots_whenever_the_power_fails_in_a_delta() {
    survives_a_cut_anywhere("delta.payload").await;
}
