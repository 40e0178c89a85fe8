//! The reboot lock in an etcd that has users: a real one, in both of its APIs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use update_engine::disk::SlotName;

use super::etcd_cluster::machine_with_certificate;
use super::manager::Machine;
use crate::support::etcd_cluster::EtcdCluster;
use test_support::etcd::Etcd;

const KEY: &str = "/coreos.com/updateengine/rebootlock/semaphore";
const USER: &str = "LOCKSMITHD_ETCD_USERNAME=node\nLOCKSMITHD_ETCD_PASSWORD=s3 cret\n";
const WRONG: &str = "LOCKSMITHD_ETCD_USERNAME=node\nLOCKSMITHD_ETCD_PASSWORD=guessed\n";
const NOBODY: &str = "LOCKSMITHD_ETCD_USERNAME=\nLOCKSMITHD_ETCD_PASSWORD=\n";
/// A user `node` may read and write the lock, nobody else anything.
fn v3() -> [(&'static str, Value); 8] {
    let perm = json!({"permType": "READWRITE", "key": STANDARD.encode(KEY)});
    [
        ("user/add", json!({"name": "root", "password": "root"})),
        ("role/add", json!({"name": "root"})),
        ("user/grant", json!({"user": "root", "role": "root"})),
        ("role/add", json!({"name": "rebooting"})),
        ("role/grant", json!({"name": "rebooting", "perm": perm})),
        ("user/add", json!({"name": "node", "password": "s3 cret"})),
        ("user/grant", json!({"user": "node", "role": "rebooting"})),
        ("enable", json!({})),
    ]
}

/// The same in the API that locksmith knows, where those without a name are guests.
fn v2() -> [(&'static str, Value); 5] {
    let key = [KEY];
    [
        ("users/root", json!({"user": "root", "password": "root"})),
        (
            "roles/rebooting",
            json!({"role": "rebooting", "permissions": {"kv": {"read": key, "write": key}}}),
        ),
        (
            "users/node",
            json!({"user": "node", "password": "s3 cret", "roles": ["rebooting"]}),
        ),
        ("enable", Value::Null),
        (
            "roles/guest",
            json!({"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}}),
        ),
    ]
}

/// Such a request, by root.
fn request_v2(path: &str, body: &Value) -> String {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    format!(
        "PUT /v2/auth/{path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAuthorization: Basic {}\r\n\r\n{body}",
        body.len(),
        STANDARD.encode("root:root")
    )
}

/// With its user a node takes the lock, over http as locksmith does; without it, or with a wrong password, it says so.
async fn users_of(api: &str, no_user: &str, wrong_password: &str) {
    let Some(etcd) = Etcd::start() else { return };
    if api == "v3" {
        for (path, body) in v3() {
            let answer = etcd.ask_v3(&format!("/v3/auth/{path}"), &body);
            assert!(answer["header"].is_object(), "{path}: {answer}");
        }
    } else {
        for (path, body) in v2() {
            let answer = etcd.exchange(request_v2(path, &body).as_bytes());
            assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
        }
    }
    let lines = format!(
        "REBOOT_STRATEGY=etcd-lock\nREBOOT_ETCD_API={api}\nLOCKSMITHD_ENDPOINT={}\n",
        etcd.url()
    );
    let mut machine = Machine::with('1', &lines).await;
    for (settings, why) in [("", no_user), (WRONG, wrong_password), (NOBODY, no_user)] {
        machine.scene.configure(settings);
        let (told, error, code) = machine.lock_command(&["lock", "other"]).await;
        assert_eq!((told.as_str(), code), ("", 3), "{error}");
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("guessed"), "{error}");
    }
    machine.scene.configure(USER);
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    let id = "1".repeat(32);
    let held = format!("Available: 0\nMax: 1\n\nMACHINE ID\n{id}\n");
    assert_eq!(machine.lock_command(&["status"]).await.0, held);
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("idle").await;
    let free = "Available: 1\nMax: 1\n";
    assert_eq!(machine.lock_command(&["status"]).await.0, free);
    for secret in ["s3 cret", &STANDARD.encode("node:s3 cret")] {
        assert!(!machine.manager().log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_its_password_open_the_lock_in_v3() {
    let no_user = "wants a user: set LOCKSMITHD_ETCD_USERNAME";
    users_of("v3", no_user, "authentication failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_its_password_open_the_lock_in_v2() {
    users_of("v2", "HTTP status 401", "HTTP status 401").await;
}

/// In v3 the JSON gateway knows no names of certificates, with which other clients need no password.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_certificate_is_a_user_in_v2_and_none_in_v3() {
    let Some(etcd) = EtcdCluster::start(1, true) else {
        return;
    };
    // The client's certificate has the name of the user.
    for (path, body) in v2() {
        etcd.ask(&request_v2(path, &body));
    }
    let machine = machine_with_certificate(&etcd, "v2").await;
    let (told, error, code) = machine.lock_command(&["lock"]).await;
    assert_eq!((told.as_str(), error.as_str(), code), ("", "", 0));
    for (path, body) in v3() {
        let body = body.to_string();
        etcd.ask(&format!(
            "POST /v3/auth/{path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    }
    machine.scene.configure("REBOOT_ETCD_API=v3\n");
    for settings in ["", USER] {
        machine.scene.configure(settings);
        let (_, error, code) = machine.lock_command(&["lock"]).await;
        assert!(error.contains("a client certificate says none"), "{error}");
        assert_eq!(code, 3);
    }
    let (certificate, key) = etcd.authority().nameless_client();
    for (name, from) in [("client.pem", certificate), ("client-key.pem", key)] {
        let contents = std::fs::read(from).unwrap();
        machine
            .scene
            .node
            .write(&format!("/etc/ssl/etcd/{name}"), &contents);
    }
    let (_, error, code) = machine.lock_command(&["lock"]).await;
    assert_eq!((error.as_str(), code), ("", 0));
}
