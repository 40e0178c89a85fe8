//! Many callers at once: nobody keeps out others, and nobody has more than a few calls waiting.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use update_engine::bus::{CONTROL_INTERFACE, CONTROL_PATH, ENGINE_INTERFACE, ENGINE_PATH, PATH, SERVICE};
use zbus::connection::Builder;
use zbus::fdo::PropertiesProxy;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedVariant};

use crate::support::bus_engine::BusEngine;
use test_support::bus::{Accounts, PrivateBus};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";

/// What a caller asks, again and again.
#[derive(Clone, Copy)]
enum Read {
    Properties,
    Introspection,
}

impl Read {
    fn call(self) -> Message {
        let (interface, method) = match self {
            Self::Properties => (PROPERTIES, "GetAll"),
            Self::Introspection => (INTROSPECTABLE, "Introspect"),
        };
        let call = Message::method_call(ENGINE_PATH, method)
            .destination(SERVICE)
            .interface(interface);
        match self {
            Self::Properties => call.build(&ENGINE_INTERFACE),
            Self::Introspection => call.build(&()),
        }
        .unwrap()
    }
}

/// An answer: who got it, and whether it is what was asked for or the name of an error.
type Answer = (usize, Result<(), String>);

/// Has callers make so many calls each, in the order given, and gives the answers in the order in
/// which the service sent them. It takes no call in before all have been made: it runs in this
/// thread, which waits for that.
async fn calls_at_once(bus: &PrivateBus, callers: Vec<(Read, usize)>) -> Vec<Answer> {
    let address = bus.address().to_owned();
    let (made, all_made) = mpsc::channel();
    let crowd = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut listening = Vec::new();
            for (read, count) in callers {
                listening.push((make_calls(&address, read, count).await, count));
            }
            made.send(()).unwrap();
            let mut answers = Vec::new();
            for (caller, (mut stream, count)) in listening.into_iter().enumerate() {
                for _ in 0..count {
                    let (serial, answer) = next_answer(&mut stream).await;
                    answers.push((serial, (caller, answer)));
                }
            }
            // A sender numbers what it sends.
            answers.sort_by_key(|(serial, _)| *serial);
            answers.into_iter().map(|(_, answer)| answer).collect()
        })
    });
    all_made.recv().unwrap();
    tokio::task::spawn_blocking(|| crowd.join().unwrap())
        .await
        .unwrap()
}

/// Returns once the bus has them all.
async fn make_calls(address: &str, read: Read, count: usize) -> MessageStream {
    let connection = Builder::address(address).build().await.unwrap();
    let stream = MessageStream::from(&connection);
    for _ in 0..count {
        connection.send(&read.call()).await.unwrap();
    }
    let bus = "org.freedesktop.DBus";
    connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetId", &())
        .await
        .unwrap();
    stream
}

