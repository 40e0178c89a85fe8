//! The image's own postinst, which may refuse the update.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use update_engine::disk::{BlockTarget, DiskError, OwnDisk, Sealed, SlotDisk, SlotName};
use update_engine::install::{InstallError, PostinstError, PostinstMode, PostinstOutcome, Slots, Tested};

use crate::support::installing::{download, plan};
use crate::support::loops::{may_mount, run};
use crate::support::node::Node;
use test_support::fixtures;
use test_support::server::Server;

/// The fixtures' image with a file beside its postinst, as a signed payload.
fn payload_with(file: &str, content: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (image, source) = (dir.path().join("image"), dir.path().join("file"));
    std::fs::write(&image, fixtures::image("new.img")).unwrap();
    std::fs::write(&source, content).unwrap();
    let request = format!("write \"{}\" {file}", source.display());
    run("debugfs", &["-w", "-R", &request, image.to_str().unwrap()]);
    fixtures::signed(&std::fs::read(image).unwrap())
}

/// Installs up to the script's verdict.
async fn test(node: &Node, payload: &[u8], slots: Arc<dyn Slots>) -> Result<Tested, InstallError> {
    let server = Server::start();
    server.serve("p", payload.to_vec());
    let plan = plan(server.url("p"), payload);
    let downloaded = download(plan, node.site_with(slots, PostinstMode::Run)).await?;
    let cancel = CancellationToken::new();
    downloaded.verify(&cancel).await?.postinstall(&cancel).await
}

#[tokio::test]
async fn a_slot_whose_postinst_agrees_boots_next_and_is_as_it_was_verified() {
    if !may_mount() {
        return;
    }
    let node = Node::with_two_good_slots();
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let tested = test(&node, &payload, Arc::new(node.slots())).await.unwrap();
    assert!(
        !node.slot_attributes(SlotName::B).is_selectable(),
        "not before the commit"
    );
    assert_eq!(tested.commit().await.unwrap(), PostinstOutcome::Clean);
    assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
    assert!(node.disk.slot(SlotName::B) == fixtures::image("new.img"));
}

#[tokio::test]
async fn exit_code_3_is_an_error_that_commits() {
    if !may_mount() {
        return;
    }
    let node = Node::with_two_good_slots();
    let payload = payload_with("postinst-status", "3");
    let tested = test(&node, &payload, Arc::new(node.slots())).await.unwrap();
    assert_eq!(tested.commit().await.unwrap(), PostinstOutcome::AfterError);
    assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
}

/// A disk whose slot the image's script makes bootable by itself, as Flatcar's does with cgpt.
struct Meddled {
    disk: SlotDisk,
    calls: Mutex<Vec<&'static str>>,
}

impl Slots for Meddled {
    fn running(&self) -> SlotName {
        self.disk.running()
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.disk.require_running_good(target)
    }

    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.calls.lock().unwrap().push("unbootable");
        self.disk.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.calls.lock().unwrap().push("next");
        self.disk.make_next(slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_target(slot)
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_source(slot)
    }

    /// The script runs after this.
    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        self.disk.make_next(slot)?;
        Slots::seal(&self.disk, slot)
    }

    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.require_unbootable(slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        self.disk.own_disk()
    }
}

#[tokio::test]
async fn a_postinst_that_fails_leaves_the_slot_unbootable_whatever_it_did_before() {
    if !may_mount() {
        return;
    }
    let node = Node::with_two_good_slots();
    let meddled = Arc::new(Meddled {
        disk: node.slots(),
        calls: Mutex::default(),
    });
    let payload = payload_with("postinst-status", "1");
    let error = test(&node, &payload, Arc::clone(&meddled) as Arc<dyn Slots>)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, InstallError::Postinst(PostinstError::Refused { code: 1 })),
        "{error:?}"
    );
    assert!(!node.slot_attributes(SlotName::B).is_selectable());
    assert_eq!(*meddled.calls.lock().unwrap(), ["unbootable", "unbootable"]);
}

#[tokio::test]
async fn a_full_boot_partition_refuses_the_update_and_says_which_kernel_did_not_fit() {
    if !may_mount() {
        return;
    }
    let node = Node::with_two_good_slots();
    let boot = node.path("/boot");
    let _full = Tmpfs::mount(&boot, "size=600k");
    node.write(
        "/boot/flatcar/vmlinuz-a",
        &std::fs::read(fixtures::payload("vmlinuz-old")).unwrap(),
    );
    let server = Server::start();
    let error = node.install(plan(server.url("p"), b"x")).await.unwrap_err();
    let (a, b) = (
        node.path("/boot/flatcar/vmlinuz-a"),
        node.path("/boot/flatcar/vmlinuz-b"),
    );
    assert_eq!(
        error.to_string(),
        format!("Failed to copy kernel from {} to {}", a.display(), b.display())
    );
    assert!(node.slot_attributes(SlotName::B).is_good(), "nothing was touched");
    assert!(!b.exists());
    assert!(server.requests().is_empty());
}

/// A small file system in memory; unmounted when dropped.
struct Tmpfs<'a>(&'a std::path::Path);

impl<'a> Tmpfs<'a> {
    fn mount(point: &'a std::path::Path, options: &str) -> Self {
        run(
            "mount",
            &["-t", "tmpfs", "-o", options, "tmpfs", point.to_str().unwrap()],
        );
        Self(point)
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}
