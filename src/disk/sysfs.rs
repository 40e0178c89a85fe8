//! Block devices as sysfs describes them.

use std::fs;
use std::path::{Path, PathBuf};

use super::DiscoveryError;

/// Mappings nest (dm-verity over dm-crypt over a partition), but not deeply.
const MAX_DEPTH: usize = 8;

/// A block device's directory in sysfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockDevice {
    directory: PathBuf,
}

/// What stands between a partition's bytes and whoever reads them from its mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// dm-verity: a byte that is not as the image was built is not read.
    Verity,
    /// Nothing.
    None,
}

impl BlockDevice {
    /// The device with this number, below the sysfs at `sys`.
    pub(super) fn numbered(sys: &Path, major: u64, minor: u64) -> Result<Self, DiscoveryError> {
        let link = sys.join(format!("dev/block/{major}:{minor}"));
        let directory =
            fs::canonicalize(&link).map_err(|source| DiscoveryError::Read { path: link, source })?;
        Ok(Self { directory })
    }

    /// The device at the bottom of device-mapper's stack, and what guards its bytes on the way up.
    pub(super) fn bottom(self) -> Result<(Self, Guard), DiscoveryError> {
        let (mut device, mut guard) = (self, Guard::None);
        for _ in 0..MAX_DEPTH {
            if device.is_verity() {
                guard = Guard::Verity;
            }
            let mut slaves = children(&device.directory.join("slaves"));
            match slaves.len() {
                0 => return Ok((device, guard)),
                1 => {
                    device = Self {
                        directory: canonical(slaves.remove(0))?,
                    }
                }
                count => {
                    return Err(DiscoveryError::ManyDevices {
                        device: device.directory,
                        count,
                    });
                }
            }
        }
        Err(DiscoveryError::TooDeep(device.directory))
    }

    /// Whether this is a mapping that cryptsetup made for dm-verity; it says so in the mapping's UUID.
    fn is_verity(&self) -> bool {
        let uuid = fs::read_to_string(self.directory.join("dm/uuid"));
        uuid.is_ok_and(|uuid| uuid.starts_with("CRYPT-VERITY-"))
    }

    /// The number of this partition, if it is one.
    pub(super) fn partition_number(&self) -> Option<u32> {
        fs::read_to_string(self.directory.join("partition"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// The disk on which this partition lies.
    pub(super) fn disk(&self) -> Result<Self, DiscoveryError> {
        match (self.partition_number(), self.directory.parent()) {
            (Some(_), Some(disk)) => Ok(Self {
                directory: disk.to_path_buf(),
            }),
            _ => Err(DiscoveryError::NoPartition(self.directory.clone())),
        }
    }

    /// The partition `number` of this disk, if the kernel knows it.
    pub(super) fn partition(&self, number: u32) -> Option<Self> {
        let mut devices = children(&self.directory)
            .into_iter()
            .map(|directory| Self { directory });
        devices.find(|device| device.partition_number() == Some(number))
    }

    /// Its node, as a path below `/dev`.
    pub(super) fn node(&self) -> Result<PathBuf, DiscoveryError> {
        let path = self.directory.join("uevent");
        let text = fs::read_to_string(&path).map_err(|source| DiscoveryError::Read {
            path: path.clone(),
            source,
        })?;
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        name.map(|name| Path::new("/dev").join(name))
            .ok_or(DiscoveryError::NoPartition(path))
    }
}

fn canonical(path: PathBuf) -> Result<PathBuf, DiscoveryError> {
    fs::canonicalize(&path).map_err(|source| DiscoveryError::Read { path, source })
}

/// Entries of a directory; none if there is no such directory.
fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect()
}
