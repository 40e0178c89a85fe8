//! Content payloads: an image is made of what the running slot has, and of few bytes; and the payload
//! takes the package's place wherever that fails.

mod failures;
mod interrupted;
mod predecessors;
mod told;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::install::{InstallError, Installer, PostinstMode};
use update_engine::payload::{GenerateOptions, generate};
use update_engine::plan::{ContentPackage, ContentUse, InstallPlan};
use update_engine::serve::{Catalog, Server as UpdateServer};
use update_engine::status::AttemptState;

use crate::client::history::{attempts, ended_as, history};
use crate::support::installing::plan;
use crate::support::loops::run;
use crate::support::node::{KERNEL_B, Node, sha256};
use crate::support::scene::{NEED_REBOOT, Scene};
use payload_format::{Compression, MajorVersion};
use test_support::fixtures;
use test_support::server::Server;

/// Bytes of the fixtures' images, which fill their slots.
const SLOT: u64 = 24 << 20;

/// As a Nebraska calls it that hosts it.
const PACKAGE: &str = "extrafile-amd64-2.0.0-update.content";

fn image(name: &str) -> Vec<u8> {
    fixtures::image(&format!("../content/{name}"))
}

/// Takes little room in a payload.
fn kernel_contents() -> Vec<u8> {
    vec![7; 70_000]
}

/// A node that runs the old image.
fn node(server: &str) -> Node {
    let node = Node::with_slots(server, SLOT).without_postinst();
    node.disk.write(SlotName::A, 0, &image("btrfs-old.img"));
    let other = vec![0xb0; usize::try_from(SLOT).unwrap()];
    node.disk.write(SlotName::B, 0, &other);
    node
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    Trusted,
    /// Somebody whom nobody trusts.
    Nobody,
}

/// For a full payload of this image and kernel, signed by the trusted key.
fn options((image, kernel): (&Path, &Path), version: MajorVersion) -> GenerateOptions {
    GenerateOptions {
        image: image.to_owned(),
        kernel: Some(kernel.to_owned()),
        extra_partitions: Vec::new(),
        old: None,
        content: false,
        predecessors: Vec::new(),
        version,
        compressions: vec![Compression::Bzip2],
        os_release: None,
        private_keys: vec![fixtures::payload("test-key.pem")],
    }
}

/// The payload of the new image, and its content payload.
struct Payloads {
    _directory: TempDir,
    full: PathBuf,
    content: PathBuf,
}

impl Payloads {
    /// The payload is signed by the key that nodes trust, and the content payload by this one.
    fn signed(by: Signer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let trusted = fixtures::payload("test-key.pem");
        let key = match by {
            Signer::Trusted => trusted.clone(),
            Signer::Nobody => path("key.pem"),
        };
        if by == Signer::Nobody {
            let kind = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
            run("openssl", &[&kind[..], &["-out", key.to_str().unwrap()]].concat());
        }
        let (new, kernel) = (path("new.img"), path("kernel"));
        fs::write(&kernel, kernel_contents()).unwrap();
        fs::write(&new, image("btrfs-new.img")).unwrap();
        let make = |name: &str, content: bool, version: MajorVersion, key: &Path| {
            let options = GenerateOptions {
                content,
                private_keys: vec![key.to_owned()],
                ..options((&new, &kernel), version)
            };
            generate(&options, &path(name)).unwrap();
            path(name)
        };
        Self {
            full: make("update.gz", false, MajorVersion::V1, &trusted),
            content: make("update.content", true, MajorVersion::V2, &key),
            _directory: directory,
        }
    }

    fn new() -> Self {
        Self::signed(Signer::Trusted)
    }

    /// Another payload of the same image and kernel.
    fn again() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (new, kernel) = (directory.path().join("new.img"), directory.path().join("kernel"));
        fs::write(&kernel, kernel_contents()).unwrap();
        fs::write(&new, image("btrfs-new.img")).unwrap();
        let out = directory.path().join("out");
        generate(&options((&new, &kernel), MajorVersion::V2), &out).unwrap();
        fs::read(out).unwrap()
    }

    fn full(&self) -> Vec<u8> {
        fs::read(&self.full).unwrap()
    }

    fn content(&self) -> Vec<u8> {
        fs::read(&self.content).unwrap()
    }
}

