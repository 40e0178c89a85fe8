//! The postinst that an image carries: ours under engines like the original, and the original's
//! under ours.

mod extensions;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server as OmahaServer};

use crate::support::device::{Device, Partitions};
use crate::support::image::Attributes;
use crate::support::loops::{may_mount, run};
use crate::support::node::{Node, sha256};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;
use test_support::server::Server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_update_engine");
const SLOT: u64 = 32 << 20;
const ON_TRIAL: Attributes = (2, 1, 0);
const FALLBACK: Attributes = (1, 0, 1);

/// Places that a postinst looks at or writes to, in a mount namespace of their own.
const ISOLATED: &str = "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /sys/fs/cgroup && \
                        touch /sys/fs/cgroup/cgroup.controllers";

/// Version 2.0.0 as a directory, without its postinst.
fn release(directory: &Path) {
    fs::create_dir_all(directory.join("lib")).unwrap();
    fs::write(directory.join("lib/os-release"), "NAME=Test\nVERSION=2.0.0\n").unwrap();
}

/// A file system with `tree` in it.
fn file_system(tree: &Path) -> Vec<u8> {
    let image = tree.with_extension("img");
    fs::File::create(&image).unwrap().set_len(SLOT).unwrap();
    run(
        "mkfs.ext2",
        &["-q", "-d", tree.to_str().unwrap(), image.to_str().unwrap()],
    );
    fs::read(image).unwrap()
}

/// An image with our program in the places of Flatcar's script.
fn our_image(directory: &TempDir) -> Vec<u8> {
    let tree = directory.path().join("ours");
    release(&tree);
    fs::create_dir(tree.join("bin")).unwrap();
    let program = tree.join("bin/flatcar-postinst");
    run("strip", &["-o", program.to_str().unwrap(), PROGRAM]);
    symlink("bin/flatcar-postinst", tree.join("postinst")).unwrap();
    file_system(&tree)
}

/// An image with a script that does what Flatcar's does.
fn their_image(directory: &TempDir) -> Vec<u8> {
    let tree = directory.path().join("theirs");
    release(&tree);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/postinst/flatcar-postinst");
    fs::copy(script, tree.join("postinst")).unwrap();
    file_system(&tree)
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn an_engine_like_the_original_runs_our_postinst() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let device = Device::new(SLOT);
    device.image.write(SlotName::B, 0, &our_image(&directory));
    // The original's way: mounted read-only, a bare environment, a strict umask.
    let engine = format!(
        r#"set -e; {ISOLATED}; mount -t ext2 -o ro "$0" "$1"; umask 0177
           env -i PATH="$PATH" "$1/postinst" "$0" KERNEL=/boot/flatcar/vmlinuz-b
           test "$(stat -c %a /run/reboot-required)" = 644"#
    );
    let mount = directory.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &engine])
        .args([device.partition(4), mount])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("4  Label: \"USR-B\"\n"), "{said}");
    assert!(said.contains("Attr: priority=2 tries=1 successful=0"), "{said}");
    assert!(said.ends_with("NAME=Test\nVERSION=2.0.0\n"), "{said}");
    assert_eq!(device.image.attributes(SlotName::B), ON_TRIAL);
    assert_eq!(device.image.attributes(SlotName::A), (1, 0, 1));
    device.image.assert_table_is_whole();
}

