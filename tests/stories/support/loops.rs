//! Loop devices over images, for what only a block device can show.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A loop device; gone when dropped.
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    pub fn read_only(image: &Path) -> Self {
        Self::over(image, &["--read-only"])
    }

    pub fn writable(image: &Path) -> Self {
        Self::over(image, &[])
    }

    /// With sectors of so many bytes.
    pub fn of_sectors(image: &Path, bytes: u32) -> Self {
        Self::over(image, &["--sector-size", &bytes.to_string()])
    }

    /// Tells the kernel that the image has another size.
    pub fn has_another_size(&self) {
        run("losetup", &["--set-capacity", self.device.to_str().unwrap()]);
    }

    fn over(image: &Path, options: &[&str]) -> Self {
        alone_with_loops();
        let options = [&["--find", "--show"], options, &[image.to_str().unwrap()]].concat();
        let device = run("losetup", &options);
        Self {
            device: device.trim().into(),
        }
    }

    pub fn device(&self) -> &Path {
        &self.device
    }
}

/// Waits until no other test's process uses loop devices, and keeps them from it until this one
/// ends: partitions of a device whose number another process was just done with have been seen to
/// go.
fn alone_with_loops() {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        let file = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/loops.lock")).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        file
    });
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", self.device.to_str().unwrap()]);
    }
}

/// Runs a program that must succeed, and gives what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Only root may mount. A test that needs to and can't says so and shows nothing.
pub fn may_mount() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: this test shows nothing");
    }
    root
}
