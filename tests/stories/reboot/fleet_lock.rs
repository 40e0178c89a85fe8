//! The reboot manager before a `FleetLock` server that answers as poseidon's does.

use std::fs::File;
use std::io::BufReader;

use update_engine::disk::SlotName;

use super::manager::Machine;
use crate::support::fleet_lock::FleetLockServer;
use crate::support::health::{become_healthy, require_a_file};
use crate::support::http_message::Message;
use crate::support::scene::eventually;
use test_support::certificates::Authority;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/fleetlock");
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
/// Zincati's id of that machine.
const ID: &str = "583627a932274834a8ebd99f4ed41c0d";
const LOCK: &str = "/v1/pre-reboot";
const UNLOCK: &str = "/v1/steady-state";

fn recorded(name: &str) -> Message {
    let file = File::open(format!("{RECORDED}/{name}.http")).unwrap();
    Message::read(&mut BufReader::new(file)).unwrap()
}

/// The stand-in says what poseidon's server said to the same requests.
#[test]
fn the_stand_in_answers_the_recorded_requests_as_poseidons_server_did() {
    let server = FleetLockServer::start();
    let mut names: Vec<String> = std::fs::read_dir(RECORDED)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".request.http").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 30);
    for name in names {
        let request = std::fs::read(format!("{RECORDED}/{name}.request.http")).unwrap();
        let answer = server.exchange(&request);
        let expected = recorded(&format!("{name}.response"));
        assert_eq!(answer.first_line, expected.first_line, "{name}");
        assert_eq!(answer.body, expected.body, "{name}");
        for header in ["content-type", "content-length", "location"] {
            assert_eq!(answer.header(header), expected.header(header), "{name}");
        }
    }
}

/// A machine whose id is that of the recording, and whose slot is good once a file is there.
async fn machine(url: &str, lines: &str) -> Machine {
    let lines = format!("REBOOT_STRATEGY=fleet-lock\nFLEET_LOCK_URL={url}\n{lines}");
    let machine = Machine::with('1', &lines).await;
    machine
        .scene
        .node
        .write("/etc/machine-id", format!("{MACHINE_ID}\n").as_bytes());
    require_a_file(&machine.scene.node);
    machine
}

/// It is the recorded request but for where it is sent, and a header that every client of ours sends.
fn assert_is_recorded(mut request: Message, name: &str) {
    let mut expected = recorded(&format!("{name}.request"));
    assert!(request.headers.remove("host").is_some());
    assert!(expected.headers.remove("host").is_some());
    assert_eq!(request.headers.remove("accept").as_deref(), Some("*/*"));
    assert_eq!(request, expected);
}

fn paths(server: &FleetLockServer) -> Vec<String> {
    let mut paths: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.subject().to_owned())
        .collect();
    paths.dedup();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_asked_again_and_told_once_the_slot_is_good() {
    let server = FleetLockServer::start();
    server.set_holder("default", Some("other"));
    let mut machine = machine(&format!("{}/", server.url()), "").await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    machine.update().await;
    let why = "reboot lease lock unavailable, held by other";
    machine.tells(why).await;
    assert_eq!(machine.manager().report().phase, "waiting-for-lock");
    let (_, told, _) = machine.lock_command(&["status"]).await;
    assert!(told.contains(why), "{told}");
    eventually("another try", || server.requests().len() > 2).await;
    assert_eq!(machine.logind.reboots(), 0);

    server.set_holder("default", None);
    machine.is_asked_to_reboot(1).await;
    assert_eq!(server.holder("default").as_deref(), Some(ID));
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("on-trial").await;
    assert_eq!(server.holder("default").as_deref(), Some(ID));
    // The first was for what another manager may have left in this node's name.
    assert_eq!(paths(&server), [UNLOCK, LOCK]);

    become_healthy(&machine.scene.node);
    machine.manager().reaches("idle").await;
    assert_eq!(server.holder("default"), None);
    assert_eq!(paths(&server), [UNLOCK, LOCK, UNLOCK]);
    for request in server.requests() {
        let name = if request.subject() == LOCK {
            "01-lock"
        } else {
            "05-unlock"
        };
        assert_is_recorded(request, name);
    }
}

/// A redirect would turn the POST into a GET, and a server elsewhere could grant what it doesn't keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let server = FleetLockServer::start();
    let mut machine = machine(&server.old_url(), "").await;
    machine.boot(SlotName::A).await;
    machine.tells("answered with HTTP status 301").await;
    machine.manager.take().unwrap().kill();
    machine.update().await;
    machine.start_manager();
    machine.manager().reaches("waiting-for-lock").await;
    machine.tells("answered with HTTP status 301").await;
    let tries = server.requests().len();
    eventually("another try", || server.requests().len() > tries).await;
    assert_eq!(
        paths(&server),
        [format!("/moved{UNLOCK}"), format!("/moved{LOCK}")]
    );
    assert_eq!(machine.logind.reboots(), 0);
}

/// The server locks for an id that is no node's, and never unlocks: the node says so, and asks until an operator has helped.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_to_unlock_is_asked_until_it_does() {
    let server = FleetLockServer::start();
    let mut machine = machine(&server.url(), "FLEET_LOCK_ID=abc\nFLEET_LOCK_GROUP=g2\n").await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    let lock = server.requests().last().unwrap().clone();
    assert_is_recorded(lock, "09-lock-by-an-id-of-no-node");
    assert_eq!(machine.reboot().await, SlotName::B);
    become_healthy(&machine.scene.node);
    machine.tells("error uncordoning node").await;
    assert_eq!(machine.manager().report().phase, "releasing");
    let unlock = server.requests().last().unwrap().clone();
    assert_is_recorded(unlock, "10-unlock-by-the-id-of-no-node");

    server.set_holder("g2", None);
    machine.manager().reaches("idle").await;
}

/// Trusted by its own authority alone, and for those only who show a certificate of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_certificates_takes_requests_from_those_who_show_one() {
    let authority = Authority::new();
    let server = FleetLockServer::start_secure(authority.server_config_for_its_clients());
    let with =
        "FLEET_LOCK_CERTFILE=/etc/ssl/lock/client.pem\nFLEET_LOCK_KEYFILE=/etc/ssl/lock/client-key.pem\n";
    let lines = format!("FLEET_LOCK_CAFILE=/etc/ssl/lock/ca.pem\n{with}");
    let mut machine = machine(&server.url(), &lines).await;
    let (certificate, key) = authority.client();
    for (name, from) in [
        ("ca.pem", authority.certificate()),
        ("client.pem", certificate),
        ("client-key.pem", key),
    ] {
        let contents = std::fs::read(from).unwrap();
        machine
            .scene
            .node
            .write(&format!("/etc/ssl/lock/{name}"), &contents);
    }
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(server.holder("default").as_deref(), Some(ID));
    assert_eq!(machine.reboot().await, SlotName::B);
    become_healthy(&machine.scene.node);
    machine.manager().reaches("idle").await;
    assert_eq!(server.holder("default"), None);

    let asked = server.requests().len();
    for lines in [
        "FLEET_LOCK_CERTFILE=\nFLEET_LOCK_KEYFILE=\n".to_owned(),
        format!("{with}FLEET_LOCK_CAFILE=\n"),
    ] {
        machine.scene.configure(&lines);
        let (_, error, code) = machine.lock_command(&["release"]).await;
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("does not answer"), "{error}");
        assert_eq!(server.requests().len(), asked, "{error}");
    }
}
