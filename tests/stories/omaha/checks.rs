//! Checks that bring no update: what the bus, the server and the journal see of each.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use tokio::sync::watch;
use update_engine::bus::StatusFields;
use update_engine::disk::SlotName;
use update_engine::engine::{CancelSignal, Checked, Progress, Updater as _};
use update_engine::status::Trigger;

use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, Scene, operations};
use crate::trial::rollback::engine;
use test_support::fixtures;

const PRIVATE: u32 = 1 << 28;
const DEVELOPERS: u32 = 1 << 29;

const GARBAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngarbage";

/// A server that gives these answers, the last again and again; gives its URL and the bodies it was
/// sent.
fn answering(answers: &'static [&'static str]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/update/", listener.local_addr().unwrap());
    let (sender, bodies) = channel();
    std::thread::spawn(move || {
        for (stream, number) in listener.incoming().zip(0..) {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains("</request>") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
                }
            }
            // First: whoever has read the answer looks for it.
            if sender.send(text).is_err() {
                return;
            }
            let answer = answers.get(number).or(answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, bodies)
}

/// An attempt of `scene` against a server that gives these answers: its signals, and what the
/// server was sent.
async fn attempt_against(
    scene: &mut Scene,
    answers: &'static [&'static str],
) -> (Vec<StatusFields>, Vec<String>) {
    let (url, bodies) = answering(answers);
    scene.node.write(CONFIG, format!("SERVER={url}\n").as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(IDLE).await;
    daemon.stop();
    (signals, bodies.try_iter().collect())
}

/// The event that tells of a failure.
fn failure(code: u32) -> String {
    format!(r#"<event eventtype="3" eventresult="0" errorcode="{code}"></event>"#)
}

async fn a_failed_check_is_reported(answer: &'static [&'static str], code: u32) {
    let (signals, bodies) = attempt_against(&mut Scene::quiet().await, answer).await;
    let expected = ["CHECKING_FOR_UPDATE", "REPORTING_ERROR_EVENT", "IDLE"];
    assert_eq!(operations(&signals), expected);
    assert_eq!(signals.last().unwrap().0, 0, "a failed check is no check");
    let event = failure(code | PRIVATE);
    assert!(bodies.last().unwrap().contains(&event), "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_check_is_kept_as_it_came_and_that_to_an_event_is_not() {
    const RECEIVED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nreceived";
    let mut scene = Scene::quiet().await;
    let (_, bodies) = attempt_against(&mut scene, &[GARBAGE, RECEIVED]).await;
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert_eq!(scene.node.pref("full-response").as_deref(), Some("garbage"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_machine_says_with_each_failure_that_it_is_one() {
    let mut scene = Scene::quiet().await;
    scene.node.write("/root/.dev_mode", b"");
    let (_, bodies) = attempt_against(&mut scene, &[GARBAGE]).await;
    let event = failure(31 | PRIVATE | DEVELOPERS);
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
    assert!(log.contains("asking http://127.0.0.1:"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_error_is_reported() {
    a_failed_check_is_reported(&["HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"], 2500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_reported() {
    a_failed_check_is_reported(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_xml_is_reported() {
    a_failed_check_is_reported(&[GARBAGE], 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_reported() {
    const ANSWER: &str = concat!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        r#"<response protocol="3.0"><app status="ok"><updatecheck status="error-internal"/></app></response>"#
    );
    a_failed_check_is_reported(&[ANSWER], 34).await;
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
    // A silent connection is given up after 90 s.
    assert!(asked.elapsed().as_secs() < 60);
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
            let Checked::Offer((mut attempt, plan)) = engine.check(Trigger::Schedule).await else {
                panic!("an update is offered");
            };
            let ready = engine.prepare(&mut attempt, plan).await.unwrap();
            let (progress, _) = watch::channel(Progress::default());
            let downloaded = engine.download(&mut attempt, ready, progress, CancelSignal::default());
            assert!(downloaded.await.is_err());
            wait = engine.until_next_check().unwrap();
        }
        assert_eq!(wait.as_secs() > 50 * 60, is_slowed, "{status}: {wait:?}");
    }
}
