//! The postinst that an image carries: ours under engines like the original, and the original's under ours.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server as OmahaServer};

use crate::support::device::{Device, Partitions};
use crate::support::fixtures;
use crate::support::image::Attributes;
use crate::support::loops::{may_mount, run};
use crate::support::node::{Node, sha256};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use crate::support::server::Server;

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
fn extensions_come_with_the_slot_and_those_of_neither_version_go() {
    if !may_mount() {
        return;
    }
    let (site, server) = (Site::new(), Server::start());
    let raw = vec![7; 10_000];
    site.wants_extensions(&server, &fixtures::signed(&raw));
    let output = site.run();
    assert!(output.status.success(), "{}", text(&output));
    for path in [
        "usr/share/oem/sysext/oem-test-2.0.0.raw",
        "etc/flatcar/sysext/flatcar-zfs-2.0.0.raw",
    ] {
        assert!(
            fs::read(site.root.join(path)).unwrap().starts_with(&raw),
            "{path}"
        );
        assert!(
            site.has(&path.replace("2.0.0", "1.0.0")),
            "the running version's stays"
        );
        assert!(!site.has(&path.replace("2.0.0", "0.9.0")), "the oldest goes");
    }
    assert!(site.has("usr/share/oem/sysext/migrate-oem-test"));
    assert!(site.has("etc/flatcar/sysext/mine.raw"));
    assert!(site.has("run/reboot-required"));
    assert_eq!(site.device.image.attributes(SlotName::B), ON_TRIAL);
}

/// Nebraska's recorded answer, from this server; names but for the payload's begin with `prefix`, as those of files that it hosts
/// itself begin with `extrafile-ARCH-VERSION-`.
fn recorded_answer(server: &Server, prefix: &str, payload: &[u8]) -> String {
    let recorded =
        include_str!("../fixtures/recordings/nebraska-extra-files/01-check-hosted-by-nebraska.response.xml");
    let size = format!("size=\"{}\"", payload.len());
    let decoy =
        format!(r#"<packages><package name="update.gz" {size}/><package name="x-oem-example.gz" {size}/>"#);
    recorded
        .replace("http://127.0.0.1:18101/flatcar/", &server.url(";/"))
        .replace("size=\"300000\"", &size)
        .replace("oem-example.gz", &format!("{prefix}oem-example.gz"))
        .replace("flatcar-example.gz", &format!("{prefix}flatcar-example.gz"))
        .replace(
            "<packages>",
            if prefix.is_empty() { &decoy } else { "<packages>" },
        )
}

/// The decoy ends as the right name does, and is listed before it.
#[test]
fn extensions_of_a_recorded_answer_are_found_whatever_their_server_calls_them() {
    if !may_mount() {
        return;
    }
    let raw = vec![7; 10_000];
    let payload = fixtures::signed(&raw);
    for prefix in ["", "extrafile-amd64-2.0.1-", "2.0.1/"] {
        let (site, server) = (Site::new(), Server::start());
        fs::create_dir_all(site.image.join("share/flatcar/oems/example")).unwrap();
        site.write("usr/share/oem/oem-release", "ID=example\n");
        site.write("etc/flatcar/enabled-sysext.conf", "example\n");
        site.write("var/lib/update_engine/prefs/previous-version", "");
        let answer = recorded_answer(&server, prefix, &payload);
        site.write("var/lib/update_engine/prefs/full-response", &answer);
        for package in ["oem-example.gz", "flatcar-example.gz"] {
            server.serve(&format!("{prefix}{package}"), payload.as_slice());
        }
        let output = site.run();
        assert!(output.status.success(), "{prefix}: {}", text(&output));
        for path in [
            "usr/share/oem/sysext/oem-example-2.0.0.raw",
            "etc/flatcar/sysext/flatcar-example-2.0.0.raw",
        ] {
            let found = fs::read(site.root.join(path)).unwrap();
            assert!(found.starts_with(&raw), "{prefix}: {path}");
        }
    }
}

#[test]
fn an_extension_that_the_first_url_does_not_give_comes_from_the_next() {
    if !may_mount() {
        return;
    }
    // An error, or another file, which nobody has signed.
    for first in ["status=503", "changed"] {
        let (site, server) = (Site::new(), Server::start());
        site.wants_extensions(&server, &fixtures::signed(&[7; 10_000]));
        let answer = "var/lib/update_engine/prefs/full-response";
        let offer = fs::read_to_string(site.root.join(answer)).unwrap();
        let url = server.url(first).replace("://", "://me:geheim@");
        let urls = format!("<urls><url codebase=\"{url}\"/>");
        site.write(answer, &offer.replace("<urls>", &urls));
        let output = site.run();
        let said = text(&output);
        assert!(output.status.success(), "{first}: {said}");
        assert!(
            said.contains(&format!("Downloading {}/oem-test.gz", server.url(first))),
            "{said}"
        );
        assert!(!said.contains("geheim"), "{said}");
        assert!(site.has("usr/share/oem/sysext/oem-test-2.0.0.raw"), "{first}");
        assert!(site.has("etc/flatcar/sysext/flatcar-zfs-2.0.0.raw"), "{first}");
    }
}

#[test]
fn an_extension_that_nobody_trusted_signed_keeps_the_slot_from_booting() {
    if !may_mount() {
        return;
    }
    let (site, server) = (Site::new(), Server::start());
    let mut payload = fixtures::signed(&[7; 10_000]);
    *payload.last_mut().unwrap() ^= 1;
    site.wants_extensions(&server, &payload);
    let (status, said) = site.refusal();
    assert_eq!(status, Some(1));
    assert!(
        said.contains("oem-test for the new version can't be had"),
        "{said}"
    );
    assert!(!site.has("usr/share/oem/sysext/oem-test-2.0.0.raw"));
    let left = fs::read_dir(site.root.join("usr/share/oem/sysext")).unwrap();
    let hidden = left.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "downloads are cleared away");
}

