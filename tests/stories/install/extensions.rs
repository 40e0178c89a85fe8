//! Packages beside the payload that the daemon itself puts in place, because configuration names
//! them.

mod cuts;
mod urls;

use std::ffi::OsStr;
use std::fs;

use payload_format::Sha256Digest;
use update_engine::disk::SlotName;
use update_engine::plan::{Extension, ExtensionPlan, InstallPlan};
use update_engine::serve::{Audience, Catalog};

use super::refusals::{FALLBACK, PRIVATE, Refusal, UNBOOTABLE};
use crate::support::installing::plan;
use crate::support::loops::may_mount;
use crate::support::node::{Node, quoted};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;
use test_support::server::Server as Files;

const DIRECTORY: &str = "/var/lib/update_engine/extensions";
const STAGED: &str = "/var/lib/update_engine/extensions/.staged";
const MARK: &str = ".update-engine";

/// What an extension holds: bytes that compress badly.
fn image(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(len).collect()
}

fn oem() -> Vec<u8> {
    image(40_000, 1)
}

fn zfs() -> Vec<u8> {
    image(300_001, 2)
}

/// The fixtures' update as `version`, with these packages.
fn catalog(node: &Node, version: &str, packages: &[(&str, Vec<u8>)]) -> Catalog {
    let catalog = Catalog::open(version, &fixtures::payload("full.payload")).unwrap();
    packages.iter().fold(catalog, |catalog, (name, bytes)| {
        let path = node.beside(name);
        fs::write(&path, bytes).unwrap();
        catalog.with_package(name.parse().unwrap(), &path).unwrap()
    })
}

/// A server with these packages beside version 2.0.0, and a node that wants what `wanted` says.
async fn offering(packages: &[(&str, Vec<u8>)], wanted: &str) -> Scene {
    let scene = Scene::quiet().await;
    scene.configure(wanted);
    let catalog = catalog(&scene.node, "2.0.0", packages);
    scene.server.replace(Some(catalog));
    // Of another version, as it was left behind: ours goes, theirs stays.
    scene.node.write(&format!("{DIRECTORY}/1.0.0/{MARK}"), b"");
    scene
        .node
        .write(&format!("{DIRECTORY}/1.0.0/oem-test.raw"), b"old");
    scene.node.write(&format!("{DIRECTORY}/0.9.0/{MARK}"), b"");
    scene.node.write(&format!("{DIRECTORY}/theirs/x.raw"), b"theirs");
    scene
}

