//! From the mount of `/usr` to the disk below it.
//!
//! ```text
//!  /proc/self/mountinfo: /usr ← /dev/mapper/usr      /sys/dev/block/253:0/slaves/ → sda3
//!       (btrfs hides its device number: stat the source)         └ partition: 3, below …/block/sda
//! ```

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use nix::sys::stat::{major, minor};

use super::DiscoveryError;
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

/// Follows the mount of `/usr` through device-mapper to a partition.
pub(super) fn running_partition(host: &Host) -> Result<PartitionOnDisk, DiscoveryError> {
    let path = host.path("/proc/self/mountinfo");
    let mounts = fs::read_to_string(&path).map_err(|source| DiscoveryError::Read { path, source })?;
    let source = source_of_usr(&mounts).ok_or(DiscoveryError::NotMounted)?;
    partition_at(host, &source)
}

/// Follows the device at `node`, a path of the host, through device-mapper to a partition.
pub(super) fn partition_at(host: &Host, node: &str) -> Result<PartitionOnDisk, DiscoveryError> {
    let (major, minor) = device_number(host, node)?;
    let (partition, guard) = BlockDevice::numbered(&host.path("/sys"), major, minor)?.bottom()?;
    let disk = partition.disk()?;
    let number = partition.partition_number().unwrap_or_default();
    let node = disk.node()?;
    Ok(PartitionOnDisk {
        disk: host.path(&node.to_string_lossy()),
        number,
        guard,
    })
}

/// The source of the last mount on `/usr`, the one that is seen.
fn source_of_usr(mountinfo: &str) -> Option<String> {
    let of_usr = |line: &&str| line.split(' ').nth(4) == Some("/usr");
    let line = mountinfo.lines().rfind(of_usr)?;
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').nth(1).map(unescape)
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (escaped, plain)| {
            text.replace(escaped, plain)
        })
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