fn is_installed(node: &Node) {
    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&image("btrfs-new.img"))
    );
    assert!(node.read(KERNEL_B) == kernel_contents());
    assert_eq!(
        sha256(&node.disk.slot(SlotName::A)),
        sha256(&image("btrfs-old.img"))
    );
    assert_eq!(node.disk.attributes(SlotName::A), (1, 0, 1));
    assert_eq!(node.disk.attributes(SlotName::B), (2, 1, 0));
    node.disk.assert_table_is_whole();
}

async fn offered(payloads: &Payloads, configuration: &str) -> Scene {
    let catalog = Catalog::open("2.0.0", &payloads.full).unwrap();
    let catalog = catalog
        .with_package(PACKAGE.parse().unwrap(), &payloads.content)
        .unwrap();
    let server = UpdateServer::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap();
    let node = node(&server.url());
    let scene = Scene::with(server, node).await;
    scene.configure(configuration);
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_of_the_running_slot_and_of_few_bytes() {
    let payloads = Payloads::new();
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let before = scene.node.disk.rest();
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(NEED_REBOOT).await;

    is_installed(&scene.node);
    assert!(
        scene.node.disk.rest() == before,
        "bytes outside slot B and the table changed"
    );
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), (3, 1, None)]);
    // Whoever watches sees the payload's size, as the offer has it, and all of the download.
    let size = i64::try_from(payloads.full().len()).unwrap();
    assert!(signals[1..].iter().all(|signal| signal.4 == size));
    let progress = signals.iter().filter(|signal| signal.2.ends_with("DOWNLOADING"));
    assert!(progress.map(|signal| signal.1).fold(0.0, f64::max) > 0.99);

    let downloads = scene.server.journal().downloads();
    assert!(
        downloads
            .iter()
            .all(|download| download.name == PACKAGE && download.status == 206)
    );
    let fetched: u64 = downloads.iter().map(|download| download.len).sum();
    assert!(fetched * 4 < payloads.full().len() as u64, "{fetched} of {size}");
    assert!(downloads.len() < 20, "{downloads:?}");
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    let [attempt] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(attempt.content_package.as_deref(), Some(PACKAGE));
    let counted = [
        Some(attempt.bytes_fetched),
        attempt.content_expected,
        attempt.content_fetched,
    ];
    assert_eq!(counted, [Some(fetched); 3]);
    assert_eq!(attempt.content_failure, None);
    let said = String::from_utf8(history(&scene.bus, &[]).await.stdout).unwrap();
    let expected = format!("\n    content package {PACKAGE}: ");
    assert!(said.contains(&expected), "{said}");
    assert!(daemon.stop().success());
}

/// The control run: nothing of the package is asked for where nobody has switched it on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_has_not_switched_them_on_asks_for_a_content_payload() {
    let payloads = Payloads::new();
    let mut scene = offered(&payloads, "").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    is_installed(&scene.node);
    let downloads = scene.server.journal().downloads();
    assert_eq!(downloads.len(), 1, "{downloads:?}");
    assert_eq!(
        (downloads[0].name.as_str(), downloads[0].status),
        ("update.gz", 200)
    );
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    assert_eq!(told[0].content_package, None);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_fails_is_told_of_and_the_payload_is_installed_in_the_same_attempt() {
    let payloads = Payloads::signed(Signer::Nobody);
    let mut scene = offered(&payloads, "CONTENT_PAYLOADS=on\n").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    is_installed(&scene.node);
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), (3, 1, None)]);
    let told = attempts(&scene, ended_as(AttemptState::Waiting)).await;
    let [attempt] = told.as_slice() else {
        panic!("{told:?}")
    };
    let failure = attempt.content_failure.as_deref().unwrap();
    assert!(failure.contains("signature"), "{failure}");
    let of_package = attempt.content_fetched.unwrap();
    assert_eq!(attempt.bytes_fetched, payloads.full().len() as u64 + of_package);
    assert!(daemon.stop().success());
}

