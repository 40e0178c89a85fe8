//! Discovery of a `SlotDisk`: below the mount of `/usr`, or by the node of a slot.

use super::{SlotDisk, read_layout, slot_of};
use crate::disk::command_line;
use crate::disk::discovery::{PartitionOnDisk, RunningPartition, partition_at, running_partition};
use crate::disk::{DiscoveryError, DiskError};
use crate::host::Host;

impl SlotDisk {
    /// The disk from which `/usr` is mounted, through device-mapper if need be, and below merged
    /// extensions.
    ///
    /// # Errors
    /// When the mount, the disk or its slots can't be told for sure: mounts of two partitions on
    /// `/usr`, a command line of the kernel that names another one.
    pub fn discover(host: &Host) -> Result<Self, DiskError> {
        let RunningPartition { partition, point } = running_partition(host)?;
        let PartitionOnDisk { number, disk, guard } = partition;
        let (medium, layout) = read_layout(&disk)?;
        let running = slot_of(&layout, number).ok_or_else(|| DiscoveryError::NoSlot {
            number,
            disk: disk.clone(),
        })?;
        command_line::require_agreement(host, point, layout.partition(running))?;
        let found = Self::new(disk, host.clone(), running, layout, &medium)?;
        Ok(Self { guard, ..found })
    }

    /// The disk on which the partition at `node`, a path of the host, is a slot. That slot is the
    /// one to be written to; the other one counts as running, also in a system that runs from
    /// neither.
    ///
    /// # Errors
    /// [`DiskError::NoSlot`], [`DiskError::Running`] if that is what runs, or why disk or slots
    /// can't be told.
    pub fn for_target(host: &Host, node: &str) -> Result<Self, DiskError> {
        let found = partition_at(host, node)?;
        let (medium, layout) = read_layout(&found.disk)?;
        let target = slot_of(&layout, found.number).ok_or_else(|| DiskError::NoSlot { path: node.into() })?;
        match running_partition(host) {
            Ok(running) if running.partition.is_same(&found) => return Err(DiskError::Running(target)),
            Ok(RunningPartition { partition, point })
                if partition.disk == found.disk && slot_of(&layout, partition.number).is_some() =>
            {
                command_line::require_agreement(host, point, layout.partition(!target))?;
            }
            Err(error @ DiscoveryError::Several { .. }) => return Err(error.into()),
            // The program of an image may be run by a system that is none.
            Ok(_) | Err(_) => {}
        }
        let disk = found.disk;
        Self::new(disk, host.clone(), !target, layout, &medium)
    }
}
