//! A second disk with the same labels, as a clone or a replaced disk has them: nothing of it is
//! ever written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use update_engine::disk::{OwnDisk, PartitionPair, SlotDisk, SlotName};
use update_engine::host::Host;

use crate::install::extra_partitions::payload;
use crate::support::bad_server::BadServer;
use crate::support::device::Partitions;
use crate::support::image::Image;
use crate::support::loops::{may_mount, run};
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::bus::PrivateBus;

const PAIR: &str = "/dev/disk/by-partlabel/OEM-%s";
/// What the image's partitions 6 and 7 hold.
const OEM_LEN: usize = 1 << 20;

fn relabel(image: &Image, number: &str, label: &str) {
    run(
        "cgpt",
        &["add", "-i", number, "-l", label, image.path().to_str().unwrap()],
    );
}

/// Partitions 6 and 7 are a pair for the slots.
fn with_a_pair(image: &Image) -> Partitions {
    relabel(image, "6", "OEM-A");
    relabel(image, "7", "OEM-B");
    Partitions::of(image.path())
}

/// Makes the label's link in the node's `/dev` lead to `target`.
fn lead(dev: &Path, label: &str, target: &Path) {
    let link = dev.join("disk/by-partlabel").join(label);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&link);
    symlink(target, link).unwrap();
}

/// A `/dev` with nodes of these disks.
fn devices(dev: &Path, disks: &[&Partitions]) {
    fs::create_dir_all(dev).unwrap();
    for disk in disks {
        let partitions = [1, 2, 3, 4, 6, 7, 9].map(|number| disk.node(number));
        for node in partitions.iter().map(AsRef::as_ref).chain([disk.disk()]) {
            symlink(node, dev.join(node.file_name().unwrap())).unwrap();
        }
    }
}

/// The slots' disk, another one that was made from the same image, and a host with the label's
/// links.
struct TwoDisks {
    directory: TempDir,
    own: Image,
    own_partitions: Partitions,
    other_partitions: Partitions,
}

impl TwoDisks {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let image = |name: &str| Image::new(directory.path().join(name), 1 << 20);
        let (own, other) = (image("own.img"), image("other.img"));
        let (own_partitions, other_partitions) = (with_a_pair(&own), with_a_pair(&other));
        let disks = Self {
            directory,
            own,
            own_partitions,
            other_partitions,
        };
        for (label, number) in [("OEM-A", 6), ("OEM-B", 7)] {
            disks.lead(label, &disks.own_partitions.node(number));
        }
        disks
    }

    fn host(&self) -> Host {
        Host::new(self.directory.path().join("root"))
    }

    fn lead(&self, label: &str, target: &Path) {
        lead(&self.host().path("/dev"), label, target);
    }

    fn own_disk(&self) -> OwnDisk {
        let disk = SlotDisk::open(self.own_partitions.disk(), SlotName::A).unwrap();
        disk.own_disk().unwrap()
    }

    /// Why the pair can't be used; nothing if it can.
    fn refusal(&self) -> Option<String> {
        let pair = PartitionPair::parse(PAIR).unwrap();
        let open = pair.open(&self.host(), SlotName::B, &self.own_disk());
        open.err().map(|error| update_engine::journal::chain(&error))
    }
}

#[test]
fn a_pair_is_taken_on_the_slots_disk_alone_whichever_of_the_two_leads_away() {
    if !may_mount() {
        return;
    }
    let disks = TwoDisks::new();
    assert_eq!(disks.refusal(), None);
    let (own, other) = (disks.own_partitions.disk(), &disks.other_partitions);
    for (label, number) in [("OEM-A", 6), ("OEM-B", 7)] {
        disks.lead(label, &other.node(number));
        let said = disks.refusal().unwrap();
        let expected = format!(
            "{label} is {} of another disk: the slots are on {}",
            other.node(number).display(),
            own.display()
        );
        assert!(said.ends_with(&expected), "{said}");
        // A whole disk is none of its partitions, be it the slots' own.
        disks.lead(label, own);
        assert!(
            disks
                .refusal()
                .unwrap()
                .ends_with("is no partition of the slots' disk")
        );
        // Nor is a file, which may lie anywhere.
        let file = disks.directory.path().join("file");
        fs::write(&file, [0; 100]).unwrap();
        disks.lead(label, &file);
        assert!(
            disks
                .refusal()
                .unwrap()
                .ends_with("is no partition of the slots' disk")
        );
        disks.lead(label, &disks.own_partitions.node(number));
        assert_eq!(disks.refusal(), None);
    }
}

