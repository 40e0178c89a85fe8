//! What operators hear of a content payload: before an update by a dry run, while it is fetched by
//! the status line, and afterwards by the metrics.

use update_engine::disk::SlotName;
use update_engine::status::{AttemptState, CheckResult, Preview};

use super::{PACKAGE, Payloads, Signer, fate_is_untouched, is_installed, node, offered};
use crate::client::cancel::cancel;
use crate::client::dry_run::preview;
use crate::client::history::{attempts, ended_as};
use crate::monitoring::metrics::{metrics, promtool, with_metrics};
use crate::support::bad_server::BadServer;
use crate::support::notify_socket::NotifySocket;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::server::Server;

/// What a dry run has found of the package.
fn of_package(preview: &Preview) -> (CheckResult, &str) {
    let mut checks = preview.checks.iter();
    let found = checks.find(|check| check.subject == "content payload").unwrap();
    (found.result, &found.found)
}

async fn metrics_of(scene: &mut Scene) -> String {
    let path = with_metrics(scene);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    is_installed(&scene.node);
    // The counters follow with the next look at the node.
    let counted = "update_engine_updates_total 1\n";
    eventually("the counters are written", || metrics(&path).contains(counted)).await;
    let text = metrics(&path);
    assert_eq!(promtool(&["check", "metrics"], &text), (true, String::new()));
    assert!(daemon.stop().success());
    text
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "{line} is not in {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_foretells_what_is_fetched_and_the_status_names_the_package() {
    let payloads = Payloads::new();
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let manager = NotifySocket::of(&mut scene.node, 200_000_000);
    let daemon = scene.boot(SlotName::A).await;
    let (exit, foretold) = preview(&scene.bus).await;
    assert_eq!(exit, 0, "{foretold:?}");
    let (result, found) = of_package(&foretold);
    assert_eq!(result, CheckResult::Ok);
    assert!(fate_is_untouched(&scene.node));

    scene.attempt(NEED_REBOOT).await;
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    let expected = update_engine::amounts::bytes(told[0].content_expected.unwrap());
    let foretells = format!("{PACKAGE} is tried first: {expected} of its ");
    assert!(found.starts_with(&foretells), "{found}: {expected}");
    let told = manager.told();
    let ends = format!(", of content package {PACKAGE}");
    assert!(told.iter().any(|line| line.ends_with(&ends)), "{told:?}");
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_why_a_package_would_be_given_up_and_still_foretells_an_update() {
    let payloads = Payloads::signed(Signer::Nobody);
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let daemon = scene.boot(SlotName::A).await;
    let (exit, foretold) = preview(&scene.bus).await;
    assert_eq!(exit, 0, "{foretold:?}");
    let (result, found) = of_package(&foretold);
    assert_eq!(result, CheckResult::Doubtful);
    assert!(
        found.contains("would be given up, and the payload fetched: "),
        "{found}"
    );
    assert!(found.contains("signature"), "{found}");
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_which_package_was_taken_and_how_many_bytes_came() {
    let payloads = Payloads::new();
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let text = metrics_of(&mut scene).await;
    let downloads = scene.server.journal().downloads();
    let fetched: u64 = downloads.iter().map(|download| download.len).sum();
    has(
        &text,
        &[
            "update_engine_last_image_source{source=\"content\"} 1",
            "update_engine_last_image_source{source=\"payload\"} 0",
            &format!("update_engine_content_expected_bytes {fetched}"),
            &format!("update_engine_content_fetched_bytes {fetched}"),
            &format!("update_engine_downloaded_bytes_total {fetched}"),
            "update_engine_content_images_total 1",
            "update_engine_content_failures_total 0",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_a_package_that_was_given_up() {
    let payloads = Payloads::signed(Signer::Nobody);
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let text = metrics_of(&mut scene).await;
    has(
        &text,
        &[
            "update_engine_last_image_source{source=\"content\"} 0",
            "update_engine_last_image_source{source=\"payload\"} 1",
            "update_engine_content_images_total 0",
            "update_engine_content_failures_total 1",
        ],
    );
    assert!(!text.contains("update_engine_content_expected_bytes"), "{text}");
}

/// An image that isn't complete was made of nothing, and nothing speaks against the package. The
/// control: the next attempt goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_attempt_has_no_image_and_has_not_given_the_package_up() {
    let payloads = Payloads::new();
    let (http, size) = (Server::start(), payloads.content().len());
    http.serve(PACKAGE, payloads.content());
    // Header and manifest come, and of the first range nothing, once.
    let server = BadServer::on(http, payloads.full(), ";;hold=1;", |offer| {
        offer.extras = format!(r#"<package name="{PACKAGE}" size="{size}" required="false"></package>"#);
    });
    let node = node(&server.url());
    let mut scene = Scene::with(server, node).await;
    scene.configure("CONTENT_PAYLOADS=on\n");
    let path = with_metrics(&scene);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    eventually("the slot is ours", || !fate_is_untouched(&scene.node)).await;
    assert!(cancel(&scene).await.status.success());
    scene.signals_until(IDLE).await;
    let told = attempts(&scene, ended_as(AttemptState::Interrupted)).await;
    assert_eq!(told[0].content_failure, None);
    let is_told = || metrics(&path).contains("update_engine_content_fetched_bytes ");
    eventually("its bytes are told", is_told).await;
    let text = metrics(&path);
    assert!(!text.contains("update_engine_last_image_source{"), "{text}");
    let counts = |images| {
        [
            format!("update_engine_content_images_total {images}"),
            "update_engine_content_failures_total 0".to_owned(),
        ]
    };
    has(&text, &counts(0).each_ref().map(String::as_str));

    scene.attempt(NEED_REBOOT).await;
    is_installed(&scene.node);
    let is_counted = || metrics(&path).contains(&counts(1)[0]);
    eventually("the image is counted", is_counted).await;
    let source = "update_engine_last_image_source{source=\"content\"} 1";
    has(&metrics(&path), &[source, &counts(1)[1]]);
    daemon.stop();
}
