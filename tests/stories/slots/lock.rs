//! The whole disk's lock, held by a real program.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use update_engine::disk::{DiskError, Marked, SlotDisk, SlotName, WentBack};

use crate::support::device::Device;
use crate::support::image::Image;
use crate::support::loops::may_mount;

/// A `flock` that holds a disk's lock until it is told.
struct Tool(Child);

impl Tool {
    fn locking(disk: &Path) -> Self {
        let mut tool = Command::new("flock")
            .arg(disk)
            .args(["sh", "-c", "echo locked; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(tool.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "locked\n");
        Self(tool)
    }

    fn ends(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

/// On an image, and on a device where there can be one.
fn on_each_kind_of_disk(story: impl Fn(&Path, &Image)) {
    let directory = TempDir::new().unwrap();
    let image = Image::new(directory.path().join("disk.img"), 1 << 20);
    story(image.path(), &image);
    if may_mount() {
        let device = Device::new(1 << 20);
        story(device.disk(), &device.image);
    }
}

fn open(disk: &Path, patience: Duration) -> SlotDisk {
    SlotDisk::open(disk, SlotName::A).unwrap().with_patience(patience)
}

#[test]
fn while_a_tool_has_the_disk_nothing_is_installed_and_the_tool_is_named() {
    on_each_kind_of_disk(|path, image| {
        let disk = open(path, Duration::ZERO);
        let tool = Tool::locking(path);
        let refusals = [
            disk.make_unbootable(SlotName::B).unwrap_err(),
            disk.make_next(SlotName::B).unwrap_err(),
            disk.go_back().unwrap_err(),
        ];
        for refusal in refusals {
            assert!(matches!(refusal, DiskError::Locked { .. }), "{refusal}");
            let said = refusal.to_string();
            assert!(
                said.starts_with("flock (process ") || said.starts_with("sh (process "),
                "{said}"
            );
        }
        assert_eq!(image.attributes(SlotName::B), (1, 0, 1));
        tool.ends();
        disk.make_unbootable(SlotName::B).unwrap();
        assert_eq!(image.attributes(SlotName::B), (0, 0, 0));
    });
}

#[test]
fn while_a_tool_has_the_disk_the_running_slot_is_marked_good_all_the_same() {
    on_each_kind_of_disk(|path, image| {
        image.set_attributes(SlotName::A, (2, 1, 0));
        let disk = open(path, Duration::ZERO);
        let tool = Tool::locking(path);
        assert_eq!(disk.mark_good().unwrap(), Marked::Written);
        assert_eq!(image.attributes(SlotName::A), (2, 0, 1));
        tool.ends();
    });
}

#[test]
fn a_tool_that_ends_is_waited_for() {
    on_each_kind_of_disk(|path, image| {
        let disk = open(path, Duration::from_secs(600));
        let tool = Tool::locking(path);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| disk.go_back().unwrap());
            tool.ends();
            assert_eq!(waiting.join().unwrap(), WentBack::OtherIsNext);
        });
        assert_eq!(image.attributes(SlotName::B), (2, 0, 1));
    });
}

#[test]
fn a_tool_finds_the_disk_unlocked_after_an_edit_and_locked_while_an_image_is_a_target() {
    on_each_kind_of_disk(|path, image| {
        let disk = open(path, Duration::ZERO);
        let is_free = || {
            let flock = Command::new("flock")
                .arg("--nonblock")
                .arg(path)
                .arg("true")
                .status();
            flock.unwrap().success()
        };
        assert!(is_free());
        disk.make_unbootable(SlotName::B).unwrap();
        assert!(is_free());
        let target = disk.open_target(SlotName::B).unwrap();
        assert_eq!(is_free(), path != image.path());
        // Our own target is no tool.
        disk.make_next(SlotName::B).unwrap();
        assert_eq!(image.attributes(SlotName::B), (2, 1, 0));
        drop(target);
        assert!(is_free());
    });
}
