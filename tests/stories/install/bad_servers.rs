//! Payloads that are not what the offer said, or come from servers that misbehave: refused by name
//! and number, at the latest instant the slot allows.

use super::refusals::{Refusal, unbootable, untouched};
use crate::support::bad_server::{BadServer, Offer};
use crate::support::node::Node;
use crate::support::scene::Scene;
use test_support::fixtures;

/// The attempt at the full fixture ends with `refusal`.
async fn refused(faults: &str, lie: impl FnOnce(&mut Offer), refusal: Refusal<'_>) {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    refused_payload(payload, faults, lie, refusal).await;
}

async fn refused_payload(payload: Vec<u8>, faults: &str, lie: impl FnOnce(&mut Offer), refusal: Refusal<'_>) {
    let server = BadServer::offering(payload, faults, lie);
    let node = Node::new(&server.url());
    refusal.is_seen(&mut Scene::with(server, node).await).await;
}

const fn honestly(_: &mut Offer) {}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_not_there_is_refused() {
    refused(
        "",
        |offer| offer.name = "missing",
        untouched(9, "missing answers 404"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused() {
    let garbage = b"<html>Please log in to the hotel's network</html>".repeat(1000);
    let says = "not an update payload";
    refused_payload(garbage, "", honestly, untouched(21, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_never_ends_is_refused() {
    refused("redirect=loop", honestly, untouched(9, "more than 10 redirects")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_another_size_than_offered_is_refused_by_its_header() {
    let says = "is 2018477 bytes long, the offered payload 2018478";
    refused("", |offer| offer.size += 1, untouched(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_another_size_than_offered_is_refused_by_its_manifest() {
    let says = "by its manifest the payload has 2018477 bytes";
    refused("chunked", |offer| offer.size += 1, untouched(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_longer_than_the_payload_is_refused() {
    let says = "is 2019477 bytes long, the offered payload 2018477";
    refused("longer=1000", honestly, untouched(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_goes_on_after_the_payload_is_refused() {
    let says = "goes on after the 2018477 bytes of the offered payload";
    refused("longer=1000,chunked", honestly, unbootable(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_shorter_than_the_payload_is_refused() {
    let says = "is 2017477 bytes long, the offered payload 2018477";
    refused("shorter=1000", honestly, untouched(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_before_the_payload_does_is_refused() {
    let says = "is 2017477 bytes long, the offered payload 2018477";
    refused("shorter=1000,chunked", honestly, unbootable(11, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hash_than_the_payload_has_is_refused() {
    let says = "offered was 5a5a5a5a";
    refused("", |offer| offer.sha256.fill(0x5a), unbootable(10, says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_during_the_download_is_refused() {
    refused("cut=900000;changed", honestly, unbootable(29, "SHA-256")).await;
}
