//! A node whose `/usr` is hidden by merged system extensions, as on nearly every Flatcar node: a
//! real slot on a real device below a real overlay, and everybody who has to tell which slot runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use update_engine::disk::SlotName;

use crate::support::device::{Device, Partitions};
use crate::support::loops::{may_mount, run};
use crate::support::merge::{Merged, mount_table};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::bus::PrivateBus;
use test_support::fixtures;

const PROGRAM: &str = env!("CARGO_BIN_EXE_update_engine");
const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");
const TABLE: &str = "/proc/self/mountinfo";
const COMMAND_LINE: &str = "/proc/cmdline";
const A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
const B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";

fn partuuid(slot: SlotName) -> &'static str {
    match slot {
        SlotName::A => A,
        SlotName::B => B,
    }
}

/// As Flatcar's boot loader says it.
fn command_line(slot: SlotName) -> String {
    format!(
        "BOOT_IMAGE=/flatcar/vmlinuz mount.usr=/dev/mapper/usr verity.usr=PARTUUID={} root=LABEL=ROOT\n",
        partuuid(slot)
    )
}

fn number(slot: SlotName) -> u32 {
    match slot {
        SlotName::A => 3,
        SlotName::B => 4,
    }
}

/// Runs the program by the name of a role.
fn role(name: &str, root: &Path, beside: &Path, arguments: &[&Path]) -> Output {
    let link = beside.join(name);
    if !link.exists() {
        symlink(PROGRAM, &link).unwrap();
    }
    let mut program = Command::new(link);
    program.arg("-root").arg(root).args(arguments).output().unwrap()
}

fn setgoodroot(root: &Path, beside: &Path) -> Output {
    role("flatcar-setgoodroot", root, beside, &[])
}

