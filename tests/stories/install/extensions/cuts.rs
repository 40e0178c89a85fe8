//! Extensions of attempts that were killed, replaced, or could not be committed.

use std::fmt::Write as _;
use std::fs;

use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::serve::Catalog;
use update_engine::status::Operation;

use super::{BOTH, DIRECTORY, Files, MARK, STAGED, image, names, oem, offering, packages, planned, zfs};
use crate::install::refusals::{FALLBACK, UNBOOTABLE};
use crate::reboot::replacing::Running;
use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node, client, sha256};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::fixtures;

/// An attempt that is killed while the second of two is on its way, and the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_between_two_of_them_leaves_none_and_the_next_one_begins_anew() {
    const HELD: usize = 2_600_000;
    let update = fs::read(fixtures::payload("full.payload")).unwrap();
    assert!(update.len() < HELD, "the update itself is not held");
    let large = image(3_000_000, 4);
    let http = Files::start();
    let mut packages = String::new();
    for (name, image) in [("oem-test.gz", &oem()), ("flatcar-zfs.gz", &large)] {
        let payload = fixtures::signed(image);
        let (size, hash) = (payload.len(), sha256(&payload));
        write!(
            packages,
            r#"<package name="{name}" size="{size}" hash_sha256="{hash}"/>"#
        )
        .unwrap();
        http.serve(name, payload);
    }
    let server = BadServer::on(http, update, &format!("hold={HELD};"), |offer| {
        offer.extras = packages;
    });
    let node = Node::new(&server.url());
    node.write(CONFIG, format!("SERVER={}\n{BOTH}", server.url()).as_bytes());
    let mut scene = Scene::with(server, node).await;

    let daemon = scene.boot(SlotName::A).await;
    let (_, status) = client(&scene.bus, "-check_for_update").await;
    assert!(status.success());
    eventually("the second is asked for", || scene.server.downloads().len() == 2).await;
    assert_eq!(scene.node.read(&format!("{STAGED}/oem-test.raw")), oem());
    daemon.kill();
    assert_eq!(scene.node.disk.attributes(SlotName::B), FALLBACK);
    assert_eq!(names(&scene.node, DIRECTORY), [".staged"]);

    let daemon = scene.boot(SlotName::A).await;
    assert_eq!(
        names(&scene.node, DIRECTORY),
        [""; 0],
        "what was left is cleared at the start"
    );
    scene.attempt(NEED_REBOOT).await;
    let version = format!("{DIRECTORY}/2.0.0");
    assert_eq!(
        names(&scene.node, &version),
        [MARK, "flatcar-zfs.raw", "oem-test.raw"]
    );
    assert!(scene.node.read(&format!("{version}/flatcar-zfs.raw")) == large);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_an_update_that_another_one_replaces_go_with_it() {
    let scene = offering(&packages(), "EXTENSIONS=*\nREPLACE_WAITING_UPDATE=yes\n").await;
    let (node, server) = (&scene.node, &scene.server);
    let mut engine = Running::start(node);
    engine.until(Operation::UpdatedNeedReboot, "2.0.0").await;
    assert!(names(node, DIRECTORY).contains(&"2.0.0".to_owned()));

    let payload = node.beside("other.payload");
    fs::write(&payload, fixtures::signed(&fixtures::image("old.img"))).unwrap();
    server.replace(Some(Catalog::open("3.0.0", &payload).unwrap()));
    engine.until(Operation::UpdatedNeedReboot, "3.0.0").await;
    assert_eq!(names(node, DIRECTORY), ["1.0.0", "3.0.0", "theirs"]);
    assert_eq!(
        names(node, &format!("{DIRECTORY}/3.0.0")),
        [MARK],
        "it comes without any"
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_extensions_and_commit_leaves_them_to_no_slot_and_the_next_attempt_replaces_them() {
    let (http, node) = (Files::start(), Node::with_two_good_slots());
    let cancel = CancellationToken::new();
    let downloaded = node.download(planned(&http, &zfs())).await.unwrap();
    assert_eq!(
        names(&node, DIRECTORY),
        [".staged"],
        "nothing is seen of them yet"
    );
    let verified = downloaded.verify(&cancel).await.unwrap();
    drop(verified.postinstall(&cancel).await.unwrap());
    assert_eq!(names(&node, DIRECTORY), ["2.0.0"]);
    assert_eq!(node.disk.attributes(SlotName::B), UNBOOTABLE);

    node.install(planned(&http, &oem())).await.unwrap();
    assert!(node.read(&format!("{DIRECTORY}/2.0.0/oem-test.raw")) == oem());
    assert_eq!(names(&node, DIRECTORY), ["2.0.0"]);
    assert_eq!(node.disk.attributes(SlotName::B), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn they_go_again_with_a_slot_that_cannot_be_committed() {
    let (http, node) = (Files::start(), Node::with_two_good_slots());
    let cancel = CancellationToken::new();
    let downloaded = node.download(planned(&http, &oem())).await.unwrap();
    let verified = downloaded.verify(&cancel).await.unwrap();
    let tested = verified.postinstall(&cancel).await.unwrap();
    // The running slot is not good any more: nothing may take its place.
    node.disk.set_attributes(SlotName::A, (2, 1, 0));
    tested.commit().await.unwrap_err();
    assert_eq!(names(&node, DIRECTORY), [""; 0]);
}