fn packages() -> [(&'static str, Vec<u8>); 3] {
    let unwanted = fixtures::signed(&image(5000, 3));
    [
        ("oem-test.gz", fixtures::signed(&oem())),
        ("flatcar-zfs.gz", fixtures::signed(&zfs())),
        ("unwanted.gz", unwanted),
    ]
}

/// What lies in a directory of the node, ascending.
fn names(node: &Node, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(node.path(directory)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn assert_is_placed(node: &Node) {
    let version = format!("{DIRECTORY}/2.0.0");
    assert_eq!(names(node, &version), [MARK, "flatcar-zfs.raw", "oem-test.raw"]);
    assert!(node.read(&format!("{version}/oem-test.raw")) == oem());
    assert!(node.read(&format!("{version}/flatcar-zfs.raw")) == zfs());
}

fn downloaded(scene: &Scene) -> Vec<String> {
    let downloads = scene.server.journal().downloads();
    downloads.iter().map(|download| download.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_named_appear_with_the_slot_and_those_of_neither_version_go() {
    let mut scene = offering(&packages(), "EXTENSIONS=oem-test flatcar-*\n").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert_is_placed(&scene.node);
    assert_eq!(names(&scene.node, DIRECTORY), ["1.0.0", "2.0.0", "theirs"]);
    assert_eq!(
        scene.node.read(&format!("{DIRECTORY}/1.0.0/oem-test.raw")),
        b"old"
    );
    assert_eq!(
        downloaded(&scene),
        ["oem-test.gz", "flatcar-zfs.gz", "full.payload"]
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));

    // Withdrawn, with its slot.
    let mut reset = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    reset.args(["reset", "--withdraw-slot"]);
    let reset = tokio::process::Command::from(reset).status().await.unwrap();
    assert!(reset.success());
    assert_eq!(scene.node.disk.attributes(SlotName::B), UNBOOTABLE);
    assert_eq!(names(&scene.node, DIRECTORY), ["1.0.0", "theirs"]);
    daemon.stop();
}

/// Nebraska calls what it hosts by architecture and version, too; another server by whatever it
/// likes.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_a_server_hosts_under_other_names_appear_under_their_own() {
    let [(_, oem), (_, zfs), _] = packages();
    let hosted = [
        ("mirrored_oem-test.gz", oem),
        ("extrafile-amd64-2.0.0-flatcar-zfs.gz", zfs),
    ];
    let mut scene = offering(&hosted, "EXTENSIONS=oem-test flatcar-*\n").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert_is_placed(&scene.node);
    assert_eq!(downloaded(&scene), [hosted[0].0, hosted[1].0, "full.payload"]);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_none_is_named_none_is_fetched_and_nothing_is_touched() {
    let mut scene = offering(&packages(), "").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert_eq!(downloaded(&scene), ["full.payload"]);
    assert_eq!(names(&scene.node, DIRECTORY), ["0.9.0", "1.0.0", "theirs"]);
    daemon.stop();
}

/// An attempt with these packages ends with `code` and `says`, and changes neither slot nor
/// extensions.
async fn is_refused(packages: &[(&str, Vec<u8>)], wanted: &str, code: i64, says: &str) {
    let mut scene = offering(packages, wanted).await;
    refusal(code, says).is_seen(&mut scene).await;
    assert_eq!(names(&scene.node, DIRECTORY), ["0.9.0", "1.0.0", "theirs"]);
    assert_eq!(
        names(&scene.node, &format!("{DIRECTORY}/1.0.0")),
        [MARK, "oem-test.raw"]
    );
}

fn refusal(code: i64, says: &str) -> Refusal<'_> {
    Refusal {
        code,
        says,
        slot_b: FALLBACK,
        announced: true,
    }
}

const BOTH: &str = "EXTENSIONS=oem-test flatcar-zfs\n";

/// Both, the second as `change` makes it.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> [(&'static str, Vec<u8>); 2] {
    let [oem, mut zfs, _] = packages();
    change(&mut zfs.1);
    [oem, zfs]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_trusted_has_signed_is_refused_although_the_offer_says_its_hash() {
    let forged = changed(|payload| {
        let at = payload.len() - 40;
        payload[at] ^= 1;
    });
    is_refused(&forged, BOTH, 18, "extension flatcar-zfs can't be installed").await;
    let raw = changed(|payload| *payload = zfs());
    is_refused(&raw, BOTH, 21, "it is no payload").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_by_a_key_that_nobody_trusts_is_refused() {
    let arguments = [
        "genpkey",
        "-quiet",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
    ];
    let key = fixtures::filter("openssl", arguments.map(OsStr::new), b"");
    let key = String::from_utf8(key).unwrap();
    let by_another = changed(|payload| *payload = fixtures::signed_by(&key, &zfs()));
    is_refused(&by_another, BOTH, 18, "is not trusted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_the_offered_one_or_not_there_is_refused_before_the_slot_is_touched() {
    for (code, says) in [(10, "offered was"), (9, "answers 500")] {
        let mut scene = offering(&packages(), BOTH).await;
        let path = scene.node.beside("flatcar-zfs.gz");
        if code == 9 {
            fs::remove_file(path).unwrap();
        } else {
            let mut bytes = fs::read(&path).unwrap();
            bytes[100] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        refusal(code, says).is_seen(&mut scene).await;
        assert!(!downloaded(&scene).contains(&"full.payload".to_owned()));
        assert_eq!(names(&scene.node, DIRECTORY), ["0.9.0", "1.0.0", "theirs"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_without_one_that_is_named_is_refused() {
    let mut scene = offering(&packages()[..1], BOTH).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_REPORTING_ERROR_EVENT").await;
    scene.signals_until(IDLE).await;
    let why = "EXTENSIONS names \"flatcar-zfs\", and the offer has no such package";
    assert!(daemon.log().contains(why));
    assert_eq!(scene.events(), [(3, 0, Some(PRIVATE + 34))]);
    assert_eq!(downloaded(&scene), [""; 0]);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_they_cannot_be_written_the_slot_is_left_alone() {
    let mut scene = offering(
        &packages(),
        "EXTENSIONS=oem-test\nEXTENSIONS_DIRECTORY=/etc/machine-id/x\n",
    )
    .await;
    refusal(14, "the update's extensions can't be put in place")
        .is_seen(&mut scene)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_for_them_nothing_is_fetched() {
    if !may_mount() {
        return;
    }
    // They would fit in the second, and leave less than records and checkpoints need.
    for size in ["200k", "1200k"] {
        let mut scene = offering(&packages(), BOTH).await;
        with_room(&mut scene, size);
        let refusal = Refusal {
            announced: false,
            ..refusal(14, "no room for the update's extensions")
        };
        refusal.is_seen(&mut scene).await;
        assert_eq!(downloaded(&scene), [""; 0]);
    }
    let mut scene = offering(&packages(), BOTH).await;
    with_room(&mut scene, "2m");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
}

/// A file system of this size holds the extensions; the daemon alone sees it, and it is gone with
/// it.
fn with_room(scene: &mut Scene, size: &str) {
    let directory = scene.node.path(DIRECTORY);
    scene.node.before = format!(
        r#"exec unshare --mount sh -c 'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"' {} "$0" "$@""#,
        quoted(directory)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_the_running_version_are_not_replaced_by_others_of_the_same_version() {
    let mut scene = offering(&packages(), BOTH).await;
    let again = catalog(&scene.node, "1.0.0", &packages()).for_audience(Audience::Everyone);
    scene.server.replace(Some(again));
    refusal(14, "belongs to the running system")
        .is_seen(&mut scene)
        .await;
    assert_eq!(names(&scene.node, DIRECTORY), ["0.9.0", "1.0.0", "theirs"]);
    assert_eq!(
        scene.node.read(&format!("{DIRECTORY}/1.0.0/oem-test.raw")),
        b"old"
    );
}

/// A plan for slot B of the fixtures' update, with one extension from `http`, which is `image`.
fn planned(http: &Files, image: &[u8]) -> InstallPlan {
    let update = fs::read(fixtures::payload("full.payload")).unwrap();
    let package = fixtures::signed(image);
    let extension = Extension {
        name: "oem-test".to_owned(),
        url: http.url("oem-test.gz"),
        fallback_urls: Vec::new(),
        size: package.len() as u64,
        sha256: Sha256Digest::of(&package),
    };
    http.serve("oem-test.gz", package);
    http.serve("p", update.clone());
    InstallPlan {
        extensions: Some(ExtensionPlan {
            directory: DIRECTORY.to_owned(),
            version: "2.0.0".to_owned(),
            running_version: "1.0.0".to_owned(),
            packages: vec![extension],
        }),
        ..plan(http.url("p"), &update)
    }
}
