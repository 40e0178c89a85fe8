//! What goes wrong while a content payload is installed, or after that: the running slot changes, the
//! daemon is killed, its server lies or falls silent,
//! its image doesn't come up.

use std::fs;
use std::io::Cursor;
use std::time::Duration;

use payload_format::MajorVersion;
use payload_format::writer::{RsaSigner, sign_unsigned};
use test_support::fixtures;
use test_support::random::Random;
use test_support::server::Server;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::fetch::{FetchSettings, Fetcher};
use update_engine::install::{InstallError, Installer, PostinstMode};
use update_engine::payload::{GenerateOptions, generate};
use update_engine::plan::ContentUse;
use update_engine::serve::Catalog;
use update_engine::status::Obstacle;

use super::{
    PACKAGE, Payloads, SIGNATURE, Signer, both, fate_is_untouched, image, is_installed, kernel_contents,
    node, offered, options, outcome,
};
use crate::install::v1::{Fate, fate};
use crate::support::node::{KERNEL_B, Node, sha256};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use crate::trial::blame::scheduled_attempt;
use crate::trial::rollback::grant_times_out;

/// Bytes of a block.
const BLOCK: usize = 4096;

/// Where the files of the running image lie: behind its superblock.
const FILES: u64 = 1 << 20;

/// Goes on with a download whose bytes are held back, until the other slot is ours.
async fn until_ours(node: &Node, download: &mut (impl Future + Unpin)) {
    let is_touched = eventually("the slot is ours", || !fate_is_untouched(node));
    tokio::select! {
        _ = download => panic!("it ended while its bytes were held back"),
        () = is_touched => {}
    }
}

/// Installs both while operations and chunks of the package are held back until `meanwhile` was
/// called, once the slot is ours.
async fn installed_while(meanwhile: impl FnOnce(&Node)) -> (Node, ContentUse) {
    let payloads = Payloads::new();
    let (node, server) = (node("disabled"), Server::start());
    server.serve("update.content", payloads.content());
    let plan = both(&server, &payloads, (";;gate=1048576", ""));
    let cancel = CancellationToken::new();
    let ready = Installer::new(plan, node.site(PostinstMode::Skip))
        .prepare()
        .await
        .unwrap();
    let log = ready.content();
    let mut tell = |_| {};
    let mut download = Box::pin(ready.download(&mut tell, &cancel));
    until_ours(&node, &mut download).await;
    assert_eq!(fate(&node), Fate::Unbootable);
    meanwhile(&node);
    server.release(1 << 20);
    let downloaded = download.await.unwrap();
    let tested = downloaded.verify(&cancel).await.unwrap();
    let tested = tested.postinstall(&cancel).await.unwrap();
    tested.commit().await.unwrap();
    (node, log.get().unwrap())
}

#[tokio::test]
async fn a_running_slot_that_changes_under_us_costs_the_package_and_not_the_image() {
    // The control: it doesn't change.
    let (node, content) = installed_while(|_| {}).await;
    is_installed(&node);
    assert_eq!(content.failure, None);

    // Its files become those of another version, or nothing at all.
    let new = image("btrfs-new.img");
    let garbage = vec![0xee; new.len() - usize::try_from(FILES).unwrap()];
    for other in [&new[usize::try_from(FILES).unwrap()..], &garbage] {
        let (node, content) = installed_while(|node| node.disk.write(SlotName::A, FILES, other)).await;
        let failure = content.failure.unwrap();
        assert!(
            failure.contains("is not in the running slot any more"),
            "{failure}"
        );
        assert_eq!(sha256(&node.disk.slot(SlotName::B)), sha256(&new));
        assert!(node.read(KERNEL_B) == kernel_contents());
        assert_eq!(node.disk.attributes(SlotName::B), (2, 1, 0));
    }
}

