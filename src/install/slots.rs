//! The `Slots` trait: what an installation needs from the disk. One implementation is real; tests
//! put faults in front of it.

use std::sync::Arc;

use crate::disk::{BlockTarget, BootRisk, DiskError, DummyDisk, OwnDisk, Sealed, SlotDisk, SlotName};
use crate::host::Host;

/// The disk that holds the two slots. Every method blocks, and reads the medium anew.
pub trait Slots: Send + Sync {
    /// The slot that runs, never the one that is written.
    fn running(&self) -> SlotName;

    /// Both copies of the GPT say that the running slot boots without a trial, and it isn't
    /// `target`.
    ///
    /// # Errors
    /// If not, or the medium can't be read.
    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError>;

    /// What could keep the disk from booting one day on the machine that `host` is; of a disk that
    /// only tests have, nothing.
    ///
    /// # Errors
    /// If the medium can't be read, or what the machine says of its start.
    fn boot_risks(&self, _host: &Host) -> Result<Vec<BootRisk>, DiskError> {
        Ok(Vec::new())
    }

    /// Withdraws the update that may wait in the slot, where one can: whoever waits for a reboot into it is told otherwise
    /// first. Then priority 0, tries 0, not successful, in both copies and on the medium.
    ///
    /// # Errors
    /// If either copy can't be written; the slot may then not be touched.
    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError>;

    /// Highest priority, one try, not successful; re-read.
    ///
    /// # Errors
    /// If the medium doesn't say so afterwards.
    fn make_next(&self, slot: SlotName) -> Result<(), DiskError>;

    /// Opens the slot for writing, for us alone.
    ///
    /// # Errors
    /// If something else has it open or mounted.
    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError>;

    /// Opens the slot for us alone, but only to look at it: nothing is changed.
    ///
    /// # Errors
    /// If something else has it open or mounted.
    fn reserve(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.open_target(slot)
    }

    /// Opens the slot for reading.
    ///
    /// # Errors
    /// If it can't be opened.
    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError>;

    /// Makes the slot read-only at block level, as a device that can be mounted.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError>;

    /// The dummy disk in place of the disk, with the slot's partition, for a program that changes its table by
    /// itself; none where the slots are reached by nobody through the disk.
    ///
    /// # Errors
    /// If there can be none.
    fn dummy_disk(&self, _slot: SlotName) -> Result<Option<DummyDisk>, DiskError> {
        Ok(None)
    }

    /// Refuses unless the slot has priority 0 and is not successful, in both copies: no loader takes it,
    /// however many tries it has.
    ///
    /// # Errors
    /// If not, or the medium can't be read.
    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError>;

    /// The disk: nothing beside the slots is written unless it is on it.
    ///
    /// # Errors
    /// If the medium can't be read.
    fn own_disk(&self) -> Result<OwnDisk, DiskError>;
}

impl Slots for SlotDisk {
    fn running(&self) -> SlotName {
        Self::running(self)
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        Self::require_running_good(self, target)
    }

    fn boot_risks(&self, host: &Host) -> Result<Vec<BootRisk>, DiskError> {
        Self::boot_risks(self, host)
    }

    /// A bare disk knows of no update that waits.
    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        Self::make_next(self, slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Self::open_target(self, slot)
    }

    fn reserve(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Self::reserve(self, slot)
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        Self::open_source(self, slot)
    }

    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        Self::seal(self, slot)
    }

    fn dummy_disk(&self, slot: SlotName) -> Result<Option<DummyDisk>, DiskError> {
        Self::dummy_disk(self, slot)
    }

    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        Self::require_unbootable(self, slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        Self::own_disk(self)
    }
}