#[test]
fn a_name_that_leads_to_a_slot_or_that_the_table_gives_to_others_is_refused() {
    if !may_mount() {
        return;
    }
    let disks = TwoDisks::new();
    disks.lead("OEM-B", &disks.own_partitions.node(4));
    assert!(disks.refusal().unwrap().ends_with("OEM-B is USR-B itself"));
    disks.lead("OEM-B", &disks.own_partitions.node(9));
    let said = disks.refusal().unwrap();
    assert!(
        said.ends_with("leads to partition 9, but the table calls partition 7 so"),
        "{said}"
    );
    disks.lead("OEM-B", &disks.own_partitions.node(7));
    relabel(&disks.own, "9", "OEM-B");
    let said = disks.refusal().unwrap();
    assert!(
        said.starts_with("partitions 7 and 9 of the slots' disk are both called"),
        "{said}"
    );
}

/// A node on a real device, and beside it a clone of its disk, to which some of its names lead.
struct Clone {
    scene: Scene<BadServer>,
    own: Partitions,
    other: Partitions,
    other_image: Image,
}

impl Clone {
    async fn new(payload: Vec<u8>) -> Self {
        let server = BadServer::offering(payload, "", |_| {});
        let mut node = Node::new("disabled");
        let config = format!("SERVER={}\nPARTITION_oem={PAIR}\n", server.url());
        node.write(CONFIG, config.as_bytes());
        node.finds_its_slot();
        let own = with_a_pair(&node.disk);
        let other_image = Image::new(node.beside("other.img"), 1 << 20);
        let other = with_a_pair(&other_image);
        let dev = node.path("/dev");
        fs::remove_file(&dev).unwrap();
        devices(&dev, &[&own, &other]);
        lead(&dev, "OEM-A", &own.node(6));
        lead(&dev, "OEM-B", &own.node(7));
        let clone = Self {
            scene: Scene::with(server, node).await,
            own,
            other,
            other_image,
        };
        clone.mount(&clone.own);
        clone
    }

    fn lead(&self, label: &str, target: &Path) {
        lead(&self.scene.node.path("/dev"), label, target);
    }

    /// `/usr` is the slots' disk's, `/boot` that of `boot`.
    fn mount(&self, boot: &Partitions) {
        let line = |id: u32, point: &str, source: &Path| {
            format!("{id} 1 0:25 / {point} rw - btrfs {} rw\n", source.display())
        };
        let table = line(30, "/usr", &self.own.node(3)) + &line(31, "/boot", &boot.node(1));
        self.scene.node.write("/proc/self/mountinfo", table.as_bytes());
    }

    /// Neither slot nor the other disk is written, and both in dry run and attempt the refusal is
    /// told.
    async fn refuses(&mut self, expected: &str) {
        let other = || fs::read(self.other_image.path()).unwrap();
        let (before, slot) = (other(), self.scene.node.disk.slot(SlotName::B));
        let dry_run = client(&self.scene.bus, &["check", "--dry-run", "--ask-server"]).await;
        assert!(dry_run.contains(expected), "{dry_run}");
        self.scene.attempt(IDLE).await;
        let why = client(&self.scene.bus, &["why"]).await;
        assert!(why.contains(expected), "{why}");
        assert!(other() == before, "the other disk was written");
        assert!(
            self.scene.node.disk.slot(SlotName::B) == slot,
            "slot B was written"
        );
        assert_eq!(self.scene.node.disk.attributes(SlotName::B), (1, 0, 1));
    }
}

async fn client(bus: &PrivateBus, arguments: &[&str]) -> String {
    let mut process = bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    process.args(arguments);
    let output = tokio::process::Command::from(process).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clones_partition_is_refused_by_name_in_dry_run_and_attempt_and_the_own_one_is_written() {
    if !may_mount() {
        return;
    }
    let oem = vec![0x5a; OEM_LEN];
    let mut clone = Clone::new(payload(&oem)).await;
    clone.lead("OEM-B", &clone.other.node(7));
    let _daemon = clone.scene.boot(SlotName::A).await;
    let expected = format!(
        "OEM-B is {} of another disk: the slots are on {}",
        clone.other.node(7).display(),
        clone.own.disk().display()
    );
    clone.refuses(&expected).await;
    clone.lead("OEM-B", &clone.own.node(7));
    clone.scene.attempt(NEED_REBOOT).await;
    run("blockdev", &["--flushbufs", clone.own.node(7).to_str().unwrap()]);
    assert!(fs::read(clone.own.node(7)).unwrap() == oem);
}

#[tokio::test(flavor = "multi_thread")]
async fn kernels_are_not_written_to_the_boot_partition_of_a_clone() {
    if !may_mount() {
        return;
    }
    let mut clone = Clone::new(payload(&[1; 100])).await;
    clone.mount(&clone.other);
    let _daemon = clone.scene.boot(SlotName::A).await;
    let expected = format!(
        "vmlinuz-b is {} of another disk: the slots are on {}",
        clone.other.node(1).display(),
        clone.own.disk().display()
    );
    clone.refuses(&expected).await;
    clone.mount(&clone.own);
    clone.scene.attempt(NEED_REBOOT).await;
}
