//! What keeps one slot bootable: nodes on trial, tables that can't be written, images that say no.

use std::path::Path;

use update_engine::disk::SlotName;

use crate::support::loops::{may_mount, run};
use crate::support::node::{KERNEL_B, MARKER, quoted};
use crate::support::payload::signed;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, operations};
use test_support::fixtures;

const PRIVATE: i64 = 1 << 28;

/// A signed payload of the new image whose postinst ends with `status`.
pub(crate) fn payload_with_postinst_status(directory: &Path, status: u8) -> std::path::PathBuf {
    let image = directory.join("new.img");
    std::fs::write(&image, fixtures::image("new.img")).unwrap();
    let file = directory.join("postinst-status");
    std::fs::write(&file, format!("{status}\n")).unwrap();
    let write = format!("write \"{}\" postinst-status", file.display());
    run("debugfs", &["-w", "-R", &write, image.to_str().unwrap()]);
    let payload = directory.join("update.gz");
    signed(&image, "vmlinuz-new", &payload);
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postinst_that_fails_leaves_the_slot_unbootable() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::offering(&payload_with_postinst_status(directory.path(), 1)).await;
    let daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(IDLE).await;
    assert_eq!(
        operations(&signals)[3..],
        ["FINALIZING", "REPORTING_ERROR_EVENT", "IDLE"]
    );
    let failure = (3, 0, Some(PRIVATE + 5));
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), failure]);
    assert!(daemon.log().contains("postinst ended with exit code 1"));
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
    assert_eq!(scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    assert!(!scene.node.path(MARKER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postinst_with_exit_code_3_commits_and_reports_an_error() {
    if !may_mount() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::offering(&payload_with_postinst_status(directory.path(), 3)).await;
    let _daemon = scene.boot(SlotName::A).await;
    let signals = scene.attempt(NEED_REBOOT).await;
    assert_eq!(
        operations(&signals)[3..],
        [
            "FINALIZING",
            "REPORTING_ERROR_EVENT",
            "IDLE",
            "UPDATED_NEED_REBOOT"
        ]
    );
    let last = signals.last().unwrap();
    assert_eq!((last.3.as_str(), last.4), ("0.0.0", 0));
    let failure = (3, 0, Some(PRIVATE + 19));
    assert_eq!(scene.events(), [(13, 1, None), (14, 1, None), failure]);
    assert_eq!(scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    assert!(scene.node.path(MARKER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_backup_cannot_be_written_keeps_the_slot_untouched() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    // The file may not be written past the end of slot B: the backup copy lies behind it.
    let limit = (16_u64 << 20) + 2 * (16 << 20) + (1 << 20) + (1 << 19);
    let limits = format!("trap '' XFSZ; ulimit -f {}", limit / 512);
    let before = std::fs::read(scene.node.disk.path()).unwrap();
    let daemon = scene.node.start_after(&limits, &scene.bus, SlotName::A);
    scene.signal().await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events(), [(13, 1, None), (3, 0, Some(PRIVATE + 7))]);
    let log = daemon.log();
    assert!(
        log.contains("cannot make USR-B unbootable, so it is not written"),
        "{log}"
    );
    assert!(
        std::fs::read(scene.node.disk.path()).unwrap() == before,
        "the disk changed"
    );
}

/// A file system of its own for `/boot`, too small for another kernel.
struct FullBoot(std::path::PathBuf);

impl FullBoot {
    fn mount(scene: &Scene) -> Self {
        let boot = scene.node.path("/boot");
        let kernel = std::fs::read(boot.join("flatcar/vmlinuz-a")).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=600k", "tmpfs", boot.to_str().unwrap()],
        );
        let mounted = Self(boot);
        scene.node.write("/boot/flatcar/vmlinuz-a", &kernel);
        scene.node.write(KERNEL_B, b"the fallback's kernel");
        mounted
    }
}

impl Drop for FullBoot {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_boot_partition_costs_no_kernel() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let boot = FullBoot::mount(&scene);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events(), [(3, 0, Some(PRIVATE + 1))]);
    let log = daemon.log();
    assert!(log.contains("Failed to copy kernel from "), "{log}");
    assert_eq!(scene.node.read(KERNEL_B), b"the fallback's kernel");
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));
    daemon.stop();
    drop(boot);
}

/// As a FAT is mounted anew after an error, and as administrators mount it.
#[tokio::test(flavor = "multi_thread")]
async fn a_boot_partition_that_is_mounted_read_only_costs_no_fallback() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.before = format!(
        r#"exec unshare --mount sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"' {} "$0" "$@""#,
        quoted(scene.node.path("/boot"))
    );
    let before = std::fs::read(scene.node.disk.path()).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert_eq!(scene.events(), [(3, 0, Some(PRIVATE + 1))]);
    let log = daemon.log();
    assert!(log.contains("Read-only file system"), "{log}");
    assert!(log.contains("vmlinuz-b"), "{log}");
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));
    assert!(
        std::fs::read(scene.node.disk.path()).unwrap() == before,
        "the disk changed"
    );
}
