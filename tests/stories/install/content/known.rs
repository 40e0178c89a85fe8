//! A running slot that a content package has made: where its chunks lie is known from then, and it is
//! not looked through for the next one.

use super::*;
use crate::support::scene::eventually;

/// The record of what slot B was made by.
const TABLES: &str = "/var/lib/update_engine/install/tables-b";

/// What the journal says where it is believed, and where it isn't.
const KNOWN: &str = "USR-B is known by the content package that it was made by";
const OTHER: &str = "USR-B isn't what its last content package made";

/// The journal of a node that runs the new image, made by a content package, and installs the old one
/// by the next; `before` is done to it first.
async fn next_after(before: impl FnOnce(&Node)) -> String {
    let payloads = Payloads::new();
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\nHEALTH_SETTLE=0\n").await;
    scene.update().await;
    assert!(payloads.content().starts_with(&contents(&scene.node)));
    let next = Payloads::of("btrfs-old.img", Signer::Trusted);
    let catalog = Catalog::open("3.0.0", &next.full).unwrap();
    let catalog = catalog.with_package(PACKAGE.parse().unwrap(), &next.content);
    scene.server.replace(Some(catalog.unwrap()));
    before(&scene.node);

    let daemon = scene.boot(SlotName::B).await;
    eventually("slot B is good", || {
        scene.node.slot_attributes(SlotName::B).is_good()
    })
    .await;
    scene.attempt(NEED_REBOOT).await;
    assert_eq!(
        sha256(&scene.node.disk.slot(SlotName::A)),
        sha256(&image("btrfs-old.img"))
    );
    let fetched: u64 = scene
        .server
        .journal()
        .downloads()
        .iter()
        .map(|download| download.len)
        .sum();
    assert!(fetched * 4 < next.full().len() as u64, "{fetched}");
    let log = daemon.log();
    assert!(daemon.stop().success());
    log
}

/// Header and manifest that are on record for slot B.
fn contents(node: &Node) -> Vec<u8> {
    let record = node.read(TABLES);
    // Behind the record's header, and before its checksum.
    record[20..record.len() - 32].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_a_package_has_made_is_not_looked_through_for_the_next() {
    let log = next_after(|_| {}).await;
    assert!(log.contains(KNOWN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_and_with_a_damaged_one_it_is_looked_through() {
    let log = next_after(|node| fs::remove_file(node.path(TABLES)).unwrap()).await;
    assert!(!log.contains(KNOWN) && !log.contains(OTHER), "{log}");
    let log = next_after(|node| node.write(TABLES, b"UpdEngSt")).await;
    assert!(
        log.contains("where the chunks of USR-B lie is not known"),
        "{log}"
    );
    assert!(!log.contains(KNOWN), "{log}");
}

/// As by a daemon of before, which knows no such record: slot B holds the old image.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_written_since_is_looked_through() {
    let log = next_after(|node| node.disk.write(SlotName::B, 0, &image("btrfs-old.img"))).await;
    assert!(log.contains(OTHER), "{log}");
}

/// The payload's way leaves no record of what a package made before.
#[tokio::test]
async fn a_slot_that_the_payload_has_made_has_no_record() {
    let payloads = Payloads::new();
    let (node, server) = (node("disabled"), Server::start());
    server.serve("update.content", payloads.content());
    let (installed, _) = outcome(&node, both(&server, &payloads, ("", ""))).await;
    installed.unwrap();
    assert!(node.path(TABLES).exists());
    let plan = InstallPlan {
        content: None,
        ..both(&server, &payloads, ("", ""))
    };
    let ready = Installer::new(plan, node.site(PostinstMode::Skip));
    let cancel = CancellationToken::new();
    let ready = ready.prepare().await.unwrap();
    let downloaded = Box::pin(ready.download(&mut |_| {}, &cancel)).await.unwrap();
    downloaded.verify(&cancel).await.unwrap();
    assert!(!node.path(TABLES).exists());
}