#[tokio::test]
async fn a_package_that_saves_nothing_is_left_before_anything_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // The running slot has nothing of it, and nothing makes it smaller.
    fs::write(path("new.img"), Random::new(1).bytes(1 << 20)).unwrap();
    fs::write(path("kernel"), kernel_contents()).unwrap();
    let full = options((&path("new.img"), &path("kernel")), MajorVersion::V2);
    let content = GenerateOptions {
        content: true,
        ..full.clone()
    };
    for (options, name) in [(full, "full"), (content, "content")] {
        generate(&options, &path(name)).unwrap();
    }
    let (node, server) = (node("disabled"), Server::start());
    let payloads = Payloads {
        full: path("full"),
        content: path("content"),
        _directory: directory,
    };
    server.serve("update.content", payloads.content());
    let (installed, content) = outcome(&node, both(&server, &payloads, ("", "status=404"))).await;
    assert!(matches!(installed, Err(InstallError::Fetch(_))), "{installed:?}");
    let failure = content.failure.unwrap();
    assert!(failure.contains("would be fetched, the payload has"), "{failure}");
    assert_eq!(fate(&node), Fate::Untouched);
    let of_content = server
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with("content"));
    // Header and manifest.
    assert_eq!(of_content.count(), 2);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_a_few_times_before_the_payload_is_fetched() {
    let payloads = Payloads::new();
    // At the header, at the manifest, and at the data.
    for faults in ["stall=10", ";stall=100", ";;stall=100"] {
        let (node, server) = (node("disabled"), Server::start());
        server.serve("update.content", payloads.content());
        let mut site = node.site(PostinstMode::Skip);
        site.fetcher = Fetcher::new(FetchSettings {
            stall_window: Duration::from_millis(200),
            resume_delay: Duration::ZERO,
            resumes: 4,
            no_answer_retries: 0,
            ..FetchSettings::default()
        });
        let ready = Installer::new(both(&server, &payloads, (faults, "")), site);
        let (ready, cancel) = (ready.prepare().await.unwrap(), CancellationToken::new());
        let log = ready.content();
        let downloaded = ready.download(&mut |_| {}, &cancel).await.unwrap();
        let tested = downloaded.verify(&cancel).await.unwrap();
        let tested = tested.postinstall(&cancel).await.unwrap();
        tested.commit().await.unwrap();
        is_installed(&node);
        let failure = log.get().unwrap().failure.unwrap();
        assert!(failure.contains("fewer than 900 bytes came"), "{failure}");
        let asked = server.requests().len();
        // Header and manifest, four resumptions, those that were asked for ahead, and the payload.
        assert!(asked <= 2 + 4 + 4 + 1, "{faults}: {asked} requests");
    }
}

/// A node whose daemon was killed amid the package, each time once so many blocks were written, and which
/// has then been updated: the names of what it has downloaded since.
async fn updated_after_deaths(points: &[usize]) -> Vec<String> {
    let payloads = Payloads::new();
    // As slow as may be, and nothing is there: it takes some ten seconds, and can be met at work.
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\nDOWNLOAD_LIMIT=16384\n").await;
    let running = scene.node.disk.slot(SlotName::A);
    let garbage = vec![0xee; running.len() - usize::try_from(FILES).unwrap()];
    scene.node.disk.write(SlotName::A, FILES, &garbage);
    let before = scene.node.disk.slot(SlotName::B);
    let written = |node: &Node| {
        let slot = node.disk.slot(SlotName::B);
        let blocks = slot.chunks(BLOCK).zip(before.chunks(BLOCK));
        blocks.filter(|(now, before)| now != before).count()
    };
    for blocks in points {
        scene.node.disk.write(SlotName::B, 0, &before);
        let daemon = scene.boot(SlotName::A).await;
        scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
        eventually("the slot is written", || {
            !fate_is_untouched(&scene.node) && written(&scene.node) >= *blocks
        })
        .await;
        daemon.kill();
        assert_eq!(fate(&scene.node), Fate::Unbootable);
    }
    scene.node.disk.write(SlotName::A, 0, &running);
    scene.configure("DOWNLOAD_LIMIT=0\n");
    scene.server.journal().clear();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    is_installed(&scene.node);
    let downloads = scene.server.journal().downloads();
    assert!(daemon.stop().success());
    downloads.into_iter().map(|download| download.name).collect()
}