async fn next_answer(stream: &mut MessageStream) -> (u32, Result<(), String>) {
    loop {
        let message = stream.next().await.unwrap().unwrap();
        let header = message.header();
        let is_from_bus = header
            .sender()
            .is_some_and(|sender| sender == "org.freedesktop.DBus");
        let serial = message.primary_header().serial_num().get();
        match message.message_type() {
            Type::MethodReturn if !is_from_bus => return (serial, Ok(())),
            Type::Error => return (serial, Err(header.error_name().unwrap().to_string())),
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_calls_last_waits_for_one_answer_to_each_other_caller() {
    for read in [Read::Properties, Read::Introspection] {
        let bus = PrivateBus::start(Accounts::Ours);
        let _engine = BusEngine::on(&bus).await;
        let mut callers = vec![(read, 18); 5];
        callers.push((Read::Properties, 1));
        let answers = calls_at_once(&bus, callers).await;
        assert_eq!(answers.len(), 91);
        assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
        let before = answers.iter().position(|(caller, _)| *caller == 5).unwrap();
        // And for the few that are given while its call is on its way.
        assert!(before <= 10, "{before} answers came before its own");
    }
}

#[tokio::test]
async fn a_caller_with_too_many_calls_is_told_so_and_nobody_else_is() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let answers = calls_at_once(&bus, vec![(Read::Properties, 100), (Read::Introspection, 10)]).await;
    let mut counts = HashMap::new();
    for answer in answers {
        *counts.entry(answer).or_insert(0) += 1;
    }
    let refused = Err("org.freedesktop.DBus.Error.LimitsExceeded".to_owned());
    assert_eq!(counts[&(1, Ok(()))], 10, "{counts:?}");
    assert!((32..50).contains(&counts[&(0, Ok(()))]), "{counts:?}");
    assert_eq!(counts[&(0, Ok(()))] + counts[&(0, refused)], 100, "{counts:?}");
    // It may call again once it was answered, or another in its place.
    assert_eq!(
        calls_at_once(&bus, vec![(Read::Properties, 1)]).await,
        [(0, Ok(()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_stops_calling_keeps_nobody_from_an_answer() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let [busy, client] = [bus.connect().await, bus.connect().await];
    let calling = tokio::spawn(async move {
        loop {
            busy.send(&Read::Properties.call()).await.unwrap();
        }
    });
    let properties = properties(&client, ENGINE_PATH).await;
    for _ in 0..10 {
        let all = properties.get_all(ENGINE_INTERFACE.try_into().unwrap());
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        all.expect("an answer").unwrap();
    }
    calling.abort();
}

#[tokio::test]
async fn no_call_of_any_length_is_kept_waiting() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let properties = properties(&client, ENGINE_PATH).await;
    let long = "x".repeat(10_000);
    let said = properties
        .set(ENGINE_INTERFACE.try_into().unwrap(), "State", &long.into())
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("LimitsExceeded"), "{said}");
}

/// The library sets memory aside for what a header claims, before any of it has come.
#[tokio::test]
async fn without_a_bus_a_header_that_claims_too_much_ends_its_connection_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    let _engine = BusEngine::at(&socket).await;
    let other = peer(&socket).await;
    let mut claims = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let user = nix::unistd::geteuid().to_string();
    let digits: Vec<String> = user.bytes().map(|digit| format!("{digit:02x}")).collect();
    let hello = format!("\0AUTH EXTERNAL {}\r\n", digits.concat());
    claims.write_all(hello.as_bytes()).await.unwrap();
    let mut answer = [0; 256];
    let len = claims.read(&mut answer).await.unwrap();
    assert!(answer[..len].starts_with(b"OK "), "{:?}", &answer[..len]);
    // A call with a body of 100 MiB, of which nothing comes.
    let mut message = b"BEGIN\r\nl\x01\0\x01".to_vec();
    message.extend((100_u32 << 20).to_le_bytes());
    message.extend([1, 0, 0, 0, 8, 0, 0, 0]);
    claims.write_all(&message).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), claims.read(&mut answer));
    assert_eq!(ended.await.expect("the end of the connection").unwrap(), 0);

    // A long call that came whole is answered, and others are served.
    let long = "x".repeat(500_000);
    let said = properties(&other, ENGINE_PATH)
        .await
        .set(ENGINE_INTERFACE.try_into().unwrap(), "State", &long.into())
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("LimitsExceeded"), "{said}");
}

async fn properties<'a>(client: &Connection, path: &'a str) -> PropertiesProxy<'a> {
    PropertiesProxy::builder(client)
        .destination(SERVICE)
        .path(path)
        .build()
        .await
        .unwrap()
}

/// The other end of a direct connection.
async fn peer(socket: &PathBuf) -> Connection {
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let stream = stream.into_std().unwrap();
    Builder::unix_stream(stream).p2p().build().await.unwrap()
}

#[tokio::test]
async fn without_a_bus_the_same_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    let _engine = BusEngine::at(&socket).await;
    let peer = peer(&socket).await;
    let properties = properties(&peer, ENGINE_PATH).await;
    let said = properties
        .set(ENGINE_INTERFACE.try_into().unwrap(), "State", &"idle".into())
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("PropertyReadOnly"), "{said}");
    let all: HashMap<String, OwnedVariant> = properties
        .get_all(ENGINE_INTERFACE.try_into().unwrap())
        .await
        .unwrap();
    assert_eq!(
        all["State"],
        OwnedVariant::try_from(zbus::Variant::from("idle")).unwrap()
    );

    let call = async |path: &'static str, interface: &'static str, method: &'static str| {
        let answer = peer.call_method(None::<&str>, path, Some(interface), method, &());
        answer.await.map_err(|error| error.to_string())
    };
    let introspection = call("/org/updateengine/Engine1", INTROSPECTABLE, "Introspect").await;
    let xml: String = introspection.unwrap().body().deserialize().unwrap();
    assert!(xml.contains("Diagnostics") && !xml.contains("Control"), "{xml}");
    let said = call(CONTROL_PATH, CONTROL_INTERFACE, "Check").await.unwrap_err();
    assert!(said.contains("UnknownMethod"), "{said}");
    call(PATH, "org.freedesktop.DBus.Peer", "Ping").await.unwrap();
}