#[test]
fn an_answer_from_before_this_update_is_not_believed() {
    if !may_mount() {
        return;
    }
    let (site, server) = (Site::new(), Server::start());
    site.wants_extensions(&server, &fixtures::signed(&[7; 10_000]));
    let answer = site.root.join("var/lib/update_engine/prefs/full-response");
    let answer = fs::File::options().write(true).open(answer).unwrap();
    answer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let (status, said) = site.refusal();
    assert_eq!(status, Some(1));
    assert!(said.contains("the server doesn't offer it"), "{said}");
    assert!(server.requests().is_empty());
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
fn what_the_server_does_not_offer_comes_from_the_file_server_that_the_command_line_names() {
    if !may_mount() {
        return;
    }
    let (site, server) = (Site::new(), Server::start());
    let payload = fixtures::signed(&[7; 10_000]);
    site.wants_extensions(&server, &payload);
    fs::remove_file(site.root.join("var/lib/update_engine/prefs/full-response")).unwrap();
    fs::write(
        site.image.join("lib/os-release"),
        "NAME=Test\nVERSION=\"2.0.0\"\nFLATCAR_BOARD=\"amd64-usr\"\n",
    )
    .unwrap();
    for package in ["oem-test.gz", "flatcar-zfs.gz"] {
        server.serve(&format!("files/amd64-usr/2.0.0/{package}"), payload.as_slice());
    }
    let url = server.url(";/files/");
    site.write(
        "proc/cmdline",
        &format!("quiet flatcar.release_file_server_url={url} ro\n"),
    );
    let output = site.run();
    assert!(output.status.success(), "{}", text(&output));
    assert!(site.has("usr/share/oem/sysext/oem-test-2.0.0.raw"));
    assert!(site.has("etc/flatcar/sysext/flatcar-zfs-2.0.0.raw"));
    let wrong = |output: &Output| text(output).contains("release.flatcar-linux.net");
    assert!(!wrong(&output), "{}", text(&output));

    // One that can't be read may name a server.
    fs::remove_file(site.root.join("proc/cmdline")).unwrap();
    fs::create_dir(site.root.join("proc/cmdline")).unwrap();
    let output = site.run();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("proc/cmdline"), "{}", text(&output));
}

/// A file system of its own, which overlays can write to.
struct Writable(PathBuf);

impl Writable {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        run("mount", &["-t", "tmpfs", "tmpfs", path.to_str().unwrap()]);
        Self(path)
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

#[test]
fn extensions_that_an_overlay_on_etc_hides_are_uncovered_below_it_and_for_nobody_else() {
    const OPAQUE: &str = "trusted.overlay.opaque";
    if !may_mount() {
        return;
    }
    let site = Site::new();
    let etc = site.root.join("etc");
    // The root's own /etc, and on top of it a configuration extension with that as its upper directory.
    let real = Writable::new(etc.clone());
    let work = Writable::new(site.device.path("work"));
    let upper = work.0.join("upper");
    for directory in [
        &upper.join("extensions"),
        &work.0.join("work"),
        &work.0.join("lower/extensions"),
    ] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(work.0.join("lower/extensions/theirs.raw"), "").unwrap();
    let extensions = upper.join("extensions");
    let is_opaque = || rustix::fs::lgetxattr(&extensions, OPAQUE, &mut [0_u8; 8][..]).is_ok();
    rustix::fs::lsetxattr(&extensions, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    // The overlay hides its own attribute: through it there is nothing to remove. It is there afterwards, too.
    let script = r#"set -e
        mount --bind "$1/upper" "$2/etc"
        mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay "$2/etc"
        before=$(grep -c " - overlay " /proc/self/mountinfo)
        "$0" -root "$2" "$3" KERNEL=/boot/flatcar/vmlinuz-b
        test "$(grep -c " - overlay " /proc/self/mountinfo)" = "$before""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(site.image.join("postinst"))
        .args([&work.0, &site.root, &site.device.partition(4)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(!is_opaque(), "{}", text(&output));
    assert_eq!(site.device.image.attributes(SlotName::B), ON_TRIAL);

    // Without an overlay, as ever; and an overlay that has hidden nothing is no reason to say anything.
    let direct = etc.join("extensions");
    fs::create_dir_all(&direct).unwrap();
    rustix::fs::lsetxattr(&direct, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let output = site.run();
    assert!(output.status.success(), "{}", text(&output));
    assert!(rustix::fs::lgetxattr(&direct, OPAQUE, &mut [0_u8; 8][..]).is_err());
    drop(real);
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
