//! Checks that bring no update: what the bus, the server and the journal see of each.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use update_engine::bus::StatusFields;
use update_engine::disk::SlotName;
use update_engine::engine::{Checked, Trigger, Updater as _};

use super::rollback::engine;
use crate::support::bad_server::BadServer;
use crate::support::fixtures;
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, Scene, operations};

const PRIVATE: u32 = 1 << 28;

/// A server that gives every request the same answer; gives its URL and the bodies it was sent.
fn answering(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/update/", listener.local_addr().unwrap());
    let (sender, bodies) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains("</request>") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

/// An attempt against a server that always gives `answer`: its signals, and what the server was sent.
async fn attempt_against(answer: &'static str) -> (Vec<StatusFields>, Vec<String>) {
    let (url, bodies) = answering(answer);
    let mut scene = Scene::quiet().await;
    scene.node.write(CONFIG, format!("SERVER={url}\n").as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(IDLE).await;
    daemon.stop();
    (signals, bodies.try_iter().collect())
}

async fn a_failed_check_is_reported(answer: &'static str, code: u32) {
    let (signals, bodies) = attempt_against(answer).await;
    let expected = ["CHECKING_FOR_UPDATE", "REPORTING_ERROR_EVENT", "IDLE"];
    assert_eq!(operations(&signals), expected);
    assert_eq!(signals.last().unwrap().0, 0, "a failed check is no check");
    let event = format!(
        r#"<event eventtype="3" eventresult="0" errorcode="{}"></event>"#,
        code | PRIVATE
    );
    assert!(bodies.last().unwrap().contains(&event), "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_no_error() {
    let mut scene = Scene::quiet().await;
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(operations(&signals), ["CHECKING_FOR_UPDATE", "IDLE"]);
    assert!(signals.last().unwrap().0 > 0);
    assert_eq!(scene.events(), []);
    assert_eq!(scene.node.pref("previous-version").as_deref(), Some(""));
    assert!(scene.node.pref("full-response").unwrap().contains("noupdate"));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_servers_url_stays_out_of_the_journal() {
    let mut scene = Scene::quiet().await;
    let url = scene.server.url().replacen("://", "://me:secret@", 1);
    scene.node.write(CONFIG, format!("SERVER={url}\n").as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let log = daemon.log();
    assert!(log.contains("asking http://me"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_does_not_hold_up_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut scene = Scene::quiet().await;
    scene.node.write(CONFIG, format!("SERVER={url}\n").as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_CHECKING_FOR_UPDATE").await;
    let (_connection, _) = listener.accept().unwrap();
    let started = std::time::Instant::now();
    assert!(daemon.stop().success());
    // A silent connection is given up after 90 s.
    assert!(started.elapsed().as_secs() < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_error_is_reported() {
    a_failed_check_is_reported("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 2500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_reported() {
    a_failed_check_is_reported("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_xml_is_reported() {
    a_failed_check_is_reported("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngarbage", 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_reported() {
    let answer = concat!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        r#"<response protocol="3.0"><app status="ok"><updatecheck status="error-internal"/></app></response>"#
    );
    a_failed_check_is_reported(answer, 34).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_updates_disabled_no_server_is_asked_and_the_slot_is_marked_good() {
    let mut scene = Scene::quiet().await;
    scene.node.write(CONFIG, b"SERVER=disabled\n");
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(
        operations(&signals),
        ["CHECKING_FOR_UPDATE", "REPORTING_ERROR_EVENT", "IDLE"]
    );
    assert_eq!(scene.server.journal().exchanges(), []);
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_waits_for_a_server_ends_at_once_when_asked_to() {
    // It accepts connections, in the kernel, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut scene = Scene::quiet().await;
    let server = format!("SERVER=http://{}/\n", silent.local_addr().unwrap());
    scene.node.write(CONFIG, server.as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_CHECKING_FOR_UPDATE").await;
    let (_connection, _) = silent.accept().unwrap();
    let asked = std::time::Instant::now();
    assert!(daemon.stop().success());
    assert!(asked.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn an_overloaded_server_of_payloads_slows_the_checks_down_and_any_other_does_not() {
    for (status, is_slowed) in [(500, true), (503, true), (404, false)] {
        let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
        let server = BadServer::offering(payload, &format!("status={status}"), |_| ());
        let node = Node::new(&server.url());
        let engine = engine(&node);
        let mut wait = engine.until_next_check().unwrap();
        // 45, 90, 180 minutes, each give or take a half from the second on; else never above 50.
        for _ in 0..3 {
            let Checked::Offer(_, plan) = engine.check(Trigger::Timer).await else {
                panic!("an update is offered");
            };
            let ready = engine.prepare(plan).await.unwrap();
            let (progress, _) = watch::channel((0, 0));
            let downloaded = engine.download(ready, progress, CancellationToken::new());
            assert!(downloaded.await.is_err());
            wait = engine.until_next_check().unwrap();
        }
        assert_eq!(wait.as_secs() > 50 * 60, is_slowed, "{status}: {wait:?}");
    }
}
