//! A node's disk as a block device.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use update_engine::host::Host;

use super::image::Image;
use super::loops::{Loop, run};

/// A disk image as a loop device whose partitions the kernel knows. A kernel may not read GPT by
/// itself, so they are added by hand.
pub struct Partitions(Loop);

impl Partitions {
    pub fn of(image: &Path) -> Self {
        let disk = Loop::writable(image);
        let device = disk.device().to_str().unwrap();
        let list = run("partx", &["--show", "--noheadings", "--output", "NR", device]);
        let partitions = Self(disk);
        let nodes: Vec<_> = list
            .split_whitespace()
            .map(|number| partitions.node(number.parse().unwrap()))
            .collect();
        // While another program uses loop devices as well, one of several has been seen to stay
        // out.
        for _ in 0..20 {
            if nodes.iter().all(|node| node.exists()) {
                break;
            }
            // Without a range it would take their number for the highest one.
            run(
                "partx",
                &["--update", "--nr", "1:9", partitions.disk().to_str().unwrap()],
            );
        }
        let missing: Vec<_> = nodes.iter().filter(|node| !node.exists()).collect();
        assert!(missing.is_empty(), "the kernel has no {missing:?}");
        partitions
    }

    pub fn disk(&self) -> &Path {
        self.0.device()
    }

    pub fn node(&self, number: u32) -> PathBuf {
        format!("{}p{number}", self.disk().display()).into()
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        run("partx", &["--delete", self.disk().to_str().unwrap()]);
    }
}

/// A node's disk with partitions.
pub struct Device {
    directory: TempDir,
    pub image: Image,
    partitions: Partitions,
}

impl Device {
    /// With empty slots of `slot_len` bytes.
    pub fn new(slot_len: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let image = Image::new(directory.path().join("disk.img"), slot_len);
        let partitions = Partitions::of(image.path());
        Self {
            directory,
            image,
            partitions,
        }
    }

    pub fn disk(&self) -> &Path {
        self.partitions.disk()
    }

    pub fn partition(&self, number: u32) -> PathBuf {
        self.partitions.node(number)
    }

    /// A file that lives as long as the device.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A host with our devices, that has mounted `source` on `/usr`.
    pub fn host(&self, source: &Path) -> Host {
        let root = self.path("root");
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::create_dir_all(root.join("sys/fs/cgroup")).unwrap();
        fs::write(root.join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        let mount = format!(
            "29 1 0:25 / /usr ro,relatime shared:1 - btrfs {} ro\n",
            source.display()
        );
        fs::write(root.join("proc/self/mountinfo"), mount).unwrap();
        for directory in ["dev", "sys/block", "sys/dev"] {
            symlink(Path::new("/").join(directory), root.join(directory)).unwrap();
        }
        Host::new(root)
    }
}
