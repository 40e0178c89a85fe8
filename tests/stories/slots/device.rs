//! Slots on a real block device: partitions with nodes of their own, found below the mount of
//! `/usr`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use update_engine::disk::{DiskError, DummyDisk, SlotDisk, SlotName};

use crate::support::device::Device;
use crate::support::image::Image;
use crate::support::loops::{Loop, may_mount, run};

fn image() -> (TempDir, Image) {
    let directory = TempDir::new().unwrap();
    let image = Image::new(directory.path().join("disk.img"), 1 << 20);
    (directory, image)
}

fn open(device: &Device) -> SlotDisk {
    SlotDisk::open(device.disk(), SlotName::A).unwrap()
}

#[test]
fn the_running_slot_is_found_below_the_mount_of_usr() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let disk = SlotDisk::discover(&device.host(&device.partition(4))).unwrap();
    assert_eq!(disk.running(), SlotName::B);
    disk.make_unbootable(SlotName::A).unwrap();
    assert_eq!(device.image.attributes(SlotName::A), (0, 0, 0));
    device.image.assert_table_is_whole();
}

#[test]
fn usr_from_another_partition_of_the_disk_is_no_slot() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let error = SlotDisk::discover(&device.host(&device.partition(6))).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.starts_with("/usr comes from partition 6 of "), "{text}");
}

#[test]
fn a_table_comes_from_the_medium_whatever_the_page_cache_remembers() {
    if !may_mount() {
        return;
    }
    let (_directory, image) = image();
    let device = Loop::writable(image.path());
    // What is cached of a device goes when nobody has it open, and a node's disk is always in use.
    let _in_use = File::open(device.device()).unwrap();
    let disk = SlotDisk::open(device.device(), SlotName::A).unwrap();
    let before = disk.boots_next().unwrap();
    // Below the device, of which the cache learns nothing.
    image.set_attributes(SlotName::B, (9, 0, 1));
    assert_ne!(before, Some(SlotName::B));
    assert_eq!(disk.boots_next().unwrap(), Some(SlotName::B));
}

#[test]
fn a_partition_is_written_exclusively() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let target = open(&device).open_target(SlotName::B).unwrap();
    assert!(matches!(
        open(&device).open_target(SlotName::B),
        Err(DiskError::Busy { .. })
    ));
    target.write_at(b"new", 0).unwrap();
    target.sync().unwrap();
    drop(target);
    assert!(device.image.slot(SlotName::B).starts_with(b"new"));
}

#[test]
fn a_sealed_partition_cannot_be_written_until_it_is_released() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let node = device.partition(4);
    let sealed = open(&device).seal(SlotName::B).unwrap();
    assert_eq!(sealed.device(), node);
    assert_eq!(run("blockdev", &["--getro", node.to_str().unwrap()]).trim(), "1");
    drop(sealed);
    assert_eq!(run("blockdev", &["--getro", node.to_str().unwrap()]).trim(), "0");
}

#[test]
fn a_seal_left_behind_by_a_killed_engine_does_not_stop_the_next_one() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    run("blockdev", &["--setro", device.partition(4).to_str().unwrap()]);
    let target = open(&device).open_target(SlotName::B).unwrap();
    target.write_at(b"new", 0).unwrap();
    target.sync().unwrap();
}

#[test]
fn a_sealed_slot_of_an_image_is_a_read_only_device_of_its_bytes() {
    if !may_mount() {
        return;
    }
    let (_directory, image) = image();
    image.write(SlotName::A, 0, b"the slot's bytes");
    let disk = SlotDisk::open(image.path(), SlotName::B).unwrap();
    let sealed = disk.seal(SlotName::A).unwrap();
    let device = sealed.device().to_path_buf();
    assert_eq!(
        run("blockdev", &["--getro", device.to_str().unwrap()]).trim(),
        "1"
    );
    assert!(fs::read(&device).unwrap() == image.slot(SlotName::A));
    let written = File::options()
        .write(true)
        .open(&device)
        .and_then(|mut file| file.write_all(b"x"));
    assert!(written.is_err());
    drop(sealed);
    // The kernel frees it when the last who has it open closes it: others look at all loop devices
    // now and then, and tell nobody when they are done.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !run("losetup", &["--associated", image.path().to_str().unwrap()]).is_empty() {
        assert!(Instant::now() < deadline, "a loop device stays");
        std::thread::yield_now();
    }
}

const UDEV_RULE: &str = "run/udev/rules.d/00-update-engine-dummy-disk.rules";

fn length(node: &Path) -> String {
    run("blockdev", &["--getsize64", node.to_str().unwrap()])
}

#[test]
fn a_dummy_disk_has_the_slots_partition_as_the_table_says_it() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let host = device.host(&device.partition(3));
    let disk = SlotDisk::discover(&host).unwrap();
    let before = fs::read(device.image.path()).unwrap();
    let dummy = disk.dummy_disk(SlotName::B).unwrap().unwrap();
    assert_eq!(dummy.disk(), host.path(device.disk().to_str().unwrap()));
    let partition = dummy.partition();
    assert_eq!(length(&partition), length(&device.partition(4)));
    // Whoever goes by the partition alone: its number leads to its disk, and that has its label.
    let probe = [
        "-p",
        "-o",
        "value",
        "-s",
        "PART_ENTRY_NAME",
        partition.to_str().unwrap(),
    ];
    assert_eq!(run("blkid", &probe).trim(), "USR-B");
    let seen = SlotDisk::open(dummy.device(), SlotName::A).unwrap();
    seen.make_next(SlotName::B).unwrap();
    assert_eq!(seen.boots_next().unwrap(), Some(SlotName::B));
    assert!(
        fs::read(device.image.path()).unwrap() == before,
        "the disk was written"
    );
    let rule = fs::read_to_string(host.path(UDEV_RULE)).unwrap();
    let name = dummy.device().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(rule.contains(&format!("KERNEL==\"{name}|{name}p*\"")), "{rule}");
    drop(dummy);
    assert!(!partition.exists());
    assert!(!host.path(UDEV_RULE).exists());
}

#[test]
fn what_a_killed_engine_leaves_of_a_dummy_disk_is_removed() {
    if !may_mount() {
        return;
    }
    let device = Device::new(1 << 20);
    let host = device.host(&device.partition(3));
    let disk = SlotDisk::discover(&host).unwrap();
    let dummy = disk.dummy_disk(SlotName::B).unwrap().unwrap();
    let (partition, loop_device) = (dummy.partition(), dummy.device().to_owned());
    let rule = fs::read_to_string(host.path(UDEV_RULE)).unwrap();
    // While it is in use it stays, and so does the rule.
    assert!(DummyDisk::remove_leftover(&host).is_err());
    assert!(partition.exists() && host.path(UDEV_RULE).exists());
    drop(dummy);
    // The kernel frees the loop device of a process that was killed, not its partition.
    let other = device.path("other.img");
    File::create(&other).unwrap().set_len(1 << 20).unwrap();
    let node = loop_device.to_str().unwrap();
    run("losetup", &[node, other.to_str().unwrap()]);
    run("addpart", &[node, "4", "8", "8"]);
    run("losetup", &["--detach", node]);
    assert!(partition.exists());
    fs::write(host.path(UDEV_RULE), rule).unwrap();
    DummyDisk::remove_leftover(&host).unwrap();
    assert!(!partition.exists());
    assert!(!host.path(UDEV_RULE).exists());
}
