//! The disk that holds the running slot.

use std::path::Path;
use std::sync::Arc;

use slots::SlotAttributes;

use super::{BlockTarget, DiskError, Sealed, SlotName};
use crate::host::Host;

/// What [`SlotDisk::mark_good`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nothing had to be written.
    Already,
    /// The attributes were written and read back.
    Written,
}

/// One slot as it stands in the partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// Which slot.
    pub slot: SlotName,
    /// Number of its partition, from 1.
    pub partition: u32,
    /// PARTUUID, lower case, with dashes.
    pub partuuid: String,
    /// Priority, tries, successful.
    pub attributes: SlotAttributes,
}

/// The disk holding the running slot: its partition table and both slots.
#[derive(Debug)]
pub struct SlotDisk {
    running: SlotName,
}

#[allow(clippy::unused_self, reason = "bodies follow")]
impl SlotDisk {
    /// The disk from which `/usr` is mounted, through device-mapper if need be.
    ///
    /// # Errors
    /// When the mount, the disk or its slots can't be told for sure.
    pub fn discover(host: &Host) -> Result<Self, DiskError> {
        Err(DiskError::Missing(host.path("/usr")))
    }

    /// A disk image or a device named by the operator.
    ///
    /// # Errors
    /// When it can't be read or doesn't hold the slots.
    pub fn open(disk: &Path, running: SlotName) -> Result<Self, DiskError> {
        let _ = running;
        Err(DiskError::Missing(disk.to_path_buf()))
    }

    /// The slot this system runs from.
    #[must_use]
    pub fn running(&self) -> SlotName {
        self.running
    }

    /// Attributes of `slot`, read from the medium.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn attributes(&self, slot: SlotName) -> Result<SlotAttributes, DiskError> {
        Err(DiskError::Unknown(slot))
    }

    /// Both slots as they stand in the table now, A first.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn table(&self) -> Result<Vec<SlotRow>, DiskError> {
        Ok(Vec::new())
    }

    /// Marks the running slot good: successful, no tries, alone at the highest priority.
    ///
    /// # Errors
    /// When the table can't be read or written.
    pub fn mark_good(&self) -> Result<Marked, DiskError> {
        Err(DiskError::Unknown(self.running))
    }

    /// Refuses unless the running slot is good in both copies of the table and isn't `target`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        Err(DiskError::Unknown(target))
    }

    /// Priority 0, tries 0, not successful; in both copies and on the medium when this returns.
    ///
    /// # Errors
    /// After an error the slot may still be selectable: don't write to it.
    pub fn make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        Err(DiskError::Unknown(slot))
    }

    /// Highest priority alone, one try, not successful; verified by re-reading.
    ///
    /// # Errors
    /// When the table can't be read or written, or reads back differently.
    pub fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        Err(DiskError::Unknown(slot))
    }

    /// Length of `slot` in bytes.
    #[must_use]
    pub fn slot_len(&self, slot: SlotName) -> u64 {
        let _ = slot;
        0
    }

    /// `slot` for writing, exclusively.
    ///
    /// # Errors
    /// When somebody else uses it, or it is the running slot.
    pub fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Err(DiskError::Unknown(slot))
    }

    /// `slot` for reading.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Err(DiskError::Unknown(slot))
    }

    /// Makes `slot` read-only at block level and gives the node to mount.
    ///
    /// # Errors
    /// When the device or a loop device can't be set up.
    pub fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        Err(DiskError::Unknown(slot))
    }
}
