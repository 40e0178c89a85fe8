//! Servers that keep no lock: nothing that they say makes this node a holder, or ends that it is one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::http::Endpoints;
use super::*;
use crate::net::Proxies;

/// A server that answers every request with `answer`.
fn answering(answer: String) -> Endpoints {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A request of ours is smaller, and comes in one piece.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Endpoints::new(&[url], Proxies::default(), None, Duration::from_secs(10))
}

fn answer(status: u16, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Because\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn etcd_v2(answer: String) -> Lock {
    let etcd = EtcdV2::new(answering(answer), "/key", None);
    Lock(Kind::EtcdV2(etcd, "a".to_owned()), String::new())
}

fn etcd_v3(answer: String) -> Lock {
    let etcd = EtcdV3::new(answering(answer), "/key", None);
    Lock(Kind::EtcdV3(etcd, "a".to_owned()), String::new())
}

fn fleet_lock(answer: String) -> Lock {
    let server = FleetLock::new(answering(answer), "a", "group");
    Lock(Kind::FleetLock(server, "a".to_owned()), String::new())
}

async fn is_refused(lock: Lock, what: &str) {
    let locked = lock.lock(&Note::default()).await;
    assert!(locked.is_err(), "{what}: {locked:?}");
    for fence in [false, true] {
        let unlocked = lock.unlock(fence).await;
        assert!(unlocked.is_err(), "{what}: {unlocked:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_etcds_is_no_missing_key_and_gives_nothing_back() {
    for body in [
        "",
        "{}",
        "null",
        "[]",
        "<html></html>",
        r#"{"kvs":[]}"#,
        r#"{"header":null}"#,
        r#"{"node":{}}"#,
    ] {
        for status in [200, 201, 204, 404, 412] {
            let body = if status == 204 { "" } else { body };
            let answer = || answer(status, "application/json", body);
            is_refused(etcd_v2(answer()), &format!("v2 {status} {body}")).await;
            is_refused(etcd_v3(answer()), &format!("v3 {status} {body}")).await;
        }
    }
    // The control: the key is missing, so this node is no holder.
    let missing = answer(
        404,
        "application/json",
        r#"{"errorCode":100,"message":"Key not found","index":7}"#,
    );
    etcd_v2(missing).unlock(true).await.unwrap();
    let missing = r#"{"header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}}"#;
    etcd_v3(answer(200, "application/json", missing))
        .unlock(true)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_web_page_is_no_fleet_locks_yes() {
    for kind in ["text/html", "text/html; charset=utf-8", "application/xhtml+xml"] {
        for status in [200, 202] {
            let lock = fleet_lock(answer(status, kind, "<html><title>Log in</title></html>"));
            let told = lock.lock(&Note::default()).await.unwrap_err().to_string();
            assert!(told.contains("a web page: FLEET_LOCK_URL"), "{told}");
            is_refused(lock, kind).await;
        }
    }
    // The control: whatever else it says.
    for kind in ["text/plain", "application/json", "x"] {
        let lock = fleet_lock(answer(200, kind, "<html>"));
        assert_eq!(lock.lock(&Note::default()).await.unwrap(), Acquired::Held);
        lock.unlock(true).await.unwrap();
    }
}
