//! The disk that holds the slots, told from every other one.
//!
//! Labels and PARTUUIDs of an image are the same on every disk that was made from it:
//! `/dev/disk/by-partlabel/OEM-B` leads to whichever disk the device manager saw last. So whatever
//! is written beside the slots is looked at by the number of the device that is open: through
//! device-mapper it must end at a partition of the slots' own disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::mountinfo::MountTable;
use super::sysfs::BlockDevice;
use super::{DiscoveryError, SlotName, discovery};
use crate::host::Host;

/// Directories in which the device manager names partitions by what the table says of them.
const BY_LABEL: &str = "/dev/disk/by-partlabel";
const BY_UUID: &str = "/dev/disk/by-partuuid";

/// The slots' disk, as it was when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDisk(DiskKind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum DiskKind {
    /// A disk image that was named: no device is a partition of it, so that whatever else is named
    /// counts as its own.
    Image,
    Device(Box<Device>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    disk: BlockDevice,
    sys: PathBuf,
    partitions: Vec<NamedPartition>,
}

/// A partition by everything that it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPartition {
    pub(super) number: u32,
    pub(super) label: String,
    pub(super) partuuid: String,
    pub(super) slot: Option<SlotName>,
}

/// Why something is not the slots' disk's.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is on another disk.
    #[error("{} is {} of another disk: the slots are on {}", path.display(), found.display(), disk.display())]
    OtherDisk {
        /// The path that was named.
        path: PathBuf,
        /// Its device.
        found: PathBuf,
        /// The slots' disk.
        disk: PathBuf,
    },
    /// A file, where the slots are on a device.
    #[error("{} is no partition of the slots' disk", .0.display())]
    NoPartition(PathBuf),
    /// It is one of the slots.
    #[error("{} is {slot} itself", path.display())]
    IsSlot {
        /// The path that was named.
        path: PathBuf,
        /// The slot concerned.
        slot: SlotName,
    },
    /// Several partitions have the name.
    #[error("partitions {first} and {second} of the slots' disk are both called as {} says", path.display())]
    SeveralNamed {
        /// The path that was named.
        path: PathBuf,
        /// One of them.
        first: u32,
        /// Another one.
        second: u32,
    },
    /// The name leads to another partition than the table says.
    #[error("{} leads to partition {found}, but the table calls partition {named} so", path.display())]
    Misnamed {
        /// The path that was named.
        path: PathBuf,
        /// Number of the partition that the path leads to.
        found: u32,
        /// The partition that has the name.
        named: u32,
    },
    /// It can't be told.
    #[error("cannot tell which disk {} is on", path.display())]
    Unknown {
        /// The path that was named.
        path: PathBuf,
        /// What could not be followed to a disk.
        source: DiscoveryError,
    },
}

impl OwnDisk {
    pub(super) const fn image() -> Self {
        Self(DiskKind::Image)
    }

    pub(super) fn device(disk: BlockDevice, host: &Host, partitions: Vec<NamedPartition>) -> Self {
        Self(DiskKind::Device(Box::new(Device {
            disk,
            sys: host.path("/sys"),
            partitions,
        })))
    }

    /// Refuses unless the open file that `opened` describes is a partition of this disk, and no
    /// slot. `name` is the absolute path of the host by which it was reached, `path` where that
    /// lies.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn require_partition(
        &self,
        opened: &fs::Metadata,
        name: &str,
        path: &Path,
    ) -> Result<(), ForeignError> {
        let is_device = opened.file_type().is_block_device();
        match &self.0 {
            DiskKind::Image => Ok(()),
            DiskKind::Device(device) if is_device => device.require_partition(opened.rdev(), name, path),
            DiskKind::Device(_) => Err(ForeignError::NoPartition(path.to_path_buf())),
        }
    }

    /// Refuses if the file system that holds `file`, an absolute path of the host, has nothing on
    /// this disk. One that is no disk's at all, or isn't in the mount table, is nobody's.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn require_file_system(&self, host: &Host, file: &str) -> Result<(), ForeignError> {
        let DiskKind::Device(device) = &self.0 else {
            return Ok(());
        };
        let path = host.path(file);
        let unknown = |source| ForeignError::Unknown {
            path: path.clone(),
            source,
        };
        match mounted_device(host, Path::new(file)).map_err(unknown)? {
            Some((major, minor)) => device.require_leaf(major, minor, &path),
            None => Ok(()),
        }
    }
}

