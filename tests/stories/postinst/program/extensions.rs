//! Extensions that a postinst of ours gets for the new version.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use update_engine::disk::SlotName;

use super::{ON_TRIAL, Site, text};
use crate::support::loops::{may_mount, run};
use test_support::fixtures;
use test_support::server::Server;

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

/// Nebraska's recorded answer, from this server; names but for the payload's begin with `prefix`,
/// as those of files that it hosts itself begin with `extrafile-ARCH-VERSION-`.
fn recorded_answer(server: &Server, prefix: &str, payload: &[u8]) -> String {
    let recorded = include_str!(
        "../../../fixtures/recordings/nebraska-extra-files/01-check-hosted-by-nebraska.response.xml"
    );
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
    // The root's own /etc, and on top of it a configuration extension with that as its upper
    // directory.
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
    // The overlay hides its own attribute: through it there is nothing to remove. It is there
    // afterwards, too.
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

    // Without an overlay, as ever; and an overlay that has hidden nothing is no reason to say
    // anything.
    let direct = etc.join("extensions");
    fs::create_dir_all(&direct).unwrap();
    rustix::fs::lsetxattr(&direct, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let output = site.run();
    assert!(output.status.success(), "{}", text(&output));
    assert!(rustix::fs::lgetxattr(&direct, OPAQUE, &mut [0_u8; 8][..]).is_err());
    drop(real);
}
