//! A download that is cut goes on where it was, in the next attempt or after a restart.

use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::install::{InstallError, Installer, PostinstMode};

use crate::support::installing::plan;
use crate::support::node::{Node, sha256};
use test_support::fixtures;
use test_support::server::{Recorded, Server};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures::payload(name)).unwrap()
}

fn assert_installed(node: &Node) {
    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
}

/// First byte that a request asked for.
fn start(request: &Recorded) -> u64 {
    let range = request
        .header("range")
        .map(|range| range.strip_prefix("bytes=").unwrap());
    range.map_or(0, |range| range.strip_suffix('-').unwrap().parse().unwrap())
}

/// Attempts until one succeeds; each is a new process as far as the installer can tell. Gives how
/// many failed.
async fn persist(node: &Node, url: &str, payload: &[u8]) -> usize {
    for failed in 0..20 {
        match node.install(plan(url.to_owned(), payload)).await {
            Ok(()) => return failed,
            Err(InstallError::Fetch(_)) => {
                assert!(!node.slot_attributes(SlotName::B).is_selectable());
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no attempt makes progress");
}

/// What a checkpoint doesn't cover comes twice.
async fn goes_on_after_every_cut(payload: Vec<u8>, cuts: &str) {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    server.serve("p", payload.clone());
    let failed = persist(&node, &server.url(&format!("{cuts}/p")), &payload).await;

    assert_installed(&node);
    let starts: Vec<u64> = server.requests().iter().map(start).collect();
    assert!(failed >= 3 && starts.len() == failed + 1, "{starts:?}");
    assert!(starts.is_sorted(), "{starts:?}");
    assert!(starts[1..].iter().all(|start| *start > 0), "{starts:?}");
}

#[tokio::test]
async fn a_payload_of_version_2_goes_on_after_every_cut() {
    goes_on_after_every_cut(super::v2::version_2(), "cut=450000").await;
}

#[tokio::test]
async fn a_full_payload_is_never_fetched_from_its_first_byte_again() {
    goes_on_after_every_cut(fixture("full.payload"), "cut=450000").await;
}

#[tokio::test]
async fn a_delta_is_never_fetched_from_its_first_byte_again() {
    goes_on_after_every_cut(fixture("delta.payload"), "cut=9000;cut=9000;cut=6000;cut=130000;").await;
}

#[tokio::test]
async fn progress_counts_what_an_earlier_attempt_brought() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let plan = plan(server.url("cut=1000000;/p"), &payload);
    assert!(node.download(plan.clone()).await.is_err());

    let ready = Installer::new(plan, node.site(PostinstMode::Skip))
        .prepare()
        .await
        .unwrap();
    assert!(ready.resumes());
    let mut heard = Vec::new();
    let cancel = CancellationToken::new();
    ready
        .download(&mut |bytes| heard.push(bytes), &cancel)
        .await
        .unwrap();
    assert!(heard[0] > 300_000, "{}", heard[0]);
    assert!(heard.is_sorted());
    assert_eq!(heard.last(), Some(&(payload.len() as u64)));
}

#[tokio::test]
async fn a_server_without_ranges_is_read_again_but_not_written_again() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let url = server.url("no-range,cut=900000;no-range/p");
    assert_eq!(persist(&node, &url, &payload).await, 1);
    assert_installed(&node);
}

#[tokio::test]
async fn a_file_that_was_replaced_meanwhile_is_found_out_and_the_next_attempt_starts_over() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let plan = plan(server.url("cut=900000;changed;/p"), &payload);
    assert!(node.download(plan.clone()).await.is_err());
    // The rest is of another file.
    let error = node.install(plan.clone()).await.unwrap_err();
    assert!(!matches!(error, InstallError::Fetch(_)), "{error:?}");
    assert!(!node.slot_attributes(SlotName::B).is_selectable());

    node.install(plan).await.unwrap();
    assert_installed(&node);
    assert_eq!(start(&server.requests()[2]), 0);
}

#[tokio::test]
async fn another_offer_starts_over() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let (full, delta) = (fixture("full.payload"), fixture("delta.payload"));
    server.serve("full", full.clone());
    server.serve("delta", delta.clone());
    assert!(
        node.download(plan(server.url("cut=900000/full"), &full))
            .await
            .is_err()
    );
    node.install(plan(server.url("delta"), &delta)).await.unwrap();
    assert_installed(&node);
    assert_eq!(start(&server.requests()[1]), 0);
}

#[tokio::test]
async fn state_that_was_damaged_is_not_trusted() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    let plan = plan(server.url("cut=900000;/p"), &payload);
    assert!(node.download(plan.clone()).await.is_err());
    let checkpoint = node.state().join("checkpoint");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&checkpoint, bytes).unwrap();
    node.install(plan).await.unwrap();
    assert_installed(&node);
    assert_eq!(start(&server.requests()[1]), 0);
}

#[tokio::test]
async fn a_cancelled_download_ends_soon_and_goes_on_later() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    // One piece comes; the server holds the rest.
    server.release(1);
    let plan = plan(server.url("gate=900000;/p"), &payload);
    let ready = Installer::new(plan.clone(), node.site(PostinstMode::Skip))
        .prepare()
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    let mut heard = |bytes: u64| {
        if bytes >= 900_000 {
            cancel.cancel();
        }
    };
    let error = ready.download(&mut heard, &cancel).await.err().unwrap();
    assert!(matches!(error, InstallError::Cancelled), "{error:?}");
    node.install(plan).await.unwrap();
    assert_installed(&node);
    assert!(start(&server.requests()[1]) > 0);
}
