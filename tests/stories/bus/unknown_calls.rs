//! What the first interface answers to calls that nobody should make, and the words it uses.

use std::collections::HashMap;

use update_engine::bus::{INTERFACE, PATH, SERVICE};
use update_engine::disk::SlotName;
use update_engine::status::Operation;
use zbus::{Connection, DBusError as _, Message, OwnedVariant};

use crate::support::bus_engine::BusEngine;
use crate::support::node::{Node, client};
use crate::support::scene::{IDLE, Scene};
use test_support::bus::{Accounts, PrivateBus};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

async fn call(client: &Connection, path: &str, interface: &str, method: &str) -> zbus::Result<Message> {
    client
        .call_method(Some(SERVICE), path, Some(interface), method, &())
        .await
}

/// The last part of the error's name, and its text.
fn error(answer: zbus::Result<Message>) -> (String, String) {
    let (name, text) = match answer.unwrap_err() {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text),
        zbus::Error::FDO(error) => (error.name().to_string(), error.description().map(str::to_owned)),
        other => panic!("{other:?}"),
    };
    let name = name.trim_start_matches("org.freedesktop.DBus.Error.").to_owned();
    (name, text.unwrap_or_default())
}

#[tokio::test]
async fn what_is_not_there_is_an_unknown_method_in_the_words_that_clients_know() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let below = "/com/coreos/update1/Manager";
    let other = "com.coreos.update2.Manager";
    for (path, interface, method) in [
        (PATH, INTERFACE, "Rollback"),
        (PATH, other, "GetStatus"),
        (below, INTERFACE, "GetStatus"),
    ] {
        let expected =
            format!(r#"Method "{method}" with signature "" on interface "{interface}" doesn't exist"#);
        let said = error(call(&client, path, interface, method).await);
        assert_eq!(said, ("UnknownMethod".to_owned(), expected));
    }
    let now = client
        .call_method(Some(SERVICE), PATH, Some(INTERFACE), "AttemptUpdate", &"now")
        .await;
    let expected = r#"Method "AttemptUpdate" with signature "s" on interface "com.coreos.update1.Manager" doesn't exist"#;
    assert_eq!(error(now), ("UnknownMethod".to_owned(), expected.to_owned()));
    assert_eq!(engine.attempts(), 0);
}

#[tokio::test]
async fn there_are_no_properties() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let all = client
        .call_method(Some(SERVICE), PATH, Some(PROPERTIES), "GetAll", &INTERFACE)
        .await
        .unwrap();
    let all: HashMap<String, OwnedVariant> = all.body().deserialize().unwrap();
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn states_are_the_words_that_clients_match_letter_by_letter() {
    for (operation, word) in [
        (Operation::Idle, "IDLE"),
        (Operation::CheckingForUpdate, "CHECKING_FOR_UPDATE"),
        (Operation::UpdateAvailable, "UPDATE_AVAILABLE"),
        (Operation::Downloading, "DOWNLOADING"),
        (Operation::Finalizing, "FINALIZING"),
        (Operation::UpdatedNeedReboot, "UPDATED_NEED_REBOOT"),
        (Operation::ReportingErrorEvent, "REPORTING_ERROR_EVENT"),
    ] {
        assert_eq!(operation.as_str(), format!("UPDATE_STATUS_{word}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_ends_and_the_first_goes_on() {
    let mut scene = Scene::quiet().await;
    let first = scene.boot(SlotName::A).await;
    let other = Node::new(&scene.server.url());
    let second = other.start(&scene.bus, SlotName::A);
    assert_eq!(second.ended().code(), Some(1));
    let (status, asked) = client(&scene.bus, "-status").await;
    assert!(asked.success());
    assert!(status.contains(IDLE), "{status}");
    first.stop();
}
