//! The look into a written slot by the real daemon, without systemd: an image that would not merge
//! an extension of the node is installed with a warning, or refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::time::timeout;
use update_engine::disk::SlotName;
use update_engine::payload::{GenerateOptions, generate};
use update_engine::serve::{Catalog, Server};
use update_engine::status::{CheckResult, Preview, Prospect};

use crate::install::refusals::PRIVATE;
use crate::support::loops::{may_mount, run};
use crate::support::node::Node;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use payload_format::{Compression, MajorVersion};
use test_support::{fixtures, project};

const SLOT: u64 = 4 << 20;
const LOST: &str =
    "the new image will not merge the sysext k8s: it is for SYSEXT_LEVEL=1.0, the image has 2.0";

/// A node on which systemd has merged two extensions: one in `/opt`, of this level of Flatcar's, and
/// one that the image brings. The server offers an image of level 2.0. The directory holds the
/// payload.
async fn scene(version: MajorVersion, configuration: &str, level: &str) -> (Scene, TempDir) {
    scene_of(version, configuration, level, |_, _| None).await
}

/// The same, with the image changed; what the manifest is to say of it may be given.
async fn scene_of(
    version: MajorVersion,
    configuration: &str,
    level: &str,
    change: impl FnOnce(&mut [u8], &TempDir) -> Option<PathBuf>,
) -> (Scene, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (image, payload) = (directory.path().join("image"), directory.path().join("payload"));
    let packed = project().join("tests/fixtures/verity/slot.img.zst");
    let mut bytes = fixtures::filter("zstd", ["-dc".as_ref(), packed.as_os_str()], b"");
    let os_release = change(&mut bytes, &directory);
    fs::write(&image, bytes).unwrap();
    let options = GenerateOptions {
        image,
        kernel: None,
        extra_partitions: Vec::new(),
        old: None,
        content: false,
        predecessors: Vec::new(),
        version,
        compressions: vec![Compression::Bzip2],
        os_release,
        private_keys: vec![fixtures::payload("test-key.pem")],
    };
    generate(&options, &payload).unwrap();
    let catalog = Catalog::open("2.0.0", &payload).unwrap();
    let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap();
    let node = Node::with_slots(&server.url(), SLOT);
    let table = project().join("tests/fixtures/mountinfo/merged.txt");
    let docker = "/run/systemd/sysext/extensions/docker/usr";
    let both = format!("{docker}:/run/systemd/sysext/extensions/k8s/usr");
    let table = fs::read_to_string(table).unwrap().replace(docker, &both);
    node.write("/proc/self/mountinfo", table.as_bytes());
    node.write("/usr/lib/os-release", b"ID=flatcar\nSYSEXT_LEVEL=1.0\n");
    node.write("/opt/k8s.raw", b"DDI");
    fs::create_dir_all(node.path("/etc/extensions")).unwrap();
    symlink("/opt/k8s.raw", node.path("/etc/extensions/k8s.raw")).unwrap();
    symlink("/usr/lib/os-release", node.path("/etc/extensions/docker.raw")).unwrap();
    for (name, level) in [("k8s", level), ("docker", "1.0")] {
        let release = format!("ID=flatcar\nSYSEXT_LEVEL={level}\n");
        node.write(
            &format!("/usr/lib/extension-release.d/extension-release.{name}"),
            release.as_bytes(),
        );
    }
    // As systemd does when it merges.
    node.write("/usr/.systemd-sysext/dev", b"0:45\n");
    let scene = Scene::with(server, node).await;
    scene.configure(configuration);
    (scene, directory)
}