impl Device {
    fn require_partition(&self, rdev: u64, name: &str, path: &Path) -> Result<(), ForeignError> {
        self.require_disk(major(rdev), minor(rdev), path)?;
        let unknown = |source| ForeignError::Unknown {
            path: path.to_path_buf(),
            source,
        };
        let (bottom, _) = BlockDevice::numbered(&self.sys, major(rdev), minor(rdev))
            .and_then(BlockDevice::bottom)
            .map_err(unknown)?;
        let number = bottom.partition_number().map_err(unknown)?;
        let number = number.ok_or_else(|| ForeignError::NoPartition(path.to_path_buf()))?;
        let slot = self
            .partitions
            .iter()
            .find(|partition| partition.number == number);
        if let Some(slot) = slot.and_then(|partition| partition.slot) {
            let path = path.to_path_buf();
            return Err(ForeignError::IsSlot { path, slot });
        }
        self.require_name(number, Path::new(name), path)
    }

    /// Refuses unless the bottom of the device is this disk or a partition of it.
    fn require_disk(&self, major: u64, minor: u64, path: &Path) -> Result<(), ForeignError> {
        let unknown = |source| ForeignError::Unknown {
            path: path.to_path_buf(),
            source,
        };
        let (bottom, _) = BlockDevice::numbered(&self.sys, major, minor)
            .and_then(BlockDevice::bottom)
            .map_err(unknown)?;
        let disk = bottom.whole_disk().map_err(unknown)?;
        if disk == self.disk {
            return Ok(());
        }
        self.other_disk(&bottom, path)
    }

    /// Refuses unless something at the bottom of the device is this disk or a partition of it: what
    /// is mirrored, or lies on several disks, is this one's as well.
    fn require_leaf(&self, major: u64, minor: u64, path: &Path) -> Result<(), ForeignError> {
        let unknown = |source| ForeignError::Unknown {
            path: path.to_path_buf(),
            source,
        };
        let device = BlockDevice::numbered(&self.sys, major, minor).map_err(unknown)?;
        let leaves = device.clone().leaves().map_err(unknown)?;
        for leaf in &leaves {
            if leaf.whole_disk().map_err(unknown)? == self.disk {
                return Ok(());
            }
        }
        self.other_disk(leaves.first().unwrap_or(&device), path)
    }

    fn other_disk(&self, found: &BlockDevice, path: &Path) -> Result<(), ForeignError> {
        let unknown = |source| ForeignError::Unknown {
            path: path.to_path_buf(),
            source,
        };
        Err(ForeignError::OtherDisk {
            path: path.to_path_buf(),
            found: found.node().map_err(unknown)?,
            disk: self.disk.node().map_err(unknown)?,
        })
    }

    /// Refuses a name by label or PARTUUID that the table doesn't give to partition `number`, and
    /// to it alone. Names that the device manager has to write otherwise than the table are not
    /// judged.
    fn require_name(&self, number: u32, name: &Path, path: &Path) -> Result<(), ForeignError> {
        let (Some(directory), Some(called)) =
            (name.parent(), name.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(());
        };
        let is_called = |partition: &&NamedPartition| match directory.to_str() {
            Some(BY_LABEL) => partition.label == called,
            Some(BY_UUID) => partition.partuuid.eq_ignore_ascii_case(called),
            _ => false,
        };
        let numbers: Vec<u32> = self
            .partitions
            .iter()
            .filter(is_called)
            .map(|partition| partition.number)
            .collect();
        let path = path.to_path_buf();
        match *numbers.as_slice() {
            [first, second, ..] => Err(ForeignError::SeveralNamed { path, first, second }),
            [named] if named != number => Err(ForeignError::Misnamed {
                path,
                found: number,
                named,
            }),
            _ => Ok(()),
        }
    }
}

/// The device of the file system that holds `file`, if the host's mount table knows one.
fn mounted_device(host: &Host, file: &Path) -> Result<Option<(u64, u64)>, DiscoveryError> {
    // Before the table is read: to look for it mounts what is mounted on demand.
    let file = without_links(host, file)?;
    let path = host.path("/proc/self/mountinfo");
    let table = match fs::read(&path) {
        Ok(table) => MountTable::parse(&table)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DiscoveryError::Read { path, source }),
    };
    let Some(mount) = table.holding(&file) else {
        return Ok(None);
    };
    match discovery::device_below(host, mount) {
        Ok(number) => Ok(Some(number)),
        Err(DiscoveryError::NoDevice(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where `file` of the host lies, as a path of the host without links; what isn't there yet, where
/// its directory lies.
fn without_links(host: &Host, file: &Path) -> Result<PathBuf, DiscoveryError> {
    let root = real(host.path("/"))?.unwrap_or_else(|| host.path("/"));
    for path in file.ancestors() {
        if let Some(real) = real(host.path(&path.to_string_lossy()))? {
            let below = real.strip_prefix(&root).map(|below| Path::new("/").join(below));
            return Ok(below.unwrap_or(real));
        }
    }
    Ok(file.to_path_buf())
}

/// Nothing if it isn't there.
fn real(path: PathBuf) -> Result<Option<PathBuf>, DiscoveryError> {
    match fs::canonicalize(&path) {
        Ok(real) => Ok(Some(real)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiscoveryError::Read { path, source }),
    }
}
