//! What the first interface answers to calls that nobody should make, and the words it uses.

use std::collections::HashMap;

use update_engine::bus::{INTERFACE, Operation, PATH, SERVICE};
use update_engine::disk::SlotName;
use zbus::{Connection, DBusError as _, Message, OwnedVariant};

use crate::support::bus::{Accounts, BusEngine, PrivateBus};
use crate::support::node::{Node, client};
use crate::support::scene::{IDLE, Scene};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

async fn call(client: &Connection, path: &str, interface: &str, method: &str) -> zbus::Result<Message> {
    client
        .call_method(Some(SERVICE), path, Some(interface), method, &())
        .await
}

/// The last part of the error's name.
fn error(answer: zbus::Result<Message>) -> String {
    let name = match answer.unwrap_err() {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        zbus::Error::FDO(error) => error.name().to_string(),
        other => panic!("{other:?}"),
    };
    name.trim_start_matches("org.freedesktop.DBus.Error.").to_owned()
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let below = "/com/coreos/update1/Manager";
    for (path, interface, method, name) in [
        (PATH, INTERFACE, "Rollback", "UnknownMethod"),
        (
            PATH,
            "com.coreos.update2.Manager",
            "GetStatus",
            "UnknownInterface",
        ),
        (below, INTERFACE, "GetStatus", "UnknownObject"),
    ] {
        assert_eq!(error(call(&client, path, interface, method).await), name);
    }
    assert_eq!(engine.attempts(), 0);
}

#[tokio::test]
async fn there_are_no_properties_and_arguments_that_nobody_asked_for_do_not_matter() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let all = client
        .call_method(Some(SERVICE), PATH, Some(PROPERTIES), "GetAll", &INTERFACE)
        .await
        .unwrap();
    let all: HashMap<String, OwnedVariant> = all.body().deserialize().unwrap();
    assert!(all.is_empty(), "{all:?}");
    client
        .call_method(Some(SERVICE), PATH, Some(INTERFACE), "AttemptUpdate", &"now")
        .await
        .unwrap();
    assert_eq!(engine.attempts(), 1);
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
