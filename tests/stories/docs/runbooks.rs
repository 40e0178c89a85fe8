//! Runbooks of `docs`, run as they stand there against a disk.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::process::Command;

use update_engine::disk::SlotName;

use crate::support::document::{self, SYSTEMCTL, blocks, document};
use crate::support::image::Image;
use crate::support::node::{CONFIG, Node, quoted};
use crate::support::scene::{Scene, eventually};
use test_support::fixtures;

/// Runs a block with `$DISK` set, on a machine that is not rebooted for it; gives what it prints.
fn run(block: &str, disk: &Image) -> String {
    let directory = tempfile::tempdir().unwrap();
    let root = format!("echo {}", quoted(disk.path()));
    let mut command = document::command(block, directory.path(), &[("rootdev", &root), SYSTEMCTL]);
    command.env("DISK", disk.path());
    document::run(command)
}

fn block(heading: &str, number: usize) -> String {
    blocks("rollback.md", heading).swap_remove(number)
}

#[test]
fn the_table_is_shown() {
    let node = Node::new("disabled");
    let shown = run(&block("Find out what happened", 1), &node.disk);
    assert_eq!(
        shown,
        "partition 3 P=2\npartition 3 T=0\npartition 3 S=1\npartition 4 P=1\npartition 4 T=0\npartition 4 S=1\n"
    );
}

#[test]
fn a_slot_that_waits_does_not_boot() {
    let node = Node::new("disabled");
    node.disk.set_attributes(SlotName::A, (1, 0, 1));
    node.disk.set_attributes(SlotName::B, (2, 1, 0));
    run(
        &block("Withdraw an update that waits for its reboot", 2),
        &node.disk,
    );
    assert_eq!(node.disk.boot(), SlotName::A);
    node.disk.assert_table_is_whole();
}

#[test]
fn the_other_slot_boots_if_it_was_good() {
    let heading = "Go back by hand";
    let node = Node::new("disabled");
    assert_eq!(
        run(&block(heading, 1), &node.disk),
        "systemctl stop update-engine\nsystemctl reboot\n"
    );
    assert_eq!(node.disk.boot(), SlotName::B);
    node.disk.assert_table_is_whole();

    node.disk.set_attributes(SlotName::A, (2, 0, 1));
    node.disk.set_attributes(SlotName::B, (1, 0, 0));
    // What fails in the middle of a list of `&&` fails nothing else.
    run(&format!("{{ {} }} || true", block(heading, 1)), &node.disk);
    assert_eq!(node.disk.attributes(SlotName::B), (1, 0, 0));
}

#[test]
fn a_slot_on_trial_is_kept() {
    let node = Node::new("disabled");
    node.disk.set_attributes(SlotName::A, (2, 0, 0));
    node.disk.set_attributes(SlotName::B, (0, 0, 0));
    run(&block("Keep a slot that is not healthy", 0), &node.disk);
    assert_eq!(node.disk.boot(), SlotName::A);
    node.disk.assert_table_is_whole();
}

#[test]
fn a_disk_from_which_nothing_boots_boots_again() {
    let node = Node::new("disabled");
    node.disk.set_attributes(SlotName::A, (1, 0, 0));
    node.disk.set_attributes(SlotName::B, (0, 0, 0));
    let disk = std::fs::File::options()
        .write(true)
        .open(node.disk.path())
        .unwrap();
    disk.write_all_at(&[0; 512], 512).unwrap();
    drop(disk);
    run(&block("Boot a node that does not come up", 0), &node.disk);
    assert_eq!(node.disk.boot(), SlotName::A);
    node.disk.assert_table_is_whole();
}

/// The numbers of a row of the table in `boot.md`, A's and B's.
fn row(moment: &str) -> Vec<u32> {
    let text = document("boot.md");
    let mut rows = text.lines().filter(|line| line.starts_with("| "));
    let row = rows.find(|line| line.contains(moment)).unwrap();
    let cells = row.split('|').skip(2).collect::<String>();
    let numbers = cells.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn attributes(scene: &Scene, slots: [SlotName; 2]) -> Vec<u32> {
    let of = |slot| {
        let (priority, tries, successful) = scene.node.disk.attributes(slot);
        [priority, tries, successful]
    };
    slots.map(of).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_an_update_are_those_of_the_document() {
    use SlotName::{A, B};
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    assert_eq!(attributes(&scene, [A, B]), row("B holds the version before"));
    let daemon = scene.boot(A).await;
    scene.attempt(crate::support::scene::NEED_REBOOT).await;
    assert_eq!(attributes(&scene, [A, B]), row("waits for the reboot"));
    daemon.stop();
    scene.node.reboot();
    assert_eq!(attributes(&scene, [B, A]), row("is on trial"));
    scene.node.run_version("2.0.0");

    // It is left.
    let left = row("A runs again");
    let (seconds, mut left): (Vec<u32>, Vec<u32>) = left.iter().partition(|&&number| number == 45);
    assert_eq!(seconds.len(), 2);
    assert_eq!(scene.node.reboot(), A);
    let later = left.split_off(6);
    // Before and after stand side by side, slot by slot.
    let (a, b) = (
        [&left[..3], &later[..3]].concat(),
        [&left[3..6], &later[3..]].concat(),
    );
    assert_eq!(attributes(&scene, [A, B]), a);
    scene.node.run_version("1.0.0");
    scene.configure("HEALTH_SETTLE=0\n");
    let daemon = scene.boot(A).await;
    eventually("A goes first again", || attributes(&scene, [A, B]) == b).await;
    daemon.stop();
}

#[test]
fn the_checks_of_the_health_gate_are_scripts_that_a_shell_takes() {
    let mut scripts = 0;
    for heading in [
        "A script",
        "Kubernetes' kubelet",
        "systemd's boot-complete.target",
    ] {
        for block in blocks("health.md", heading) {
            let node = Node::new("disabled");
            let block = block
                .replace("/etc/", &format!("{}/", node.path("/etc").display()))
                .replace("install -d", "mkdir -p");
            std::fs::create_dir_all(node.path("/etc/update-engine/health.d")).unwrap();
            run(&block, &node.disk);
            for entry in std::fs::read_dir(node.path("/etc/update-engine/health.d")).unwrap() {
                let path = entry.unwrap().path();
                let taken = Command::new("sh").arg("-n").arg(&path).status().unwrap();
                assert!(taken.success(), "{}", path.display());
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o100, 0o100, "{}", path.display());
                scripts += 1;
            }
            let config = String::from_utf8(node.read(CONFIG)).unwrap();
            assert!(config.starts_with("GROUP=stable\n"), "{config}");
        }
    }
    assert_eq!(scripts, 3);
}