/// What `update_engine_client` prints.
async fn shown(scene: &Scene, arguments: &[&str]) -> String {
    let mut process = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    process.args(arguments);
    let output = tokio::process::Command::from(process).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The node's docker is a link into `/usr`, to a file that both images have: it is not judged by
/// what the running one's says.
#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_lost_is_named_by_status_and_journal() {
    if !may_mount() {
        return;
    }
    let (mut scene, _directory) = scene(MajorVersion::V1, "", "1.0").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let overview = scene
        .overview(|overview| {
            overview
                .extension_warnings
                .as_ref()
                .is_some_and(|lost| !lost.is_empty())
        })
        .await;
    assert_eq!(overview.extension_warnings, Some(vec![LOST.to_owned()]));
    assert!(daemon.log().contains(LOST), "{}", daemon.log());
    let status = shown(&scene, &["status"]).await;
    assert!(status.contains(&format!("Extension        {LOST}\n")), "{status}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    // It is remembered while the update waits.
    daemon.stop();
    let daemon = scene.node.start(&scene.bus, SlotName::A);
    let remembered = async { while !shown(&scene, &["why"]).await.contains(LOST) {} };
    timeout(Duration::from_secs(60), remembered)
        .await
        .expect("the warning is forgotten");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_must_not_be_lost_refuses_the_image() {
    if !may_mount() {
        return;
    }
    let (mut scene, _directory) = scene(MajorVersion::V1, "EXTENSIONS_JUDGED=refuse\n", "1.0").await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events().pop().unwrap(), (3, 0, Some(PRIVATE + 5)));
    assert!(shown(&scene, &["why"]).await.contains(LOST));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    let (_, tries, successful) = scene.node.disk.attributes(SlotName::A);
    assert_eq!((tries, successful), (0, 1));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_fits_or_that_nobody_looks_at_is_no_reason() {
    if !may_mount() {
        return;
    }
    for (configuration, level) in [
        ("EXTENSIONS_JUDGED=refuse\n", "2.0"),
        ("EXTENSIONS_JUDGED=off\n", "1.0"),
    ] {
        let (mut scene, _directory) = scene(MajorVersion::V1, configuration, level).await;
        let daemon = scene.boot(SlotName::A).await;
        scene.attempt(NEED_REBOOT).await;
        let overview = scene
            .overview(|overview| overview.installed_updates == Some(1))
            .await;
        assert_eq!(overview.extension_warnings, Some(Vec::new()));
        assert!(!daemon.log().contains("will not merge"), "{}", daemon.log());
        daemon.stop();
    }
}

/// In version 2 the manifest says what the image is, as the generator found it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_what_would_be_lost() {
    if !may_mount() {
        return;
    }
    for (configuration, prospect, result) in [
        ("", Prospect::Doubtful, CheckResult::Doubtful),
        ("EXTENSIONS_JUDGED=refuse\n", Prospect::Fail, CheckResult::Failed),
    ] {
        let (mut scene, _directory) = scene(MajorVersion::V2, configuration, "1.0").await;
        let daemon = scene.boot(SlotName::A).await;
        let before = scene.node.disk.attributes(SlotName::B);
        let told = shown(&scene, &["check", "--dry-run", "--ask-server", "--json"]).await;
        let preview: Preview = serde_json::from_str(&told).unwrap();
        assert_eq!(preview.prospect, prospect, "{preview:?}");
        let found = preview.checks.iter().find(|check| check.found.contains(LOST));
        assert_eq!(found.map(|check| check.result), Some(result), "{preview:?}");
        assert_eq!(scene.node.disk.attributes(SlotName::B), before);
        daemon.stop();
    }
}

/// What the manifest says counts where the image itself says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_says_nothing_is_judged_by_its_manifest() {
    if !may_mount() {
        return;
    }
    let (mut scene, _directory) = scene_of(MajorVersion::V2, "", "1.0", |image, directory| {
        // Its name in the directory; ext2 has no checksums.
        let name = b"os-release";
        let at = image.windows(name.len()).position(|bytes| bytes == name);
        image[at.unwrap()] = b'x';
        let named = directory.path().join("os-release");
        fs::write(&named, "ID=flatcar\nSYSEXT_LEVEL=2.0\n").unwrap();
        Some(named)
    })
    .await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    // The state comes first, what the node's records say of it a look later.
    let overview = scene
        .overview(|overview| {
            let warnings = overview.extension_warnings.as_deref();
            warnings.is_some_and(|warnings| !warnings.is_empty())
        })
        .await;
    // The file to which the node's docker leads is gone, too.
    let warnings = overview.extension_warnings.unwrap();
    assert!(warnings.contains(&LOST.to_owned()), "{warnings:?}");
    assert!(daemon.log().contains(LOST), "{}", daemon.log());
    daemon.stop();
}

