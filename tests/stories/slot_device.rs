//! Slots on a real block device: partitions with nodes of their own, found below the mount of `/usr`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use update_engine::disk::{DiskError, SlotDisk, SlotName};
use update_engine::host::Host;

use crate::support::image::Image;
use crate::support::loops::{Loop, may_mount, run};

fn image() -> (TempDir, Image) {
    let directory = TempDir::new().unwrap();
    let image = Image::new(directory.path().join("disk.img"), 1 << 20);
    (directory, image)
}

/// A node's disk as a loop device whose partitions the kernel knows. A kernel may not read GPT by itself, so
/// they are added by hand.
struct Device {
    directory: TempDir,
    image: Image,
    disk: Loop,
}

impl Device {
    fn new() -> Self {
        let (directory, image) = image();
        let disk = Loop::writable(image.path());
        run("partx", &["--update", disk.device().to_str().unwrap()]);
        Self {
            directory,
            image,
            disk,
        }
    }

    fn partition(&self, number: u32) -> PathBuf {
        format!("{}p{number}", self.disk.device().display()).into()
    }

    fn open(&self) -> SlotDisk {
        SlotDisk::open(self.disk.device(), SlotName::A).unwrap()
    }

    /// A host with our devices, that has mounted `source` on `/usr`.
    fn host(&self, source: &Path) -> Host {
        let root = self.directory.path().join("root");
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let mount = format!(
            "29 1 0:25 / /usr ro,relatime shared:1 - btrfs {} ro\n",
            source.display()
        );
        fs::write(root.join("proc/self/mountinfo"), mount).unwrap();
        for directory in ["dev", "sys"] {
            symlink(Path::new("/").join(directory), root.join(directory)).unwrap();
        }
        Host::new(root)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        run("partx", &["--delete", self.disk.device().to_str().unwrap()]);
    }
}

#[test]
fn the_running_slot_is_found_below_the_mount_of_usr() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
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
    let device = Device::new();
    let error = SlotDisk::discover(&device.host(&device.partition(6))).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.starts_with("/usr comes from partition 6 of "), "{text}");
}

#[test]
fn a_partition_is_written_exclusively() {
    if !may_mount() {
        return;
    }
    let device = Device::new();
    let target = device.open().open_target(SlotName::B).unwrap();
    assert!(matches!(
        device.open().open_target(SlotName::B),
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
    let device = Device::new();
    let node = device.partition(4);
    let sealed = device.open().seal(SlotName::B).unwrap();
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
    let device = Device::new();
    run("blockdev", &["--setro", device.partition(4).to_str().unwrap()]);
    let target = device.open().open_target(SlotName::B).unwrap();
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
    // The kernel frees it when the last who has it open closes it: others look at all loop devices now and
    // then, and tell nobody when they are done.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !run("losetup", &["--associated", image.path().to_str().unwrap()]).is_empty() {
        assert!(Instant::now() < deadline, "a loop device stays");
        std::thread::yield_now();
    }
}
