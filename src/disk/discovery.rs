//! Discovery of the slots' disk: from the mount that holds the system's programs down to the whole
//! disk.
//!
//! ```text
//!  /proc/self/mountinfo: /usr ← /dev/mapper/usr      /sys/dev/block/253:0/slaves/ → sda3
//!   (overlays aside; btrfs hides its device number:     └ partition: 3, below …/block/sda
//!    stat the source)
//! ```
//! The table is the process's own. The daemon's unit has a mount namespace of its own, in which
//! `/usr` may be bound to itself: mounts of the system arrive in it below that, and the slot's
//! mount is the lowest in both. PID 1's table can't be read without the right to trace it.
//!
//! All that is mounted on `/usr`, overlays aside, must be of one partition: else nobody can say
//! which slot runs, and none is written. The kernel's command line has to agree as well:
//! [`super::command_line`].

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use nix::sys::stat::{major, minor};

use super::DiscoveryError;
use super::mountinfo::{Mount, MountTable};
use super::sysfs::{BlockDevice, Guard};
use crate::host::Host;

/// A partition and its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionOnDisk {
    /// Node of the disk, below the host's root.
    pub(super) disk: PathBuf,
    /// Number of the partition.
    pub(super) number: u32,
    /// What guards its bytes.
    pub(super) guard: Guard,
}

impl PartitionOnDisk {
    /// Whether this is the same partition, whichever way it was reached.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.disk, self.number) == (&other.disk, other.number)
    }
}

/// The partition that holds the running system's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunningPartition {
    pub(super) partition: PartitionOnDisk,
    /// Where it is mounted: `/usr`, or `/` if that holds `/usr`.
    pub(super) point: &'static str,
}

/// The directories that the overlay called `source` at `point` shows, the topmost first; nothing if
/// there is none. systemd calls its merges `sysext` and `confext`.
///
/// # Errors
/// If the mount table can't be read or understood.
pub fn overlay_layers(
    host: &Host,
    point: &str,
    source: &str,
) -> Result<Option<Vec<PathBuf>>, DiscoveryError> {
    let path = host.path("/proc/self/mountinfo");
    match fs::read(&path) {
        Ok(table) => Ok(MountTable::parse(&table)?.overlay_layers(point, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiscoveryError::Read { path, source }),
    }
}

/// Follows the mount that holds `/usr` through device-mapper to a partition.
pub(super) fn running_partition(host: &Host) -> Result<RunningPartition, DiscoveryError> {
    let path = host.path("/proc/self/mountinfo");
    let table = fs::read(&path).map_err(|source| DiscoveryError::Read { path, source })?;
    let table = MountTable::parse(&table)?;
    let system = table.system()?;
    let mut found = Vec::new();
    for &mount in &system.seen {
        found.push((mount, partition_of(host, mount)?));
    }
    for &mount in &system.hidden {
        match partition_of(host, mount) {
            // Of no device: nobody could take it for a slot.
            Err(DiscoveryError::NoDevice(_)) => {}
            partition => found.push((mount, partition?)),
        }
    }
    let mut found = found.into_iter();
    let (first, partition) = found.next().ok_or(DiscoveryError::NotMounted)?;
    match found.find(|(_, other)| !other.is_same(&partition)) {
        Some((second, _)) => Err(DiscoveryError::Several {
            point: system.point,
            first: first.source_text(),
            second: second.source_text(),
        }),
        None => Ok(RunningPartition {
            partition,
            point: system.point,
        }),
    }
}

fn partition_of(host: &Host, mount: &Mount) -> Result<PartitionOnDisk, DiscoveryError> {
    let (major, minor) = device_below(host, mount)?;
    partition(host, major, minor)
}

/// Follows the device at `node`, a path of the host, through device-mapper to a partition.
pub(super) fn partition_at(host: &Host, node: &str) -> Result<PartitionOnDisk, DiscoveryError> {
    let (major, minor) = device_number(host, node)?;
    partition(host, major, minor)
}

fn partition(host: &Host, major: u64, minor: u64) -> Result<PartitionOnDisk, DiscoveryError> {
    let (partition, guard) = BlockDevice::numbered(&host.path("/sys"), major, minor)?.bottom()?;
    let disk = partition.disk()?;
    let number = partition.partition_number()?.unwrap_or_default();
    let node = disk.node()?;
    Ok(PartitionOnDisk {
        disk: host.path(&node.to_string_lossy()),
        number,
        guard,
    })
}

/// The device that is mounted, by its number: names may lead elsewhere by now. Where the file
/// system hides the number, the name is all there is.
pub(super) fn device_below(host: &Host, mount: &Mount) -> Result<(u64, u64), DiscoveryError> {
    let (major, minor) = mount.device;
    if major != 0 && BlockDevice::is_known(&host.path("/sys"), major, minor)? {
        return Ok((major, minor));
    }
    let no_device = || DiscoveryError::NoDevice(mount.source_text());
    let source = mount.source_path().and_then(|path| path.to_str());
    match device_number(host, source.ok_or_else(no_device)?) {
        // A file system without a device may call its source what it likes.
        Err(DiscoveryError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(no_device())
        }
        number => number,
    }
}

fn device_number(host: &Host, source: &str) -> Result<(u64, u64), DiscoveryError> {
    if !source.starts_with('/') {
        return Err(DiscoveryError::NoDevice(source.to_owned()));
    }
    let path = host.path(source);
    let metadata = fs::metadata(&path).map_err(|source| DiscoveryError::Read { path, source })?;
    if !metadata.file_type().is_block_device() {
        return Err(DiscoveryError::NoDevice(source.to_owned()));
    }
    Ok((major(metadata.rdev()), minor(metadata.rdev())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
