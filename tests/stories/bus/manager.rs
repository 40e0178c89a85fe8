//! What clients of the bus see: names, types, order of signals, errors, and who may do what.

use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use update_engine::bus::{
    BusError, CONTROL_PATH, DIAGNOSTICS_PATH, ENGINE_PATH, INTERFACE, PATH, SERVICE, StatusFields, serve_bus,
    serve_peer,
};
use update_engine::status::{Operation, SnapshotSender, Status};
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::support::bus_engine::BusEngine;
use crate::support::other_users::may_become_others;
use test_support::bus::{Accounts, CORE_UID, NOBODY_UID, PrivateBus};

const GOLDEN: &str = include_str!("../../../dbus/com.coreos.update1.Manager.xml");

async fn call(client: &Connection, interface: &str, method: &str) -> zbus::Result<Message> {
    client
        .call_method(Some(SERVICE), PATH, Some(interface), method, &())
        .await
}

/// Listens as reboot managers do: by interface and member, whoever the sender and whatever the
/// path.
async fn listen(client: &Connection) -> MessageStream {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface(INTERFACE)
        .member("StatusUpdate")
        .build()
        .unwrap();
    MessageStream::for_match_rule(rule, client, None).await.unwrap()
}

fn downloading(progress: f64) -> Status {
    Status {
        last_checked_time: 1_700_000_000,
        progress,
        operation: Operation::Downloading,
        new_version: "4081.2.0".to_owned(),
        new_size: 2_514_292,
    }
}

/// The element of our interface, its white space aside.
fn interface_element(xml: &str) -> String {
    let start = xml.find(&format!("<interface name=\"{INTERFACE}\">")).unwrap();
    let length = xml[start..].find("</interface>").unwrap();
    xml[start..start + length]
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn introspection_is_the_golden_one() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let reply = call(&client, "org.freedesktop.DBus.Introspectable", "Introspect")
        .await
        .unwrap();
    let xml: String = reply.body().deserialize().unwrap();
    assert_eq!(interface_element(&xml), interface_element(GOLDEN));
}

#[tokio::test]
async fn the_object_is_found_from_the_root_and_has_no_other_methods() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let standard = Some("org.freedesktop.DBus.Introspectable");
    let reply = client
        .call_method(Some(SERVICE), "/", standard, "Introspect", &())
        .await
        .unwrap();
    let xml: String = reply.body().deserialize().unwrap();
    assert!(xml.contains("<node name=\"com\""), "{xml}");

    let unknown = call(&client, INTERFACE, "Rollback").await.unwrap_err();
    assert!(
        matches!(&unknown, zbus::Error::FDO(error) if matches!(**error, zbus::fdo::Error::UnknownMethod(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn an_idle_engine_has_the_status_that_clients_know() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let body = call(&client, INTERFACE, "GetStatus").await.unwrap().body();
    assert_eq!(body.signature().to_string_no_parens(), "xdssx");
    let status: StatusFields = body.deserialize().unwrap();
    assert_eq!(
        status,
        (0, 0.0, "UPDATE_STATUS_IDLE".to_owned(), "0.0.0".to_owned(), 0)
    );
}

#[tokio::test]
async fn every_status_is_signalled_once_and_in_order_to_everybody() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let mut signals = listen(&client).await;

    let announced: Vec<Status> = (0..=100)
        .map(|percent| downloading(f64::from(percent) / 100.0))
        .collect();
    for status in &announced {
        engine.announce(status.clone());
    }
    for status in announced {
        let signal = signals.next().await.unwrap().unwrap();
        let header = signal.header();
        assert_eq!(header.path().unwrap().as_str(), PATH);
        assert_eq!(header.destination(), None);
        assert_eq!(signal.body().signature().to_string_no_parens(), "xdssx");
        assert_eq!(
            signal.body().deserialize::<StatusFields>().unwrap(),
            status.into()
        );
    }
}

#[tokio::test]
async fn what_an_attempt_signals_arrives_before_its_reply() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let _signals = listen(&client).await;
    let mut everything = MessageStream::from(&client);

    call(&client, INTERFACE, "AttemptUpdate").await.unwrap();
    let first = loop {
        let message = everything.next().await.unwrap().unwrap();
        let ours = message
            .header()
            .member()
            .is_some_and(|member| member == "StatusUpdate");
        if ours || message.message_type() == Type::MethodReturn {
            break message;
        }
    };
    assert_eq!(first.message_type(), Type::Signal, "the reply came first");
    let (_, _, operation, _, _) = first.body().deserialize::<StatusFields>().unwrap();
    assert_eq!(operation, "UPDATE_STATUS_CHECKING_FOR_UPDATE");
}

#[tokio::test]
async fn a_reset_while_busy_fails_with_the_error_that_clients_know() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    engine.set(Operation::CheckingForUpdate);
    match call(&client, INTERFACE, "ResetStatus").await {
        Err(zbus::Error::MethodError(name, text, _)) => {
            assert_eq!(name.as_str(), "org.freedesktop.DBus.GLib.ErrorError");
            assert_eq!(
                text.as_deref(),
                Some("Method invoked for ResetStatus returned FALSE but did not set error")
            );
        }
        other => panic!("{other:?}"),
    }
    engine.set(Operation::UpdatedNeedReboot);
    call(&client, INTERFACE, "ResetStatus").await.unwrap();
}

