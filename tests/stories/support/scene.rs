//! Everything that an update needs: a bus, a server, a node, and somebody who listens.

use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use update_engine::bus::{INTERFACE, StatusFields};
use update_engine::disk::SlotName;
use update_engine::serve::{Ask, Catalog, OmahaQuestion, Server};
use update_engine::status::Overview;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use super::node::{CONFIG, Daemon, Node, client};
use test_support::bus::{Accounts, PrivateBus};

/// No step of a story takes longer unless it never ends.
const PATIENCE: Duration = Duration::from_secs(120);

pub const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
pub const IDLE: &str = "UPDATE_STATUS_IDLE";

/// Returns once `holds` does: for what a process does without any event that could be waited for.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// The server may be an honest one, or any that remembers what it was asked.
pub struct Scene<S = Server> {
    pub bus: PrivateBus,
    pub server: S,
    pub node: Node,
    signals: MessageStream,
}

/// A server that updates come from.
pub trait Asked {
    /// The Omaha requests so far.
    fn questions(&self) -> Vec<OmahaQuestion>;
}

impl Asked for Server {
    fn questions(&self) -> Vec<OmahaQuestion> {
        let exchanges = self.journal().exchanges().into_iter();
        exchanges.map(|exchange| exchange.question).collect()
    }
}

impl Scene {
    /// A server that offers `payload` as version 2.0.0, and a node that asks it.
    pub async fn offering(payload: &Path) -> Self {
        let catalog = Catalog::open("2.0.0", payload).unwrap();
        let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
            .await
            .unwrap();
        let node = Node::new(&server.url());
        Self::with(server, node).await
    }

    /// A server that offers nothing.
    pub async fn quiet() -> Self {
        let server = Server::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let node = Node::new(&server.url());
        Self::with(server, node).await
    }
}

impl<S> Scene<S> {
    /// Appends lines to the operator's configuration.
    pub fn configure(&self, lines: &str) {
        let mut config = self.node.read(CONFIG);
        config.extend_from_slice(lines.as_bytes());
        self.node.write(CONFIG, &config);
    }

    pub async fn with(server: S, node: Node) -> Self {
        let bus = PrivateBus::start(Accounts::Ours);
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(INTERFACE)
            .member("StatusUpdate")
            .build()
            .unwrap();
        let listener = bus.connect().await;
        let room = NonZero::new(1000);
        let signals = MessageStream::for_match_rule(rule, &listener, room)
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
    pub async fn boot(&mut self, slot: SlotName) -> Daemon {
        let daemon = self.node.start(&self.bus, slot);
        // What one that was killed still had to say comes first.
        while !matches!(self.signal().await.2.as_str(), IDLE | NEED_REBOOT) {}
        daemon
    }

    /// The next signal.
    pub async fn signal(&mut self) -> StatusFields {
        let message = timeout(PATIENCE, self.signals.next()).await;
        let message = message.expect("no signal comes any more").unwrap().unwrap();
        message.body().deserialize().unwrap()
    }

    /// The signals from now up to the first that says `operation`.
    pub async fn signals_until(&mut self, operation: &str) -> Vec<StatusFields> {
        let mut signals = vec![self.signal().await];
        while signals.last().unwrap().2 != operation {
            signals.push(self.signal().await);
        }
        signals
    }

    /// Asks for an attempt; gives its signals up to the first that says `operation`.
    pub async fn attempt(&mut self, operation: &str) -> Vec<StatusFields> {
        let (_, status) = client(&self.bus, "-check_for_update").await;
        assert!(status.success());
        self.signals_until(operation).await
    }
}

impl Scene {
    /// Updates the node to version 2.0.0 and boots it into slot B, which is on trial then; the
    /// daemon is not started yet.
    pub async fn update(&mut self) {
        let daemon = self.boot(SlotName::A).await;
        self.attempt(NEED_REBOOT).await;
        daemon.stop();
        assert_eq!(self.node.reboot(), SlotName::B);
        assert_eq!(self.node.disk.attributes(SlotName::B), (2, 0, 0));
        self.node.run_version("2.0.0");
        self.server.journal().clear();
    }

    /// Boots whatever the loader picks, which is slot A with version 1.0.0.
    pub async fn come_back(&mut self) -> Daemon {
        assert_eq!(self.node.reboot(), SlotName::A);
        self.node.run_version("1.0.0");
        self.boot(SlotName::A).await
    }

    /// Type, result, code and previous version of the event in the last check.
    pub fn last_news(&self) -> (u32, u32, Option<i64>, Option<String>) {
        let exchanges = self.server.journal().exchanges();
        let check = exchanges.iter().rev().find(|exchange| exchange.is_check());
        let event = check.unwrap().events().next().unwrap();
        (
            event.kind,
            event.result,
            event.code,
            event.previous_version.clone(),
        )
    }
}

impl<S> Scene<S> {
    /// What the daemon says in our own interface, once it `holds`.
    pub async fn overview(&self, holds: impl Fn(&Overview) -> bool) -> Overview {
        let client = self.bus.connect().await;
        let wait = async {
            loop {
                let overview = Overview::read(&client).await.unwrap();
                if holds(&overview) {
                    return overview;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .expect("what is waited for never comes")
    }
}

impl<S: Asked> Scene<S> {
    /// Type, result and code of every event but those that checks carry.
    pub fn events(&self) -> Vec<(u32, u32, Option<i64>)> {
        let mut questions = self.server.questions();
        questions.retain(|question| !question.asks.contains(&Ask::UpdateCheck));
        let asks = questions.into_iter().flat_map(|question| question.asks);
        asks.filter_map(|ask| match ask {
            Ask::Event(event) => Some((event.kind, event.result, event.code)),
            Ask::Ping | Ask::UpdateCheck => None,
        })
        .collect()
    }
}

/// The operations without their prefix, each once while it lasts.
pub fn operations(signals: &[StatusFields]) -> Vec<&str> {
    let names = signals
        .iter()
        .map(|signal| signal.2.trim_start_matches("UPDATE_STATUS_"));
    let mut operations: Vec<&str> = names.collect();
    operations.dedup();
    operations
}
