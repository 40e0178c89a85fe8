//! The disk's slots for an installation: a waiting update is withdrawn before the other slot
//! becomes unbootable.

use std::fs::File;
use std::io;
use std::sync::Arc;

use nix::fcntl::Flock;

use super::machine::{Machine, drop_other_extensions};
use super::pending_reboot::forget;
use super::staged_slot::StagedSlot;
use super::update_history::UpdateHistory;
use crate::disk::{BlockTarget, BootRisk, DiskError, DummyDisk, OwnDisk, Sealed, SlotDisk, SlotName};
use crate::host::Host;
use crate::install::Slots;

/// The disk's slots, when an update may wait in the other one: before that slot is made unbootable,
/// the update is withdrawn.
///
/// The disk's lock is tried first: while another program has it, nothing is given up. Then the lock of
/// whoever activates a staged update, which is kept up to the third step: nobody makes a slot bootable
/// that is about to be written. Then, in this order, and what a cut between leaves behind (after a power
/// cut there are no such files at all):
/// -  the record of a staged update, which may lie in the slot: unbootable already, and unknown from
///    then on;
/// 0. what the slot holds is forgotten, if it is to be written: a whole slot of unknown version,
///    never one of a wrong version. Before this the attempt may still be refused, and whatever the
///    slot holds stays known;
/// 1. the marker: a daemon that is started anew is idle, and the slot still boots next, whole and
///    verified;
/// 2. the request for a reboot: nobody reboots for the slot's sake any more. Before this, somebody
///    does, into a whole slot;
/// 3. the slot, in both copies of the table: the running one boots, which was found good before;
/// 4. if nothing is to be written, extensions of the slot's version: without that, they go with the
///    next update.
///
/// The other way round, a daemon that is started anew would wait for a reboot into a slot that
/// doesn't boot.
///
/// Where a rollback by hand is withdrawn, both slots are good, and the third step puts the running
/// one first instead. After it the record takes back that this one was left; a cut before that
/// leaves it to the next start, which marks the running slot good and takes it back then.
pub(super) struct WithdrawableSlots {
    pub(super) disk: SlotDisk,
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) staged: Arc<StagedSlot>,
}

impl WithdrawableSlots {
    /// See [`SlotControl::withdraw`](super::slot_control::SlotControl::withdraw).
    pub(super) fn withdraw(&self) -> Result<(), DiskError> {
        let other = !self.disk.running();
        self.disk.require_running_good(other)?;
        let attributes = self.disk.attributes(other)?;
        if attributes.is_successful() || !attributes.is_selectable() {
            self.forget_staged(other)?;
            self.forget_pending_reboot(other)?;
            // A rollback has put it first.
            self.disk.mark_good()?;
            return Ok(());
        }
        self.disk.require_lock()?;
        let _activation = self.keep_activation_off(other)?;
        self.forget_staged(other)?;
        self.forget_pending_reboot(other)?;
        self.disk.make_unbootable(other)?;
        drop_other_extensions(&self.machine, !other);
        tracing::info!("{other} is withdrawn: it does not boot");
        Ok(())
    }

    /// Whoever activates the staged update has looked at record and hold, and may be about to write the
    /// table: it is waited for. What it has activated becomes unbootable again; one that comes later
    /// finds no record.
    fn keep_activation_off(&self, slot: SlotName) -> Result<Option<Flock<File>>, DiskError> {
        let locked = self.staged.lock_if_kept();
        locked.map_err(|source| DiskError::Announced {
            slot,
            source: io::Error::other(source),
        })
    }

    /// Also of one that was activated the server may be told by its record.
    fn forget_staged(&self, slot: SlotName) -> Result<(), DiskError> {
        let forgotten = self.staged.try_forget();
        forgotten.map_err(|source| DiskError::Announced {
            slot,
            source: io::Error::other(source),
        })
    }

    fn forget_pending_reboot(&self, slot: SlotName) -> Result<(), DiskError> {
        forget(self.machine.host()).map_err(|source| DiskError::Announced { slot, source })
    }
}

impl Slots for WithdrawableSlots {
    fn running(&self) -> SlotName {
        self.disk.running()
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.disk.require_running_good(target)
    }

    fn boot_risks(&self, host: &Host) -> Result<Vec<BootRisk>, DiskError> {
        self.disk.boot_risks(host)
    }

    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.require_lock()?;
        let _activation = self.keep_activation_off(slot)?;
        self.forget_staged(slot)?;
        self.history.forget_contents(&self.disk, slot);
        self.forget_pending_reboot(slot)?;
        self.disk.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.make_next(slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_target(slot)
    }

    fn reserve(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.reserve(slot)
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_source(slot)
    }

    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        self.disk.seal(slot)
    }

    fn dummy_disk(&self, slot: SlotName) -> Result<Option<DummyDisk>, DiskError> {
        self.disk.dummy_disk(slot)
    }

    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.require_unbootable(slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        self.disk.own_disk()
    }
}