#[tokio::test]
async fn a_second_engine_is_refused_the_name() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let (_outlets, news) = SnapshotSender::new();
    let (commands, _asked) = mpsc::channel(1);
    let second = serve_bus(Some(bus.address()), commands, news).await;
    assert!(matches!(second, Err(BusError::NameTaken)));

    let usurper = bus.connect().await;
    let flags = zbus::fdo::RequestNameFlags::REPLACE_EXISTING | zbus::fdo::RequestNameFlags::DO_NOT_QUEUE;
    let stolen = usurper.request_name_with_flags(SERVICE, flags).await;
    assert!(matches!(stolen, Err(zbus::Error::NameTaken)), "{stolen:?}");
}

#[tokio::test]
async fn shutting_down_signals_what_is_left_and_frees_the_name() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let mut signals = listen(&client).await;
    engine.announce(downloading(0.25));
    engine.announce(downloading(0.5));
    engine.service.shutdown().await;

    for progress in [0.25, 0.5] {
        let signal = signals.next().await.unwrap().unwrap();
        assert_eq!(
            signal.body().deserialize::<StatusFields>().unwrap(),
            downloading(progress).into()
        );
    }
    let _successor = BusEngine::on(&bus).await;
}

#[tokio::test]
async fn the_service_notices_that_the_bus_is_gone() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    drop(bus);
    engine.service.closed().await;
}

/// Calls `method` (with its interface) as user `uid`, by dbus-send.
fn call_as(bus: &PrivateBus, uid: u32, method: &str) -> Output {
    call_at(bus, uid, PATH, method)
}

/// The same at another object.
fn call_at(bus: &PrivateBus, uid: u32, path: &str, method: &str) -> Output {
    let address = format!("--bus={}", bus.address());
    let destination = format!("--dest={SERVICE}");
    bus.process("dbus-send")
        .args([&address, &destination, "--print-reply", path, method])
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_denied(output: &Output, what: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("org.freedesktop.DBus.Error.AccessDenied"),
        "{what}: {output:?}"
    );
}

const METHODS: [&str; 3] = ["GetStatus", "AttemptUpdate", "ResetStatus"];
const STANDARD_METHODS: [&str; 2] = [
    "org.freedesktop.DBus.Introspectable.Introspect",
    "org.freedesktop.DBus.Peer.Ping",
];

