//! The hold on a slot that is staged, and the dummy disk for the image's own program.

use super::{SlotAccess, SlotDisk};
use crate::disk::{DiskError, DummyDisk, HeldSlot, PairError, Sealed, SlotName, per_slot};
use crate::host::Host;

impl SlotDisk {
    /// `slot`, exclusively and read-only at block level, until that is dropped. Also held by nobody
    /// if it lies in an image.
    ///
    /// # Errors
    /// [`DiskError::Busy`] when somebody else has it, [`DiskError::Seal`] if the kernel refuses.
    pub fn hold(&self, slot: SlotName) -> Result<HeldSlot, DiskError> {
        self.refuse_running(slot)?;
        match self.access(slot)? {
            SlotAccess::Node(path) => {
                let seal = Sealed::partition(&path).map_err(|source| DiskError::Seal { path, source })?;
                Ok(HeldSlot::new(self.reserve(slot)?, Some(seal)))
            }
            SlotAccess::Window(_) => Ok(HeldSlot::new(self.open_source(slot)?, None)),
        }
    }

    /// The extra partition at `path` of `host`, likewise.
    ///
    /// # Errors
    /// It isn't there, is in use, or is no partition of this disk.
    pub fn hold_extra_partition(&self, host: &Host, path: &str) -> Result<HeldSlot, PairError> {
        per_slot::hold(host, path, &self.own_disk().map_err(Box::new)?)
    }

    /// A dummy disk in place of this one, with the partition of `slot`, for programs that change the table by
    /// themselves; none of an image, whose slots are reached by nobody through it.
    ///
    /// # Errors
    /// [`DiskError::DummyDisk`].
    pub fn dummy_disk(&self, slot: SlotName) -> Result<Option<DummyDisk>, DiskError> {
        if self.device.is_none() {
            return Ok(None);
        }
        let partition = self.layout.partition(slot);
        // A checked partition: it lies within 64 bits of bytes.
        let start = partition.first_lba * self.sector_bytes;
        let place = (partition.number.get(), start, self.slot_len(slot));
        let dummy = DummyDisk::of(&self.host, &self.disk, place);
        dummy.map(Some).map_err(|source| DiskError::DummyDisk {
            disk: self.disk.clone(),
            source,
        })
    }
}