/// As soon as the slot is ours, and later.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_anywhere_gets_there_by_the_package() {
    let downloads = updated_after_deaths(&[0, 10]).await;
    assert!(downloads.iter().all(|name| name == PACKAGE), "{downloads:?}");
}

/// With the first blocks of the image, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_has_died_of_a_package_three_times_takes_the_payload() {
    let downloads = updated_after_deaths(&[0, 1, 10]).await;
    assert_eq!(downloads, ["update.gz"]);
}

/// The server offers the content payload beside these bytes, which are of the same image.
fn offer(scene: &Scene, version: &str, full: &[u8], payloads: &Payloads) {
    let path = scene.node.beside(&format!("{}.payload", sha256(full)));
    fs::write(&path, full).unwrap();
    let catalog = Catalog::open(version, &path).unwrap();
    let catalog = catalog.with_package(PACKAGE.parse().unwrap(), &payloads.content);
    scene.server.replace(Some(catalog.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_never_came_up_is_installed_again_by_neither_package() {
    let payloads = Payloads::new();
    // Another payload of the same image, and so with another hash in the offer.
    let again = Payloads::again();
    // Once it was made of content, once of the payload.
    for first in ["CONTENT_PAYLOADS=on\n", "CONTENT_PAYLOADS=off\n"] {
        let mut scene = offered(&payloads, first).await;
        scene.update().await;
        scene.come_back().await.stop();
        scene.configure("CONTENT_PAYLOADS=on\n");
        scene.server.journal().clear();
        offer(&scene, "2.0.1", &again, &payloads);
        let other = vec![0xb0; image("btrfs-new.img").len()];
        scene.node.disk.write(SlotName::B, 0, &other);
        let slot = || {
            (
                scene.node.disk.attributes(SlotName::B),
                sha256(&scene.node.disk.slot(SlotName::B)),
            )
        };
        let before = slot();
        let failure = scheduled_attempt(&scene.node).await.unwrap_err();
        assert_eq!(failure.obstacle, Obstacle::RolledBack, "{failure:?}");
        assert!(failure.reason().contains("makes the same image"), "{failure:?}");
        assert_eq!(slot(), before, "{first}");
        let asked = scene.server.journal().downloads();
        let of_content = asked.iter().filter(|download| download.name == PACKAGE).count();
        // Header and manifest told it; nothing more was fetched.
        assert_eq!(of_content, 2, "{asked:?}");

        // The control: nothing is blamed any more.
        grant_times_out(&scene.node);
        fs::remove_file(scene.node.path("/var/lib/update_engine/history")).unwrap();
        // How it ends is another matter: this image has no postinst.
        let _ = scheduled_attempt(&scene.node).await;
        assert_eq!(
            sha256(&scene.node.disk.slot(SlotName::B)),
            sha256(&image("btrfs-new.img"))
        );
    }
}

#[tokio::test]
async fn until_a_trusted_key_vouches_for_it_nothing_is_touched_and_then_the_slot_does_not_boot() {
    let unknown = of_another_encoder();
    for (by, of_content, expected) in [
        (Signer::Nobody, "", Fate::Untouched),
        // Not by a key, but by what it asks for.
        (Signer::Trusted, "unknown", Fate::Untouched),
        (Signer::Trusted, "no-range", Fate::Untouched),
        (Signer::Trusted, ";;changed", Fate::Unbootable),
    ] {
        let payloads = Payloads::signed(by);
        let (node, server) = (node("disabled"), Server::start());
        server.serve("update.content", payloads.content());
        let mut plan = both(&server, &payloads, (of_content, "status=404"));
        if let Some(content) = plan.content.as_mut().filter(|_| of_content == "unknown") {
            server.serve("update.content", unknown.clone());
            (content.url, content.size) = (server.url("update.content"), unknown.len() as u64);
        }
        let (installed, content) = outcome(&node, plan).await;
        assert!(matches!(installed, Err(InstallError::Fetch(_))), "{installed:?}");
        assert!(content.failure.is_some());
        assert_eq!(fate(&node), expected, "{by:?} {of_content}");
        assert!(node.slot_attributes(SlotName::A).is_good());
    }
}

#[tokio::test]
async fn one_that_is_cancelled_is_no_failure_and_leaves_a_slot_that_does_not_boot() {
    let payloads = Payloads::new();
    let (node, server) = (node("disabled"), Server::start());
    server.serve("update.content", payloads.content());
    // The operations' bytes are held back once the slot is ours.
    let plan = both(&server, &payloads, (";;hold=5000", ""));
    let cancel = CancellationToken::new();
    let ready = Installer::new(plan.clone(), node.site(PostinstMode::Skip))
        .prepare()
        .await
        .unwrap();
    let log = ready.content();
    let mut tell = |_| {};
    let mut download = Box::pin(ready.download(&mut tell, &cancel));
    until_ours(&node, &mut download).await;
    cancel.cancel();
    let error = download.await.err().unwrap();
    assert!(matches!(error, InstallError::Cancelled), "{error:?}");
    assert_eq!(log.get().unwrap().failure, None);
    assert_eq!(fate(&node), Fate::Unbootable);

    // The next attempt begins anew, and gets through.
    let whole = both(&server, &payloads, ("", ""));
    let (installed, content) = outcome(&node, whole).await;
    installed.unwrap();
    is_installed(&node);
    assert_eq!(content.failure, None);
}

/// The content payload as a later version may make it, signed by the trusted key.
fn of_another_encoder() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("new.img"), image("btrfs-new.img")).unwrap();
    fs::write(path("kernel"), kernel_contents()).unwrap();
    let options = GenerateOptions {
        content: true,
        private_keys: Vec::new(),
        ..options((&path("new.img"), &path("kernel")), MajorVersion::V2)
    };
    generate(&options, &path("unsigned")).unwrap();
    let mut payload = fs::read(path("unsigned")).unwrap();
    let name = b"btrfs-zstd-1.5.7";
    let at = payload.windows(name.len()).position(|window| window == name);
    payload[at.unwrap() + name.len() - 1] = b'8';
    let key = fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let mut out = Vec::new();
    sign_unsigned(&mut Cursor::new(payload), &[&signer], &mut out).unwrap();
    out
}

#[tokio::test]
async fn whatever_fails_in_the_package_the_payload_is_installed_instead() {
    let payloads = Payloads::new();
    let whole = payloads.content();
    let unknown = of_another_encoder();
    // The package, the faults with which it comes, what is said.
    let mut damaged = whole.clone();
    // Blocks of no file come last, and are another image's in no other.
    damaged[whole.len() - SIGNATURE - 1000] ^= 4;
    let cases: [(&[u8], &str, &str); 16] = [
        (&whole, "no-range", "its server has no ranges"),
        (&whole, ";no-range", "its server has no ranges"),
        (&whole, "wrong-range", "answers with"),
        (&whole, ";;wrong-range", "answers with"),
        (&whole, "no-content-range", "answers with"),
        (&whole, ";;range-goes-on", "answers with"),
        (&whole, ";;other-range", "operation 0"),
        (&whole, ";longer=1", "bytes long"),
        (&whole, ";;shorter=1", "bytes long"),
        (
            &unknown,
            "",
            "encoder \"btrfs-zstd-1.5.8\" with level 3 is unknown here",
        ),
        (&whole, "status=404", "404"),
        (&whole, ";;cut=100", "broke off"),
        (&whole, ";;changed", "operation 0"),
        (&damaged, "", "chunk "),
        (
            b"<html>no payload at all, but some bytes</html>",
            "",
            "not an update payload",
        ),
        (&payloads.full(), "", "no content payload"),
    ];
    for (package, faults, said) in cases {
        let (node, server) = (node("disabled"), Server::start());
        server.serve("update.content", package);
        let mut plan = both(&server, &payloads, (faults, ""));
        if let Some(content) = &mut plan.content {
            content.size = package.len() as u64;
        }
        let (installed, content) = outcome(&node, plan).await;
        installed.unwrap();
        is_installed(&node);
        let failure = content.failure.unwrap_or_default();
        assert!(failure.contains(said), "{faults}: {failure}");
    }
}
