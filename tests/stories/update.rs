//! A node updates itself: the real daemon and client on a real bus, a real server, a real disk image.

use std::num::NonZero;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use update_engine::bus::{INTERFACE, StatusFields};
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server};
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use crate::support::bus::{Accounts, PrivateBus};
use crate::support::fixtures;
use crate::support::node::{Daemon, MARKER, Node, client, sha256};

/// No step of these stories takes longer unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that an update needs.
struct Scene {
    bus: PrivateBus,
    server: Server,
    node: Node,
    signals: MessageStream,
}

impl Scene {
    /// A server that offers `payload` as version 2.0.0.
    async fn offering(payload: &str) -> Self {
        let catalog = Catalog::open("2.0.0", &fixtures::payload(payload)).unwrap();
        let bus = PrivateBus::start(Accounts::Ours);
        let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
            .await
            .unwrap();
        let node = Node::new(&server.url());
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(INTERFACE)
            .member("StatusUpdate")
            .build()
            .unwrap();
        let listener = bus.connect().await;
        let signals = MessageStream::for_match_rule(rule, &listener, NonZero::new(1000))
            .await
            .unwrap();
        Self {
            bus,
            server,
            node,
            signals,
        }
    }

    /// Starts the daemon from `slot`; returns once it has signalled that it is there.
    async fn boot(&mut self, slot: SlotName) -> Daemon {
        let daemon = self.node.start(&self.bus, slot);
        self.signal().await;
        daemon
    }

    async fn signal(&mut self) -> StatusFields {
        let message = timeout(PATIENCE, self.signals.next()).await;
        let message = message.expect("no signal comes any more").unwrap().unwrap();
        message.body().deserialize().unwrap()
    }

    /// Runs an attempt until a signal says `operation`; gives all of its signals.
    async fn attempt(&mut self, operation: &str) -> Vec<StatusFields> {
        let (_, status) = client(&self.bus, "-check_for_update").await;
        assert!(status.success());
        let mut signals = Vec::new();
        loop {
            signals.push(self.signal().await);
            if signals.last().unwrap().2 == operation {
                return signals;
            }
        }
    }

    /// Type, result and code of every event but those that checks carry.
    fn events(&self) -> Vec<(u32, u32, Option<i64>)> {
        let exchanges = self.server.journal().exchanges();
        let events = exchanges.iter().filter(|exchange| !exchange.is_check());
        events
            .flat_map(|exchange| {
                exchange
                    .events()
                    .map(|event| (event.kind, event.result, event.code))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The operations, each once while it lasts.
fn operations(signals: &[StatusFields]) -> Vec<&str> {
    let mut operations: Vec<&str> = signals
        .iter()
        .map(|signal| signal.2.trim_start_matches("UPDATE_STATUS_"))
        .collect();
    operations.dedup();
    operations
}

const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
const IDLE: &str = "UPDATE_STATUS_IDLE";

async fn a_payload_is_installed(payload: &str, kernel: &str) {
    let mut scene = Scene::offering(payload).await;
    let before = scene.node.untouchable();
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(NEED_REBOOT).await;

    // What reboot managers saw.
    assert_eq!(
        operations(&signals),
        [
            "CHECKING_FOR_UPDATE",
            "UPDATE_AVAILABLE",
            "DOWNLOADING",
            "FINALIZING",
            "UPDATED_NEED_REBOOT"
        ]
    );
    let size = i64::try_from(std::fs::metadata(fixtures::payload(payload)).unwrap().len()).unwrap();
    let last = signals.last().unwrap();
    assert_eq!((last.3.as_str(), last.4), ("2.0.0", size));
    assert!(last.0 > 0, "the time of the check is shown");
    let progress: Vec<f64> = signals
        .iter()
        .filter(|signal| signal.2.ends_with("DOWNLOADING"))
        .map(|signal| signal.1)
        .collect();
    assert!(progress.is_sorted() && progress[0] > 0.0);
    assert!((progress.last().unwrap() - 1.0).abs() < f64::EPSILON);

    // What the server saw.
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), (3, 1, None)]);
    let downloads = scene.server.journal().downloads();
    assert_eq!(downloads.len(), 1);
    assert_eq!(downloads[0].range, None);

    // What the disk holds, by others' judgement.
    let node = &scene.node;
    assert_eq!(node.slot_sha256(SlotName::B), sha256(&fixtures::image("new.img")));
    node.assert_table_is_whole();
    assert_eq!(node.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(node.attributes(SlotName::B), (2, 1, 0));
    assert!(
        node.untouchable() == before,
        "bytes outside slot B and the table changed"
    );
    let kernel = std::fs::read(fixtures::payload(kernel)).unwrap();
    assert_eq!(sha256(&node.read("/boot/flatcar/vmlinuz-b")), sha256(&kernel));
    assert!(node.path(MARKER).exists());
    assert_eq!(node.pref("previous-version").as_deref(), Some("1.0.0"));

    // What the operator sees.
    let (status, exit) = client(&scene.bus, "-status").await;
    assert!(exit.success());
    assert!(
        status.contains("CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\nNEW_VERSION=2.0.0\n"),
        "{status}"
    );
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_payload_is_installed_end_to_end() {
    a_payload_is_installed("full.payload", "vmlinuz-new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_payload_is_installed_end_to_end() {
    // It brings no kernel: the running one is copied, so that no stale one boots.
    a_payload_is_installed("delta.payload", "vmlinuz-old").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_slot_boots_and_is_marked_good() {
    let mut scene = Scene::offering("full.payload").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    let slot = scene.node.reboot();
    assert_eq!(slot, SlotName::B);
    assert_eq!(scene.node.attributes(SlotName::B), (2, 0, 0));
    scene
        .node
        .write("/usr/share/flatcar/release", b"FLATCAR_RELEASE_VERSION=2.0.0\n");
    scene.server.journal().clear();
    let daemon = scene.boot(slot).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(operations(&signals), ["CHECKING_FOR_UPDATE", "IDLE"]);
    assert_eq!(scene.node.attributes(SlotName::B), (2, 0, 1));
    scene.node.assert_table_is_whole();
    let exchanges = scene.server.journal().exchanges();
    let event = exchanges[0].events().next().unwrap().clone();
    assert_eq!(
        (event.kind, event.result, event.previous_version.as_deref()),
        (3, 2, Some("1.0.0"))
    );
    assert!(daemon.stop().success());
}
