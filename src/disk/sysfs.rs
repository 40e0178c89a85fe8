//! Block devices as sysfs describes them.

use std::fs;
use std::io;
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

    /// Whether there is a device with this number.
    pub(super) fn is_known(sys: &Path, major: u64, minor: u64) -> Result<bool, DiscoveryError> {
        let path = sys.join(format!("dev/block/{major}:{minor}"));
        path.try_exists()
            .map_err(|source| DiscoveryError::Read { path, source })
    }

    /// The device at the bottom of device-mapper's stack, and what guards its bytes on the way up.
    pub(super) fn bottom(self) -> Result<(Self, Guard), DiscoveryError> {
        let (mut device, mut guard) = (self, Guard::None);
        for _ in 0..MAX_DEPTH {
            if device.is_verity()? {
                guard = Guard::Verity;
            }
            let mut slaves = children(&device.directory.join("slaves"))?;
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

    /// Everything at the bottom of this device: several where it is RAID, or LVM over several
    /// disks. A partition of a device that is made of others is made of those.
    pub(super) fn leaves(self) -> Result<Vec<Self>, DiscoveryError> {
        let top = self.directory.clone();
        let (mut level, mut leaves) = (vec![self], Vec::new());
        for _ in 0..MAX_DEPTH {
            let mut below = Vec::new();
            for device in level {
                let slaves = device.slaves()?;
                if slaves.is_empty() {
                    leaves.push(device);
                }
                for slave in slaves {
                    if !below.contains(&slave) {
                        below.push(slave);
                    }
                }
            }
            if below.is_empty() {
                return Ok(leaves);
            }
            level = below;
        }
        Err(DiscoveryError::TooDeep(top))
    }

    /// What this device, or the one that it is a partition of, is made of.
    fn slaves(&self) -> Result<Vec<Self>, DiscoveryError> {
        let mut slaves = children(&self.directory.join("slaves"))?;
        if slaves.is_empty() && self.partition_number()?.is_some() {
            slaves = children(&self.disk()?.directory.join("slaves"))?;
        }
        let device = |path| canonical(path).map(|directory| Self { directory });
        slaves.into_iter().map(device).collect()
    }

    /// The disk that this is a partition of, or that it is: a file system may fill a whole one.
    pub(super) fn whole_disk(&self) -> Result<Self, DiscoveryError> {
        match self.partition_number()? {
            Some(_) => self.disk(),
            None => Ok(self.clone()),
        }
    }

    /// Whether this is a mapping that cryptsetup made for dm-verity; it says so in the mapping's
    /// UUID.
    fn is_verity(&self) -> Result<bool, DiscoveryError> {
        let uuid = read_if_there(self.directory.join("dm/uuid"))?;
        Ok(uuid.is_some_and(|uuid| uuid.starts_with("CRYPT-VERITY-")))
    }

    /// The number of this partition, if it is one.
    pub(super) fn partition_number(&self) -> Result<Option<u32>, DiscoveryError> {
        let number = read_if_there(self.directory.join("partition"))?;
        let parse = |number: String| number.trim().parse();
        let number = number.map(parse).transpose();
        number.map_err(|_| DiscoveryError::NoPartition(self.directory.clone()))
    }

    /// The disk on which this partition lies.
    pub(super) fn disk(&self) -> Result<Self, DiscoveryError> {
        match (self.partition_number()?, self.directory.parent()) {
            (Some(_), Some(disk)) => Ok(Self {
                directory: disk.to_path_buf(),
            }),
            _ => Err(DiscoveryError::NoPartition(self.directory.clone())),
        }
    }

    /// The partition `number` of this disk, if the kernel knows it.
    pub(super) fn partition(&self, number: u32) -> Result<Option<Self>, DiscoveryError> {
        for directory in children(&self.directory)? {
            let device = Self { directory };
            if device.partition_number()? == Some(number) {
                return Ok(Some(device));
            }
        }
        Ok(None)
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

/// Directories in a directory, links to some included; none if it isn't there.
fn children(directory: &Path) -> Result<Vec<PathBuf>, DiscoveryError> {
    let unreadable = |source| DiscoveryError::Read {
        path: directory.to_path_buf(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

fn read_if_there(path: PathBuf) -> Result<Option<String>, DiscoveryError> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiscoveryError::Read { path, source }),
    }
}
