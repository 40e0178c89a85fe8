//! The offer that a dry run judges: the last one, the server's, or none.

use std::fs::File;
use std::time::{Duration, SystemTime};

use update_engine::disk::SlotName;
use update_engine::status::Prospect;

use super::{dry_run, failed, files, free_preview, preview};
use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{Asked, IDLE, Scene, eventually};
use test_support::fixtures;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_judges_the_last_offer_says_its_age_and_asks_no_update_server() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    // What comes is no payload: the attempt fails, and its offer is known afterwards.
    let server = BadServer::offering(payload.clone(), "", |_| {});
    let node = Node::with_slots(&server.url(), 1 << 20);
    let mut scene = Scene::with(server, node).await;
    let _daemon = scene.boot(SlotName::A).await;
    let posts = |scene: &Scene<BadServer>| scene.server.questions().len();
    let (exit, told) = free_preview(&scene.bus).await;
    assert_eq!(
        (exit, told.prospect, told.answered),
        (5, Prospect::NothingOffered, None)
    );
    assert!(
        told.summary.contains("no check has brought an answer yet"),
        "{told:?}"
    );
    assert!(told.summary.contains("--ask-server"), "{told:?}");
    assert_eq!(posts(&scene), 0);

    scene.attempt(IDLE).await;
    scene.overview(|overview| overview.last_failure.0.is_some()).await;
    eventually("the failure is told", || posts(&scene) > 1).await;
    let asked = posts(&scene);
    let answer = scene.node.path("/var/lib/update_engine/prefs/full-response");
    let came = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options()
        .write(true)
        .open(&answer)
        .unwrap()
        .set_modified(came)
        .unwrap();
    let before = files(&scene.node.path("/"));
    let previous = scene.node.path("/var/lib/update_engine/prefs/previous-version");
    File::options()
        .write(true)
        .open(&previous)
        .unwrap()
        .set_modified(came)
        .unwrap();
    let (exit, told) = free_preview(&scene.bus).await;
    assert_eq!(
        (exit, told.prospect, told.answered),
        (7, Prospect::Fail, Some(1_700_000_000))
    );
    assert_eq!(failed(&told).0, "payload");
    let page = String::from_utf8(dry_run(&scene.bus, &[]).await.stdout).unwrap();
    assert!(page.contains(" ago (2023-11-14 22:13:20 UTC)"), "{page}");
    assert!(!page.contains("would be installed"), "{page}");
    assert_eq!(posts(&scene), asked, "no question, and no event");
    assert_eq!(files(&scene.node.path("/")), before);

    // The control: asked for, it is one question.
    preview(&scene.bus).await;
    assert_eq!(posts(&scene), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_was_installed_is_none_and_a_rollback_is_told_once() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.update().await;
    let daemon = scene.come_back().await;
    let (exit, told) = free_preview(&scene.bus).await;
    assert_eq!((exit, told.prospect), (5, Prospect::NothingOffered));
    assert!(
        told.summary.contains("since the last update was installed"),
        "{told:?}"
    );
    assert_eq!(Asked::questions(&scene.server).len(), 0);
    let (exit, _) = preview(&scene.bus).await;
    assert_eq!(exit, 0, "an operator gets what was rolled back before");
    assert_eq!(scene.last_news(), (3, 0, Some(44), None));
    preview(&scene.bus).await;
    assert_eq!(scene.last_news(), (3, 2, None, Some(String::new())));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_does_not_come_in_time_makes_the_outcome_doubtful() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let server = BadServer::offering(payload, "gate=1", |_| {});
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let _daemon = scene.boot(SlotName::A).await;
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!((exit, told.prospect), (7, Prospect::Doubtful), "{told:?}");
    assert!(
        told.summary
            .starts_with("may fail in USR-B: payload: its server gave no manifest within "),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_offer_and_an_engine_that_is_switched_off_have_exit_codes_of_their_own() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!((exit, told.prospect), (5, Prospect::NothingOffered));
    scene.node.write(CONFIG, b"SERVER=disabled\n");
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!((exit, told.prospect), (6, Prospect::PutOff));
    assert_eq!(told.summary, "updates are switched off: SERVER=disabled");
    scene.node.write(CONFIG, b"SERVER=http://127.0.0.1:1/\n");
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!((exit, told.code), (7, Some(2000)));
}