/// An image as blocks: no file system is found in it.
fn as_blocks(name: &str) -> Vec<u8> {
    let mut image = image(name);
    image[(64 << 10) + 0x40..][..8].fill(b'x');
    image
}

/// As on Flatcar, whose `/usr` holds the kernel that is beside it, too.
#[tokio::test]
async fn a_kernel_that_the_image_holds_is_made_of_its_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let new = as_blocks("btrfs-new.img");
    let (blocks, _) = new.as_chunks::<4096>();
    let is_data = |at: &usize| {
        blocks[*at..at + 18]
            .iter()
            .all(|block| block.iter().any(|byte| *byte != 0))
    };
    let first = (0..blocks.len() - 18).find(is_data).unwrap();
    // It ends within a block, and is the kernel of no other image.
    let kernel = &new[first * 4096..][..70_000];
    fs::write(path("new.img"), &new).unwrap();
    fs::write(path("kernel"), kernel).unwrap();
    let make = |name: &str, content: bool| {
        let (new, kernel) = (path("new.img"), path("kernel"));
        let options = GenerateOptions {
            content,
            ..options((&new, &kernel), MajorVersion::V2)
        };
        generate(&options, &path(name)).unwrap();
        path(name)
    };
    let payloads = Payloads {
        full: make("update.gz", false),
        content: make("update.content", true),
        _directory: tempfile::tempdir().unwrap(),
    };
    let (node, server) = (node("disabled"), Server::start());
    node.disk.write(SlotName::A, 0, &as_blocks("btrfs-old.img"));
    server.serve("update.content", payloads.content());
    let (installed, content) = outcome(&node, both(&server, &payloads, ("", ""))).await;
    installed.unwrap();
    assert_eq!(content.failure, None);
    assert!(node.disk.slot(SlotName::B) == new);
    assert!(node.read(KERNEL_B) == kernel);
    assert_eq!(content.expected, Some(content.fetched));
}

/// The plan of an attempt at both, whose package comes with these faults, and its payload with
/// others.
fn both(server: &Server, payloads: &Payloads, (of_content, of_full): (&str, &str)) -> InstallPlan {
    let full = payloads.full();
    server.serve("update.gz", full.clone());
    let url = |faults: &str, name: &str| match faults {
        "" => server.url(name),
        faults => server.url(&format!("{faults}/{name}")),
    };
    InstallPlan {
        content: Some(ContentPackage {
            name: PACKAGE.to_owned(),
            url: url(of_content, "update.content"),
            fallback_urls: Vec::new(),
            size: payloads.content().len() as u64,
        }),
        ..plan(url(of_full, "update.gz"), &full)
    }
}

/// The outcome of all phases, and what came of the package.
async fn outcome(node: &Node, plan: InstallPlan) -> (Result<(), InstallError>, ContentUse) {
    let cancel = CancellationToken::new();
    let ready = Installer::new(plan, node.site(PostinstMode::Skip))
        .prepare()
        .await
        .unwrap();
    let log = ready.content();
    let installed = async {
        let downloaded = Box::pin(ready.download(&mut |_| {}, &cancel)).await?;
        let tested = downloaded.verify(&cancel).await?.postinstall(&cancel).await?;
        tested.commit().await.map(drop)
    };
    (installed.await, log.get().unwrap())
}

/// Bytes of the package's end, of which none is fetched: its own signature.
const SIGNATURE: usize = 300;

#[tokio::test]
async fn nothing_is_fetched_but_metadata_and_kernel_for_an_image_that_runs_already() {
    let payloads = Payloads::new();
    let (node, server) = (node("disabled"), Server::start());
    node.disk.write(SlotName::A, 0, &image("btrfs-new.img"));
    server.serve("update.content", payloads.content());
    let (installed, content) = outcome(&node, both(&server, &payloads, ("", ""))).await;
    installed.unwrap();
    assert_eq!(content.failure, None);
    assert_eq!(content.expected, Some(content.fetched));
    // Header, the rest of the metadata, the kernel's operations.
    assert_eq!(server.requests().len(), 3);
    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&image("btrfs-new.img"))
    );
}

fn fate_is_untouched(node: &Node) -> bool {
    node.slot_attributes(SlotName::B).is_good()
}
