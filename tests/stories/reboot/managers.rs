//! What locksmith, FLUO and kured hold on to.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;
use update_engine::bus::{INTERFACE, PATH, SERVICE};
use update_engine::disk::SlotName;
use update_engine::status::{Operation, Status};
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::support::bus_engine::BusEngine;
use crate::support::node::client;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::bus::{Accounts, PrivateBus};
use test_support::fixtures;

const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");
/// Letter by letter what locksmithd asks the bus for, and FLUO too: no sender, no path.
const RULE: &str = "type='signal',interface='com.coreos.update1.Manager',member='StatusUpdate'";
/// Both panic on anything else.
const TYPES: &str = "xdssx";
const PATIENCE: Duration = Duration::from_secs(60);

type Fields = (i64, f64, String, String, i64);

struct Manager {
    bus: Connection,
    signals: MessageStream,
}

impl Manager {
    async fn start(bus: &PrivateBus) -> Self {
        let bus = bus.connect().await;
        let rule = MatchRule::try_from(RULE).unwrap();
        let signals = MessageStream::for_match_rule(rule, &bus, None).await.unwrap();
        Self { bus, signals }
    }

    /// Its one question at its start.
    async fn status(&self) -> zbus::Result<Fields> {
        let answer = self
            .bus
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "GetStatus", &())
            .await?;
        Ok(fields(&answer))
    }

    async fn next(&mut self) -> Fields {
        let message = timeout(PATIENCE, self.signals.next()).await.unwrap();
        fields(&message.unwrap().unwrap())
    }
}

fn fields(message: &Message) -> Fields {
    let body = message.body();
    let signature = body.signature().to_string();
    assert_eq!(signature.trim_matches(['(', ')']), TYPES);
    body.deserialize().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_learn_of_the_reboot_whichever_way_they_ask() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    let mut locksmith = Manager::start(&scene.bus).await;
    let mut fluo = Manager::start(&scene.bus).await;
    assert_eq!(
        locksmith.status().await.unwrap(),
        (0, 0.0, IDLE.into(), "0.0.0".into(), 0)
    );
    assert_eq!(fluo.status().await.unwrap().2, IDLE);
    client(&scene.bus, "-check_for_update").await;
    let mut announced = vec![];
    for manager in [&mut locksmith, &mut fluo] {
        let mut operations = vec![];
        while operations.last().map(String::as_str) != Some(NEED_REBOOT) {
            let (_, _, operation, _, _) = manager.next().await;
            // FLUO forwards changes only.
            if operations.last() != Some(&operation) {
                operations.push(operation);
            }
        }
        announced.push(operations);
    }
    assert_eq!(announced[0], announced[1]);
    assert_eq!(announced[0].len(), 5, "{announced:?}");
    // One that starts late finds it at once: locksmith's first status counts.
    let late = Manager::start(&scene.bus).await;
    assert_eq!(late.status().await.unwrap().2, NEED_REBOOT);
    // kured looks for a file, in its container and as whoever it is.
    let sentinel = scene.node.path("/run/reboot-required");
    assert_eq!(sentinel.metadata().unwrap().permissions().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn a_manager_that_comes_first_fails_to_ask_and_whoever_sees_the_name_is_answered() {
    let bus = PrivateBus::start(Accounts::Ours);
    let manager = Manager::start(&bus).await;
    let error = manager.status().await.unwrap_err();
    let text = "The name com.coreos.update1 was not provided by any .service files";
    let expected = zbus::fdo::Error::ServiceUnknown(text.to_owned());
    assert_eq!(error, zbus::Error::FDO(Box::new(expected)));

    let owners =
        "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='com.coreos.update1'";
    let rule = MatchRule::try_from(owners).unwrap();
    let mut owners = MessageStream::for_match_rule(rule, &manager.bus, None)
        .await
        .unwrap();
    let engine = BusEngine::on(&bus).await;
    timeout(PATIENCE, owners.next()).await.unwrap();
    assert_eq!(manager.status().await.unwrap().2, IDLE);
    drop(engine);
}

/// `locksmithctl send-need-reboot` signals in nobody's name.
async fn forge(bus: &PrivateBus) {
    let forger = bus.connect().await;
    let status = (0_i64, 0.0_f64, NEED_REBOOT, "", 0_i64);
    forger
        .emit_signal(None::<&str>, PATH, INTERFACE, "StatusUpdate", &status)
        .await
        .unwrap();
    // Whatever the bus was told before is delivered before this is answered.
    forger
        .call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "GetId",
            &(),
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signal_moves_reboot_managers_and_nobody_else() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let mut locksmith = Manager::start(&bus).await;
    let mut watcher = tokio::process::Command::from(bus.process(CLIENT))
        .arg("-watch_for_updates")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(watcher.stderr.take().unwrap()).lines();
    said.next_line().await.unwrap();

    forge(&bus).await;
    assert_eq!(locksmith.next().await.2, NEED_REBOOT);
    assert_eq!(
        locksmith.status().await.unwrap().2,
        IDLE,
        "the engine doesn't believe it"
    );
    let real = Status {
        operation: Operation::CheckingForUpdate,
        ..Status::default()
    };
    // Nothing tells when the client's subscription stands: announced until it is seen.
    let seen = loop {
        forge(&bus).await;
        engine.announce(real.clone());
        if let Ok(line) = timeout(Duration::from_millis(50), said.next_line()).await {
            break line.unwrap().unwrap();
        }
    };
    assert!(seen.contains("Got status update:"), "{seen}");
    let mut operation = String::new();
    while !operation.contains("current_operation") {
        operation = said.next_line().await.unwrap().unwrap();
    }
    assert!(
        operation.contains("UPDATE_STATUS_CHECKING_FOR_UPDATE"),
        "{operation}"
    );
}