/// Takes root: it becomes other users.
#[tokio::test(flavor = "multi_thread")]
async fn root_may_call_everything_core_the_three_methods_and_nobody_nothing() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    for method in METHODS {
        engine.set(Operation::Idle);
        let method = format!("{INTERFACE}.{method}");
        assert!(call_as(&bus, 0, &method).status.success(), "root, {method}");
        engine.set(Operation::Idle);
        let as_core = call_as(&bus, CORE_UID, &method);
        assert!(as_core.status.success(), "core, {method}: {as_core:?}");
        assert_denied(&call_as(&bus, NOBODY_UID, &method), &method);
    }
    for method in STANDARD_METHODS {
        assert!(call_as(&bus, 0, method).status.success(), "root, {method}");
        assert_denied(&call_as(&bus, CORE_UID, method), method);
        assert_denied(&call_as(&bus, NOBODY_UID, method), method);
    }
    // Client libraries introspect first, and give up where they may not.
    for (uid, path) in [CORE_UID, NOBODY_UID]
        .iter()
        .flat_map(|uid| [(*uid, ENGINE_PATH), (*uid, CONTROL_PATH)])
    {
        let introspected = call_at(&bus, uid, path, STANDARD_METHODS[0]);
        assert!(introspected.status.success(), "{uid}, {path}: {introspected:?}");
        assert_denied(
            &call_at(&bus, uid, DIAGNOSTICS_PATH, STANDARD_METHODS[0]),
            DIAGNOSTICS_PATH,
        );
    }
    for uid in [CORE_UID, NOBODY_UID] {
        let properties = "org.freedesktop.DBus.Properties.GetAll";
        assert_denied(&call_as(&bus, uid, properties), properties);
    }
    assert_eq!(engine.attempts(), 2, "one by root, one by core");
}

/// Takes root: it becomes other users.
#[tokio::test(flavor = "multi_thread")]
async fn only_root_may_own_the_name() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    for uid in [CORE_UID, NOBODY_UID] {
        let output = bus
            .process("dbus-send")
            .arg(format!("--bus={}", bus.address()))
            .args([
                "--dest=org.freedesktop.DBus",
                "--print-reply",
                "/org/freedesktop/DBus",
            ])
            .args([
                "org.freedesktop.DBus.RequestName",
                "string:com.coreos.update1",
                "uint32:0",
            ])
            .uid(uid)
            .gid(uid)
            .output()
            .unwrap();
        assert_denied(&output, "RequestName");
    }
}

/// Leaves a socket on which nobody listens, as a dead engine does. It never listened: a child that
/// another test forks at this moment keeps our descriptors until it becomes another program, and
/// would keep a listening socket alive.
fn abandon_socket(path: &Path) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    let family = AddressFamily::Unix;
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
}

#[tokio::test]
async fn a_socket_that_a_dead_engine_left_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    abandon_socket(&socket);
    assert!(socket.exists());
    let _engine = BusEngine::at(&socket).await;

    let (_outlets, news) = SnapshotSender::new();
    let (commands, _asked) = mpsc::channel(1);
    let second = serve_peer(&socket, commands, news).await;
    assert!(matches!(second, Err(BusError::Listen { .. })));
    assert!(socket.exists(), "the live engine's socket stays");
}

/// A peer that says no more sees the end of our side once nobody here holds the connection any
/// longer.
#[tokio::test]
async fn a_peer_that_has_gone_is_let_go_of_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    let _engine = BusEngine::at(&socket).await;
    let mut peer = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let digits = nix::unistd::geteuid().to_string();
    // In hexadecimal: the codes of the digits are 0x30 to 0x39.
    let uid: String = digits.chars().flat_map(|digit| ['3', digit]).collect();
    let handshake = format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n");
    peer.write_all(handshake.as_bytes()).await.unwrap();
    let ping = Message::method_call(PATH, "Ping")
        .interface("org.freedesktop.DBus.Peer")
        .build(&())
        .unwrap();
    peer.write_all(ping.data()).await.unwrap();
    // "OK" and a line's end, and an answer.
    let mut said = Vec::new();
    while !said.windows(3).any(|bytes| bytes == b"\r\nl") {
        assert_ne!(peer.read_buf(&mut said).await.unwrap(), 0, "{said:?}");
    }

    peer.shutdown().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), peer.read_to_end(&mut said));
    end.await.expect("our side stays open").unwrap();
}
