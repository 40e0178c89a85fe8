//! An update that waits for its reboot, and another one that takes its place: the engine and the
//! node as the daemon wires them, on a real disk and against real servers, but for the minutes
//! between two checks.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::engine::{DiskChoice, Engine, Node as Machine, NodeFacts, Settings};
use update_engine::host::Host;
use update_engine::install::PostinstMode;
use update_engine::journal::AttemptFields;
use update_engine::serve::{Ask, Catalog, Server};
use update_engine::status::{Command, CommandRefusal, Operation, SnapshotSender, Status, WaitingSlot};

use crate::install::refusals::UNBOOTABLE;
use crate::support::bad_server::BadServer;
use crate::support::immediate_checks::ImmediateChecks;
use crate::support::node::{CONFIG, MARKER, Node, sha256};
use crate::support::payload::signed;
use crate::support::scene::{Asked, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

const REQUEST: &str = "/run/reboot-required";
const WAITS: (u32, u32, u32) = (2, 1, 0);

/// The engine of a node.
pub(crate) struct Running {
    commands: mpsc::Sender<Command>,
    statuses: mpsc::UnboundedReceiver<Status>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// From slot A.
    pub(crate) fn start(node: &Node) -> Self {
        Self::start_in(node, SlotName::A)
    }

    fn start_in(node: &Node, running: SlotName) -> Self {
        let machine = Machine::new(
            Settings {
                host: Host::new(node.path("/")),
                disk: DiskChoice::Named {
                    path: node.disk.path().to_owned(),
                    running,
                },
                postinst: PostinstMode::Skip,
            },
            AttemptFields::default(),
        );
        let beginning = (machine.initial_state(), NodeFacts::default());
        let (sender, published) = SnapshotSender::new();
        let (commands, receiver) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let engine = Engine::new(
            Arc::new(ImmediateChecks(machine)),
            beginning,
            sender,
            stop.clone(),
        );
        Self {
            commands,
            statuses: published.statuses,
            stop,
            task: tokio::spawn(engine.run(receiver)),
        }
    }

    /// Operations and versions from now up to the first of these; what is said twice counts once.
    pub(crate) async fn until(&mut self, operation: Operation, version: &str) -> Vec<(Operation, String)> {
        let mut heard = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::from_secs(120), self.statuses.recv());
            let status = next.await.expect("no status comes any more").unwrap();
            heard.push((status.operation, status.new_version));
            heard.dedup();
            if heard
                .last()
                .is_some_and(|last| (last.0, last.1.as_str()) == (operation, version))
            {
                return heard;
            }
        }
    }

    async fn withdraw(&self) -> Result<(), CommandRefusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Withdraw(WaitingSlot::Unbootable, reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Another payload than that of version 2.0.0, with another image.
fn another(directory: &TempDir) -> Vec<u8> {
    let image = directory.path().join("image");
    std::fs::write(&image, fixtures::image("old.img")).unwrap();
    let payload = directory.path().join("update.gz");
    signed(&image, "vmlinuz-old", &payload);
    std::fs::read(payload).unwrap()
}

async fn server() -> Server {
    let catalog = Catalog::open("2.0.0", &fixtures::payload("full.payload")).unwrap();
    Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap()
}

fn configure(node: &Node, server: &str) {
    let config = format!("GROUP=stable\nSERVER={server}\nREPLACE_WAITING_UPDATE=yes\n");
    replace_config(node, &config);
}

/// As a whole: a daemon that reads half of it would ask somebody else.
fn replace_config(node: &Node, config: &str) {
    let new = format!("{CONFIG}.new");
    node.write(&new, config.as_bytes());
    std::fs::rename(node.path(&new), node.path(CONFIG)).unwrap();
}

fn checks(server: &impl Asked) -> usize {
    let questions = server.questions();
    let checks = questions
        .iter()
        .filter(|question| question.asks.contains(&Ask::UpdateCheck));
    checks.count()
}

fn assert_waits(node: &Node, image: &[u8]) {
    assert_eq!(node.disk.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(node.disk.attributes(SlotName::B), WAITS);
    node.disk.assert_table_is_whole();
    assert!(node.path(MARKER).exists());
    assert!(node.path(REQUEST).exists());
    assert_eq!(sha256(&node.disk.slot(SlotName::B)), sha256(image));
    // What happened to the running version is news until the reboot.
    assert_eq!(node.pref("previous-version").as_deref(), Some("1.0.0"));
}

fn assert_nothing_waits(node: &Node) {
    assert!(node.disk.attributes(SlotName::A).2 == 1);
    assert_eq!(node.disk.attributes(SlotName::B), UNBOOTABLE);
    node.disk.assert_table_is_whole();
    assert!(!node.path(MARKER).exists());
    assert!(!node.path(REQUEST).exists());
}

/// A node where version 2.0.0 waits.
async fn waiting() -> (Node, Server, Running) {
    let server = server().await;
    let node = Node::new(&server.url());
    configure(&node, &server.url());
    let mut engine = Running::start(&node);
    engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    (node, server, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_waits_is_replaced_by_another_payload_and_by_nothing_else() {
    let (node, server, mut engine) = waiting().await;
    let response = node.pref("full-response");
    let before = checks(&server);
    eventually("three checks", || checks(&server) >= before + 3).await;
    assert_eq!(
        server.journal().downloads().len(),
        1,
        "the same is not fetched again"
    );
    assert_waits(&node, &fixtures::image("new.img"));
    assert_eq!(node.pref("full-response"), response);
    let news = server.journal().exchanges();
    let event = news.iter().rfind(|exchange| exchange.is_check()).unwrap();
    let event = event.events().next().unwrap();
    assert_eq!((event.kind, event.result), (3, 2));
    assert_eq!(event.previous_version.as_deref(), Some(""));

    // The same version, and another payload: versions are not compared.
    let directory = TempDir::new().unwrap();
    another(&directory);
    let payload = directory.path().join("update.gz");
    server.replace(Some(Catalog::open("2.0.0", &payload).unwrap()));
    server.journal().clear();
    let heard = engine.until(Operation::UpdateAvailable, "2.0.0").await;
    assert!(
        heard[..heard.len() - 1]
            .iter()
            .all(|(operation, _)| *operation == Operation::UpdatedNeedReboot),
        "{heard:?}"
    );
    engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    assert_waits(&node, &fixtures::image("old.img"));
    assert_ne!(node.pref("full-response"), response);
    engine.stop().await;

    // It is the new one that boots, and that is blamed when it doesn't come up.
    assert_eq!(node.reboot(), SlotName::B);
    assert_eq!(node.reboot(), SlotName::A);
    server.journal().clear();
    let mut engine = Running::start(&node);
    engine.until(Operation::ReportingErrorEvent, "0.0.0").await;
    engine.stop().await;
    assert_eq!(server.journal().downloads(), []);
}

/// Between the daemon's own checks lie three quarters of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn an_operators_check_brings_a_replacement_forward() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("REPLACE_WAITING_UPDATE=yes\n");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;

    let directory = TempDir::new().unwrap();
    another(&directory);
    let payload = directory.path().join("update.gz");
    scene
        .server
        .replace(Some(Catalog::open("3.0.0", &payload).unwrap()));
    let signals = scene.attempt(NEED_REBOOT).await;
    assert_eq!(signals.last().unwrap().3, "3.0.0");
    assert_waits(&scene.node, &fixtures::image("old.img"));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_an_update_that_waits_only_pings() {
    let (node, server, engine) = waiting().await;
    replace_config(&node, &format!("SERVER={}\n", server.url()));
    let asked = |asks: &[Ask]| asks == [Ask::Ping];
    let pings = || server.questions().iter().filter(|q| asked(&q.asks)).count();
    eventually("a ping", || pings() > 0).await;
    let before = checks(&server);
    let pings_before = pings();
    eventually("two pings", || pings() >= pings_before + 2).await;
    assert_eq!(checks(&server), before);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_cannot_be_had_leaves_the_first_update_waiting() {
    let (node, _server, mut engine) = waiting().await;
    let directory = TempDir::new().unwrap();
    let missing = BadServer::offering(another(&directory), "status=404", |_| ());
    configure(&node, &missing.url());
    let heard = engine.until(Operation::ReportingErrorEvent, "2.0.0").await;
    assert_eq!(heard[heard.len() - 2].0, Operation::UpdateAvailable);
    let heard = engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_waits(&node, &fixtures::image("new.img"));
    engine.stop().await;
    assert_eq!(node.reboot(), SlotName::B);

    // What the slot holds is still known, so that deltas do.
    node.run_version("2.0.0");
    let before = checks(&missing);
    let engine = Running::start_in(&node, SlotName::B);
    eventually("a check", || checks(&missing) > before).await;
    engine.stop().await;
    let check = missing.last_check();
    assert!(check.contains("delta_okay=\"true\""), "{check}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_turns_out_wrong_leaves_nothing_waiting_and_the_next_one_is_installed() {
    let (node, server, mut engine) = waiting().await;
    let directory = TempDir::new().unwrap();
    let mut payload = another(&directory);
    let last = payload.len() - 300;
    payload[last] ^= 1;
    let wrong = BadServer::offering(payload, "", |_| ());
    configure(&node, &wrong.url());
    engine.until(Operation::ReportingErrorEvent, "2.0.0").await;
    assert_nothing_waits(&node);
    configure(&node, &server.url());
    engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    assert_waits(&node, &fixtures::image("new.img"));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_in_the_middle_of_a_replacement_knows_that_nothing_waits() {
    let (node, server, mut engine) = waiting().await;
    let directory = TempDir::new().unwrap();
    let payload = another(&directory);
    let slow = BadServer::offering(payload.clone(), &format!("hold={}", payload.len() - 300), |_| ());
    configure(&node, &slow.url());
    engine.until(Operation::Downloading, "2.0.0").await;
    eventually("the slot is written", || {
        node.disk.attributes(SlotName::B) == UNBOOTABLE
    })
    .await;
    engine.stop().await;
    assert_nothing_waits(&node);

    configure(&node, &server.url());
    let mut engine = Running::start(&node);
    let heard = engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    assert_eq!(heard[0], (Operation::Idle, "0.0.0".to_owned()));
    assert_waits(&node, &fixtures::image("new.img"));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_withdrawn_while_others_are_looked_for() {
    let (node, server, mut engine) = waiting().await;
    server.replace(None);
    engine.withdraw().await.unwrap();
    engine.until(Operation::Idle, "0.0.0").await;
    assert_nothing_waits(&node);
    // Checks go on as ever.
    server.journal().clear();
    eventually("a check", || checks(&server) > 0).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_everybody_still_waits_for_is_not_touched() {
    let (node, server, engine) = waiting().await;
    server.replace(None);
    // What can't be taken away: the marker is a directory.
    std::fs::remove_file(node.path(MARKER)).unwrap();
    node.write(&format!("{MARKER}/file"), b"");
    let refused = engine.withdraw().await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("cannot withdraw that USR-B boots next: "),
        "{refused}"
    );
    assert_waits(&node, &fixtures::image("new.img"));
    engine.stop().await;
}