/// The real daemon installs `image` on a block device and runs what it carries.
async fn our_daemon_installs(image: &[u8], said: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let payload = directory.path().join("payload");
    fs::write(&payload, fixtures::signed(image)).unwrap();
    let catalog = Catalog::open("2.0.0", &payload).unwrap();
    let server = OmahaServer::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap();
    let mut node = Node::with_slots(&server.url(), SLOT);
    let partitions = Partitions::of(node.disk.path());
    node.before = format!(
        r#"exec unshare --mount sh -c '{ISOLATED} && exec "$0" "$@"' "$0" "$@" --disk {}"#,
        partitions.disk().display()
    );
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    let log = daemon.log();
    let output = &log[log.find("Subprocess output:").unwrap()..];
    for line in said {
        assert!(output.contains(line), "{line} is not in {output}");
    }
    daemon.stop();
    assert_eq!(scene.node.disk.attributes(SlotName::B), ON_TRIAL);
    assert_eq!(sha256(&scene.node.disk.slot(SlotName::B)), sha256(image));
    scene.node.disk.assert_table_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_daemon_runs_our_postinst() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    our_daemon_installs(&our_image(&directory), &["Attr: priority=2 tries=1 successful=0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_daemon_runs_the_originals_postinst() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    our_daemon_installs(
        &their_image(&directory),
        &["postinst of 2.0.0: /dev/", "KERNEL=/"],
    )
    .await;
}

/// A node whose slot B is being filled, and the directory where the new image is mounted.
struct Site {
    device: Device,
    image: PathBuf,
    root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let device = Device::new(1 << 20);
        device.host(&device.partition(3));
        let (image, root) = (device.path("image"), device.path("root"));
        release(&image);
        symlink(PROGRAM, image.join("postinst")).unwrap();
        let site = Self { device, image, root };
        site.write("usr/lib/os-release", "VERSION=1.0.0\n");
        let key = fs::read_to_string(fixtures::payload("test-key.pub.pem")).unwrap();
        site.write("usr/share/update_engine/update-payload-key.pub.pem", &key);
        site
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// An OEM and an enabled extension, both offered by `server`.
    fn wants_extensions(&self, server: &Server, payload: &[u8]) {
        fs::create_dir_all(self.image.join("share/flatcar/oems/test")).unwrap();
        self.write("usr/share/oem/oem-release", "ID=test\n");
        self.write("etc/flatcar/enabled-sysext.conf", "zfs\n-podman\n# no name\n");
        self.write("usr/share/flatcar/enabled-sysext.conf", "podman\n");
        for old in ["0.9.0", "1.0.0"] {
            self.write(&format!("usr/share/oem/sysext/oem-test-{old}.raw"), old);
            self.write(&format!("etc/flatcar/sysext/flatcar-zfs-{old}.raw"), old);
        }
        self.write("etc/flatcar/sysext/mine.raw", "not the image's");
        let packages = ["flatcar_production_update.gz", "oem-test.gz", "flatcar-zfs.gz"]
            .map(|name| format!(r#"<package name="{name}" size="{}"/>"#, payload.len()))
            .concat();
        self.write("var/lib/update_engine/prefs/previous-version", "");
        self.write(
            "var/lib/update_engine/prefs/full-response",
            &format!(
                r#"<response><app><updatecheck status="ok"><urls><url codebase="{}"/></urls><manifest>
                   <packages>{packages}</packages></manifest></updatecheck></app></response>"#,
                server.url("")
            ),
        );
        server.serve("oem-test.gz", payload);
        server.serve("flatcar-zfs.gz", payload);
    }

    fn run(&self) -> Output {
        Command::new(self.image.join("postinst"))
            .arg("-root")
            .arg(&self.root)
            .arg(self.device.partition(4))
            .arg("KERNEL=/boot/flatcar/vmlinuz-b")
            .env_clear()
            .output()
            .unwrap()
    }

    /// The status that it ends with, having changed nothing about what boots.
    fn refusal(&self) -> (Option<i32>, String) {
        let output = self.run();
        assert_eq!(
            self.device.image.attributes(SlotName::B),
            FALLBACK,
            "{}",
            text(&output)
        );
        assert!(!self.has("run/reboot-required"));
        (output.status.code(), text(&output))
    }
}

#[test]
fn what_can_not_be_read_keeps_the_slot_from_booting_and_is_named() {
    if !may_mount() {
        return;
    }
    let files = [
        "etc/flatcar/enabled-sysext.conf",
        "usr/share/flatcar/enabled-sysext.conf",
        "usr/share/oem/oem-release",
        "usr/share/oem/bin/oem-postinst",
        "usr/share/oem/sysext/active-oem-test",
        "usr/lib/os-release",
    ];
    let site = Site::new();
    site.write("usr/share/oem/oem-release", "ID=test\n");
    for file in files {
        let path = site.root.join(file);
        let before = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(path.file_name().unwrap(), &path).unwrap();
        let (status, said) = site.refusal();
        assert_eq!(status, Some(1), "{file}: {said}");
        assert!(
            said.contains(file) && said.contains("symbolic link"),
            "{file}: {said}"
        );
        fs::remove_file(&path).unwrap();
        if let Some(before) = before {
            fs::write(path, before).unwrap();
        }
    }
    let output = site.run();
    assert!(output.status.success(), "the control: {}", text(&output));
}

#[test]
fn the_oems_hook_is_told_slot_and_image_and_its_failure_is_the_postinsts() {
    if !may_mount() {
        return;
    }
    let site = Site::new();
    site.write(
        "usr/share/oem/bin/oem-postinst",
        "#!/bin/sh\necho hook $*\nexit 7\n",
    );
    let hook = site.root.join("usr/share/oem/bin/oem-postinst");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let (status, said) = site.refusal();
    assert_eq!(status, Some(7));
    assert!(
        said.contains(&format!("hook B {}", site.image.display())),
        "{said}"
    );
}

#[test]
fn a_device_that_is_no_slot_and_version_1_cgroups_are_refused() {
    if !may_mount() {
        return;
    }
    let site = Site::new();
    let oem = Command::new(site.image.join("postinst"))
        .arg("-root")
        .args([&site.root, &site.device.partition(6)])
        .output()
        .unwrap();
    assert_eq!(oem.status.code(), Some(1));
    assert!(text(&oem).contains("is no slot"), "{}", text(&oem));
    fs::remove_file(site.root.join("sys/fs/cgroup/cgroup.controllers")).unwrap();
    let (status, said) = site.refusal();
    assert_eq!(status, Some(1));
    assert!(said.contains("control groups of version 1"), "{said}");
}

#[test]
fn setgoodroot_marks_the_running_slot_good_and_says_nothing() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    device.host(&device.partition(4));
    device.image.set_attributes(SlotName::A, (2, 0, 1));
    device.image.set_attributes(SlotName::B, (1, 0, 0));
    let link = device.path("flatcar-setgoodroot");
    symlink(PROGRAM, &link).unwrap();
    let output = Command::new(link)
        .arg("-root")
        .arg(device.path("root"))
        .output()
        .unwrap();
    assert!(
        output.status.success() && text(&output).is_empty(),
        "{}",
        text(&output)
    );
    assert_eq!(device.image.attributes(SlotName::B), (2, 0, 1));
    assert_eq!(device.image.attributes(SlotName::A), (1, 0, 1));
    device.image.assert_table_is_whole();
}

/// A daemon must not take the new image's word when its script fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_postinst_of_ours_that_refuses_leaves_the_slot_unbootable() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let payload = directory.path().join("payload");
    fs::write(&payload, fixtures::signed(&our_image(&directory))).unwrap();
    let catalog = Catalog::open("2.0.0", &payload).unwrap();
    let server = OmahaServer::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap();
    // The disk is an image here, so that the slot's device is no partition.
    let mut node = Node::with_slots(&server.url(), SLOT);
    node.before = format!(r#"exec unshare --mount sh -c '{ISOLATED} && exec "$0" "$@"' "$0" "$@""#);
    let mut scene = Scene::with(server, node).await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events().last().unwrap().2.map(|code| code & 0xfff), Some(5));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
}
