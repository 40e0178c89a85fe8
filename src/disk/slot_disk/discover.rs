//! Discovery of a `SlotDisk`: below the mount of `/usr`, or by the node of a slot.

use std::path::PathBuf;

use slots::Guid;

use super::{SlotDisk, read_layout, slot_of};
use crate::disk::command_line;
use crate::disk::discovery::{PartitionOnDisk, RunningPartition, partition_at, running_partition};
use crate::disk::{DiscoveryError, DiskError};
use crate::host::Host;

/// Type of an EFI system partition.
const EFI_SYSTEM: Guid = Guid::new(
    0xc12a_7328,
    0xf81f,
    0x11d2,
    [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
);

impl SlotDisk {
    /// The node of the first EFI system partition of this disk, on which the kernels lie; none if it
    /// has none, or is an image.
    ///
    /// # Errors
    /// When the table or sysfs can't be read.
    pub fn efi_partition(&self) -> Result<Option<PathBuf>, DiskError> {
        let Some(device) = &self.device else {
            return Ok(None);
        };
        let gpt = self.read()?.gpt;
        let mut partitions = gpt.table().partitions();
        let Some(partition) = partitions.find(|partition| partition.kind == EFI_SYSTEM) else {
            return Ok(None);
        };
        let Some(known) = device.partition(partition.number.get())? else {
            return Ok(None);
        };
        let node = known.node()?;
        Ok(Some(self.host.path(&node.to_string_lossy())))
    }

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