async fn command(bus: &PrivateBus, command: &str) -> String {
    let mut process = bus.process(CLIENT);
    process.arg(command);
    let output = tokio::process::Command::from(process).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_merged_extension_updates_to_the_other_slot_and_back() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.finds_its_slot();
    let partitions = Partitions::of(scene.node.disk.path());
    for (slot, merged) in [
        (SlotName::A, Merged::Extension),
        (SlotName::B, Merged::ExtensionInUnit),
    ] {
        let table = mount_table(&partitions.node(number(slot)), merged);
        scene.node.write(TABLE, table.as_bytes());
        scene.node.write(COMMAND_LINE, command_line(slot).as_bytes());
        let daemon = scene.boot(slot).await;
        let slots = command(&scene.bus, "slots").await;
        assert!(slots.contains(&format!("\n{slot}   yes ")), "{slots}");
        scene.attempt(NEED_REBOOT).await;
        assert_eq!(
            scene.node.disk.attributes(slot),
            (1, 0, 1),
            "{slot} was marked good"
        );
        assert_eq!(scene.node.disk.attributes(!slot), (2, 1, 0));
        daemon.stop();
        assert_eq!(scene.node.reboot(), !slot);
    }
    scene.node.disk.assert_table_is_whole();
    assert!(scene.node.disk.slot(SlotName::A) == fixtures::image("new.img"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_command_line_names_the_other_slot_nothing_is_written_and_the_reason_is_shown() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.finds_its_slot();
    let partitions = Partitions::of(scene.node.disk.path());
    let table = mount_table(&partitions.node(3), Merged::Extension);
    scene.node.write(TABLE, table.as_bytes());
    scene
        .node
        .write(COMMAND_LINE, command_line(SlotName::B).as_bytes());
    let attributes = |scene: &Scene| [SlotName::A, SlotName::B].map(|slot| scene.node.disk.attributes(slot));
    let (before, other) = (attributes(&scene), scene.node.disk.slot(SlotName::B));
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let reason =
        format!("verity.usr=PARTUUID={B}, but /usr is mounted from partition 3, USR-A, PARTUUID {A}");
    for shown in ["status", "why", "slots"] {
        let shown = command(&scene.bus, shown).await;
        assert!(shown.contains(&reason), "{shown}");
    }
    assert_eq!(attributes(&scene), before);
    assert!(scene.node.disk.slot(SlotName::B) == other, "slot B was written");
    // Without the contradiction the same node is served.
    scene
        .node
        .write(COMMAND_LINE, command_line(SlotName::A).as_bytes());
    scene.attempt(NEED_REBOOT).await;
}

fn with_file_systems() -> Device {
    let device = Device::new(128 << 20);
    run("mkfs.btrfs", &["-q", device.partition(3).to_str().unwrap()]);
    run("mkfs.ext4", &["-q", device.partition(4).to_str().unwrap()]);
    device.image.set_attributes(SlotName::A, (2, 0, 0));
    device.image.set_attributes(SlotName::B, (1, 0, 0));
    device
}

/// Btrfs, whose device number is hidden, and ext4.
#[test]
fn setgoodroot_finds_the_slot_below_an_extension() {
    if !may_mount() {
        return;
    }
    let device = with_file_systems();
    let root = device.path("root");
    device.host(&device.partition(9));
    for (slot, merged) in [
        (SlotName::A, Merged::Nothing),
        (SlotName::B, Merged::Extension),
        (SlotName::A, Merged::ExtensionInUnit),
        (SlotName::B, Merged::ExtensionInUnit),
        (SlotName::A, Merged::Extension),
    ] {
        let table = mount_table(&device.partition(number(slot)), merged);
        std::fs::write(root.join("proc/self/mountinfo"), table).unwrap();
        let output = setgoodroot(&root, &device.path(""));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (priority, tries, successful) = device.image.attributes(slot);
        assert_eq!((tries, successful), (0, 1), "{slot} {merged:?}");
        assert!(priority > device.image.attributes(!slot).0);
        // Taken back, so that the next one has something to do.
        device.image.set_attributes(slot, (1, 0, 0));
    }
}

#[test]
fn setgoodroot_marks_nothing_where_it_cannot_be_sure() {
    if !may_mount() {
        return;
    }
    let device = with_file_systems();
    let root = device.path("root");
    device.host(&device.partition(9));
    let table = mount_table(&device.partition(3), Merged::Extension);
    let both = format!(
        "{table}1000 1 0:99 / /usr ro - btrfs {} ro\n",
        device.partition(4).display()
    );
    let before = [SlotName::A, SlotName::B].map(|slot| device.image.attributes(slot));
    let cases = [
        (both, String::new(), "nobody can tell which of them runs"),
        (
            table.clone(),
            command_line(SlotName::B),
            "the kernel's command line says verity.usr=",
        ),
        (format!("{table}?\n"), String::new(), "of the mount table: \"?\""),
    ];
    for (table, line, reason) in cases {
        std::fs::write(root.join("proc/self/mountinfo"), table).unwrap();
        std::fs::write(root.join("proc/cmdline"), line).unwrap();
        let output = setgoodroot(&root, &device.path(""));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(reason), "{said}");
        let after = [SlotName::A, SlotName::B].map(|slot| device.image.attributes(slot));
        assert_eq!(after, before);
    }
}

/// Whoever runs it; the engine above it might have been wrong.
#[test]
fn a_postinst_refuses_the_slot_that_runs_below_an_extension() {
    if !may_mount() {
        return;
    }
    let device = with_file_systems();
    let root = device.path("root");
    device.host(&device.partition(9));
    let table = mount_table(&device.partition(3), Merged::Extension);
    std::fs::write(root.join("proc/self/mountinfo"), table).unwrap();
    let before = [SlotName::A, SlotName::B].map(|slot| device.image.attributes(slot));
    let output = role("postinst", &root, &device.path(""), &[&device.partition(3)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("USR-A is running: it is never a target"), "{said}");
    std::fs::write(root.join("proc/cmdline"), command_line(SlotName::B)).unwrap();
    let output = role("postinst", &root, &device.path(""), &[&device.partition(4)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the kernel's command line says verity.usr="),
        "{said}"
    );
    let after = [SlotName::A, SlotName::B].map(|slot| device.image.attributes(slot));
    assert_eq!(after, before);
}
