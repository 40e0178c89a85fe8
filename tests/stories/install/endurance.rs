//! Large payloads and hostile manifests through the real daemon: killed again and again, watched
//! for memory, files and page cache.

use std::num::NonZero;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use ring::digest::{Context, SHA256};
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server};

use super::refusals::PRIVATE;
use crate::support::bad_server::BadServer;
use crate::support::image::Image;
use crate::support::long_patch::{self, LongPatch};
use crate::support::node::{Daemon, Node, quoted};
use crate::support::payload;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};

/// A node whose slots have `mebibytes`, offered an image that fills them.
struct Large {
    scene: Scene,
    image: [u8; 32],
    _directory: tempfile::TempDir,
}

impl Large {
    async fn new(mebibytes: usize, pace: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("update.gz");
        let image = payload::large(&path, mebibytes);
        let mut catalog = Catalog::open("2.0.0", &path).unwrap();
        if let Some(pace) = pace.and_then(NonZero::new) {
            catalog = catalog.with_pace(pace);
        }
        let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
            .await
            .unwrap();
        let node = Node::with_slots(&server.url(), (mebibytes * payload::CHUNK) as u64).without_postinst();
        Self {
            scene: Scene::with(server, node).await,
            image,
            _directory: directory,
        }
    }

    fn assert_installed(&self) {
        let disk: &Image = &self.scene.node.disk;
        let mut sum = Context::new(&SHA256);
        sum.update(&disk.slot(SlotName::B));
        assert_eq!(sum.finish().as_ref(), self.image);
        assert_eq!(disk.attributes(SlotName::B), (2, 1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_twenty_points_of_a_download_goes_on_where_it_was() {
    const KILLS: u32 = 20;
    let mut large = Large::new(160, Some(80 << 20)).await;
    let scene = &mut large.scene;
    for kill in 0..KILLS {
        let daemon = scene.boot(SlotName::A).await;
        let mut progress = scene.attempt("UPDATE_STATUS_DOWNLOADING").await.pop().unwrap().1;
        // The first checkpoint is taken after a tenth; the rest is divided evenly.
        let end = 0.25 + 0.74 * f64::from(kill) / f64::from(KILLS);
        while progress < end {
            progress = scene.signal().await.1;
        }
        daemon.kill();
        assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
        assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    }
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    large.assert_installed();

    let downloads = large.scene.server.journal().downloads();
    let starts: Vec<u64> = downloads.iter().map(|download| download.first).collect();
    assert_eq!(starts.len(), 21);
    assert!(starts.is_sorted(), "{starts:?}");
    assert!(
        starts[1..].iter().all(|&start| start > 0),
        "the first byte came twice: {starts:?}"
    );
    assert!(downloads[1..].iter().all(|download| download.status == 206));
}

/// A field of the daemon's `/proc` status, in KiB.
fn kibibytes(daemon: &Daemon, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// What is the daemon's own may take this much, in KiB: 64 MiB with the 7 MiB of the released
/// program.
const OWN_MEMORY: u64 = 57 << 10;

/// What was resident of `daemon` at its peak, without the pages of its program file, in KiB.
///
/// An unoptimised program has 22 MiB of these, three times as many as a released one, and more with
/// each feature; the kernel drops them when it needs room.
fn peak_of_own(daemon: &Daemon) -> u64 {
    let peak = kibibytes(daemon, "VmHWM:") - kibibytes(daemon, "RssFile:");
    eprintln!("{peak} KiB of its own resident at the peak");
    peak
}

/// Fails if anything but the disk is large: below the node's root, among the temporary files, or
/// open without a name.
fn assert_no_large_file(node: &Node, daemon: &Daemon) {
    /// What records and a kernel take.
    const LARGE: u64 = 1 << 20;
    let mut folders = vec![node.path("/"), node.beside("tmp")];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        // Files come and go meanwhile.
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap();
    files.extend(open.flatten().map(|entry| entry.path()));
    let disk = std::fs::metadata(node.disk.path()).unwrap().ino();
    for file in files {
        let Ok(about) = std::fs::metadata(&file) else {
            continue;
        };
        let is_large = about.is_file() && about.len() > LARGE && about.ino() != disk;
        assert!(!is_large, "{} has {} bytes", file.display(), about.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_disturb_the_node_a_gibibyte_leaves_memory_files_and_page_cache_alone() {
    // An eighth of the image is compressed to nearly nothing.
    let mut large = Large::new(1184, None).await;
    let scene = &mut large.scene;
    let tmp = scene.node.beside("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let tmp = format!("export TMPDIR={}", quoted(tmp));
    let daemon = scene.node.start_after(&tmp, &scene.bus, SlotName::A);
    scene.signal().await;
    let mut last = scene.attempt("UPDATE_STATUS_DOWNLOADING").await.pop().unwrap();
    assert!(last.4 > 1 << 30, "{} bytes", last.4);
    while last.2 != NEED_REBOOT {
        assert_ne!(last.2, IDLE);
        assert_no_large_file(&scene.node, &daemon);
        last = scene.signal().await;
    }
    let peak = peak_of_own(&daemon);
    assert!(peak < OWN_MEMORY, "{peak} KiB resident at the peak");
    let cached = scene.node.disk.cached();
    assert!(
        cached < 64 << 20,
        "{cached} bytes of the slot stay in the page cache"
    );
    eprintln!("{cached} bytes cached");
    assert!(daemon.stop().success());
    large.assert_installed();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_disturb_the_node_however_long_a_patch_is() {
    let images = LongPatch::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("update.gz");
    std::fs::write(&path, &images.payload).unwrap();
    let catalog = Catalog::open("2.0.0", &path).unwrap();
    let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog)).await;
    let server = server.unwrap();
    let node = Node::with_slots(&server.url(), long_patch::LEN as u64).without_postinst();
    node.disk.write(SlotName::A, 0, &images.old);
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let peak = peak_of_own(&daemon);
    assert!(peak < 96 << 10, "{peak} KiB resident at the peak");
    daemon.stop();
    assert!(scene.node.disk.slot(SlotName::B) == images.new);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_disturb_the_node_whatever_a_manifest_claims() {
    let server = BadServer::offering(payload::crowded(), "", |_| ());
    let node = Node::with_slots(&server.url(), 256 << 20).without_postinst();
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events().last(), Some(&(3, 0, Some(PRIVATE + 29))));
    let peak = peak_of_own(&daemon);
    // The longest manifest has 7 MiB.
    assert!(peak < OWN_MEMORY, "{peak} KiB resident at the peak");
    daemon.stop();
}