/// An extension that was changed since it was merged is named in the journal, and refuses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_was_changed_since_is_not_judged() {
    if !may_mount() {
        return;
    }
    let (mut scene, _directory) = scene(MajorVersion::V2, "EXTENSIONS_JUDGED=refuse\n", "1.0").await;
    let marker = fs::File::open(scene.node.path("/usr/.systemd-sysext/dev")).unwrap();
    marker.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    let told = shown(&scene, &["check", "--dry-run", "--ask-server", "--json"]).await;
    let said = "whether the new image will merge the sysext k8s can't be told: /opt/k8s.raw was changed";
    assert!(told.contains(said), "{told}");
    scene.attempt(NEED_REBOOT).await;
    assert!(daemon.log().contains(said), "{}", daemon.log());
    assert!(!daemon.log().contains("will not merge"), "{}", daemon.log());
    daemon.stop();
}

/// What real systemd was shown: a signed image, and a certificate.
fn recorded(kind: &str, name: &str) -> serde_json::Value {
    let path = project().join("tests/fixtures/extensions/signatures-257.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .find(|line| line[kind] == name && line["merged"].is_null())
        .unwrap()
}

/// An image that is signed by the key of the certificate `site`.
fn signed_image() -> Vec<u8> {
    let recorded = recorded("image", "signed");
    let mut image = vec![0; usize::try_from(recorded["length"].as_u64().unwrap()).unwrap()];
    for (sector, bytes) in recorded["sectors"].as_object().unwrap() {
        let bytes = STANDARD.decode(bytes.as_str().unwrap()).unwrap();
        let at = 512 * sector.parse::<usize>().unwrap();
        image[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    image
}

/// The extension's image is signed. Its certificate lies in the new image, in `/etc`, or in neither,
/// where the new kernel may know it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_told_by_certificates_and_refuses_nothing() {
    if !may_mount() || std::env::consts::ARCH != "x86_64" {
        return;
    }
    let certificate = recorded("certificate", "site")["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = "whether the new image will merge the sysext k8s can't be told: its image is signed, and ";
    for place in ["new image", "etc", "neither"] {
        let refuse = "EXTENSIONS_JUDGED=refuse\n";
        let (mut scene, _directory) = scene_of(MajorVersion::V2, refuse, "2.0", |image, directory| {
            let [file, pem, commands] = ["with", "pem", "commands"].map(|name| directory.path().join(name));
            fs::write(&file, &*image).unwrap();
            fs::write(&pem, &certificate).unwrap();
            let name = if place == "new image" {
                "site.crt"
            } else {
                "site.pem"
            };
            let source = pem.display();
            // No file fits in there beside those that it has.
            let room = "cd lib\nrm libsystemd-shared-257.so\nmkdir verity.d\ncd verity.d\n";
            let write = format!("{room}write {source} {name}\n");
            fs::write(&commands, write).unwrap();
            let [file_name, commands] = [&file, &commands].map(|path| path.to_str().unwrap());
            run("debugfs", &["-w", "-f", commands, file_name]);
            image.copy_from_slice(&fs::read(&file).unwrap());
            None
        })
        .await;
        scene.node.write("/opt/k8s.raw", &signed_image());
        scene.node.write("/usr/.systemd-sysext/dev", b"0:45\n");
        if place == "etc" {
            scene.node.write("/etc/verity.d/site.crt", certificate.as_bytes());
        }
        let daemon = scene.boot(SlotName::A).await;
        let told = shown(&scene, &["check", "--dry-run", "--ask-server", "--json"]).await;
        // The certificates of an image are in no manifest.
        let unseen = format!("{said}the certificates of the new image are not known");
        assert_eq!(told.contains(&unseen), place != "etc", "{place}: {told}");
        scene.attempt(NEED_REBOOT).await;
        let unknown = format!("{said}neither the new image nor /etc/verity.d has a certificate for it");
        assert_eq!(
            daemon.log().contains(&unknown),
            place == "neither",
            "{place}: {}",
            daemon.log()
        );
        assert!(
            !daemon.log().contains("will not merge"),
            "{place}: {}",
            daemon.log()
        );
        daemon.stop();
    }
}
