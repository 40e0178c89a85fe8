//! Control of the slots: every change of the partition table but an installation's own, with the
//! records that go with it.

use std::sync::Arc;

use ::slots::SlotAttributes;

use super::attempt_history::AttemptHistory;
use super::machine::{Machine, drop_other_extensions};
use super::staged_slot::{StagedSlot, WithdrawError};
use super::update_history::{RememberError, UpdateHistory};
use super::withdrawable_slots::WithdrawableSlots;
use crate::disk::{DiskError, GivenUp, Marked, SlotDisk, SlotName, WentBack};
use crate::engine::{BootsNext, Fallback, SlotError};
use crate::health::Cause;
use crate::journal::MessageId;
use crate::journal::chain;
use crate::trial_deadline::disarm_or_warn;

/// What is done to the slots by order, or because of a trial. The disk is found anew for each use.
pub(super) struct SlotControl {
    machine: Arc<Machine>,
    history: Arc<UpdateHistory>,
    attempts: Arc<AttemptHistory>,
    staged: Arc<StagedSlot>,
}

/// Why the other slot doesn't boot next.
#[derive(Debug, thiserror::Error)]
pub(super) enum RollbackError {
    /// Nothing says that it is whole and was healthy once.
    #[error(
        "{slot} is not marked good ({attributes}): it never was, or an installation has begun to write it"
    )]
    NeverGood {
        slot: SlotName,
        attributes: SlotAttributes,
    },
    /// It could not boot.
    #[error("{0}")]
    NoKernel(String),
    /// The slots can't be read or written.
    #[error("the slots can't be read or written")]
    Disk(#[from] DiskError),
    /// What is left would be installed again.
    #[error("the rollback can't be remembered")]
    Remember(#[from] RememberError),
}

impl From<RollbackError> for SlotError {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::NeverGood { .. } | RollbackError::NoKernel(_) => Self::Unfit(chain(&error)),
            RollbackError::Disk(_) | RollbackError::Remember(_) => Self::io(&error),
        }
    }
}

impl SlotControl {
    pub(super) fn new(
        machine: &Arc<Machine>,
        history: &Arc<UpdateHistory>,
        attempts: &Arc<AttemptHistory>,
        staged: &Arc<StagedSlot>,
    ) -> Self {
        Self {
            machine: Arc::clone(machine),
            history: Arc::clone(history),
            attempts: Arc::clone(attempts),
            staged: Arc::clone(staged),
        }
    }

    /// The slots for an installation, which may make the other one unbootable.
    pub(super) fn for_installation(&self) -> Result<WithdrawableSlots, DiskError> {
        Ok(WithdrawableSlots {
            disk: self.machine.disk()?,
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            staged: Arc::clone(&self.staged),
        })
    }

    /// Which slot the loader takes at the next boot.
    pub(super) fn boots_next(&self) -> BootsNext {
        let found = self.machine.disk().and_then(|disk| boots_next(&disk));
        found.unwrap_or_default()
    }

    /// Makes the running slot good, and the first choice of the loader; what would end a hang is
    /// disarmed before.
    pub(super) fn mark_running_good(&self, disk: &SlotDisk) -> Result<(), DiskError> {
        disarm_or_warn(self.machine.host());
        let running = disk.running();
        match self.staged.unless_activated(disk, || disk.mark_good())? {
            None => tracing::info!("{running} is good already, and the staged update boots next"),
            Some(Marked::Written) => tracing::info!(
                MESSAGE_ID = MessageId::MarkedGood.id(),
                UPDATE_SLOT = %running,
                "{running} is marked good"
            ),
            Some(Marked::Already) => tracing::debug!("{running} was good already"),
        }
        self.remember_running_kept(disk);
        Ok(())
    }

    /// The running slot is good: what it holds is kept.
    fn remember_running_kept(&self, disk: &SlotDisk) {
        match partuuid(disk, disk.running()) {
            Ok(running) => {
                self.history.remember_kept(&running);
                self.attempts.settle();
            }
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
    }

    /// The staged update is not wanted, and so are extensions of its version.
    ///
    /// # Errors
    /// [`WithdrawError`].
    pub(super) fn unstage(&self) -> Result<(), WithdrawError> {
        let withdrawn = self.staged.withdraw();
        if withdrawn.is_err() {
            self.attempts.settle();
            return withdrawn;
        }
        if let Err(error) = self.clear_unbootable() {
            tracing::warn!("extensions of no slot may be left: {}", chain(&error));
        }
        self.attempts.settle();
        withdrawn
    }

    /// What goes with the other slot goes, if that doesn't boot: one that was marked good meanwhile is
    /// what the node falls back to.
    fn clear_unbootable(&self) -> Result<(), DiskError> {
        let disk = self.machine.disk()?;
        let other = !disk.running();
        if !disk.attributes(other)?.is_selectable() {
            drop_other_extensions(&self.machine, disk.running());
        }
        Ok(())
    }

    /// The marker is gone. Where the running slot boots next and is good, it isn't left any more,
    /// and what it holds is not blocked.
    pub(super) fn remember_no_longer_waiting(&self) {
        let staying = self.machine.disk().and_then(|disk| {
            let stays =
                boots_next(&disk)? == BootsNext::Running && disk.attributes(disk.running())?.is_good();
            Ok(stays.then_some(disk))
        });
        match staying {
            Ok(Some(disk)) => self.remember_running_kept(&disk),
            Ok(None) => self.attempts.settle(),
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                self.attempts.settle();
            }
        }
    }

    /// Makes the other slot unbootable if it is still to be tried. One that was marked good is what
    /// the node falls back to, and one that was tried is what a rollback is told from: there the
    /// running slot goes first again, and that is all.
    ///
    /// # Errors
    /// If the running slot isn't good, or files or table can't be changed.
    pub(super) fn withdraw(&self) -> Result<(), DiskError> {
        let slots = self.for_installation()?;
        slots.withdraw()?;
        self.remember_running_kept(&slots.disk);
        Ok(())
    }

    /// Makes the other slot the next to boot; gives the version in it, empty if unknown.
    ///
    /// Order of writes, and what a cut between leaves behind:
    /// 1. the record: the running slot's payload is not installed again by itself. The slot still
    ///    boots; once it is marked good after the next start, that is taken back;
    /// 2. the table, backup before primary: the loader takes one slot or the other, and both are
    ///    good;
    /// 3. the marker (the engine's next effect). Without it a daemon that is started anew marks the
    ///    running slot good, which puts it first again: as if nobody had asked.
    pub(super) fn roll_back(&self) -> Result<String, RollbackError> {
        let disk = self.machine.disk()?;
        let slot = !disk.running();
        let attributes = disk.attributes(slot)?;
        if !attributes.is_successful() {
            return Err(RollbackError::NeverGood { slot, attributes });
        }
        if let Some(reason) = self.machine.missing_kernel(slot) {
            return Err(RollbackError::NoKernel(reason));
        }
        self.history.remember_leaving(&disk)?;
        match disk.go_back()? {
            WentBack::OtherIsNext => tracing::info!("{slot} boots next, by order"),
            WentBack::NeverGood(attributes) => return Err(RollbackError::NeverGood { slot, attributes }),
        }
        Ok(self.history.version_of_other().unwrap_or_default())
    }

    /// Takes the running slot's last try from it because of `cause`; gives why it stays, or nothing
    /// if the other slot boots next. The cause is recorded before.
    pub(super) fn give_up_running(&self, cause: &Cause) -> Result<Option<Fallback>, DiskError> {
        let disk = self.machine.disk()?;
        if disk.attributes(disk.running())?.is_successful() {
            return Ok(Some(Fallback::GoodAfterAll));
        }
        if let Some(reason) = self.nowhere_to_go(&disk)? {
            return Ok(Some(Fallback::Stays(format!(
                "{}; it stays, since {reason}",
                cause.summary()
            ))));
        }
        self.history.remember_given_up(&disk, cause);
        Ok(match disk.give_up()? {
            GivenUp::NoTryLeft => None,
            GivenUp::IsGood => {
                self.remember_running_kept(&disk);
                Some(Fallback::GoodAfterAll)
            }
        })
    }

    /// Why the running slot can't be left for the other one, if it can't.
    pub(super) fn no_way_back(&self) -> Option<String> {
        let found = self.machine.disk().and_then(|disk| self.nowhere_to_go(&disk));
        found.unwrap_or_else(|error| Some(chain(&error)))
    }

    /// Why the other slot can't take over, if it can't.
    fn nowhere_to_go(&self, disk: &SlotDisk) -> Result<Option<String>, DiskError> {
        let other = !disk.running();
        let attributes = disk.attributes(other)?;
        if !attributes.is_good() {
            return Ok(Some(format!("{other} is not good ({attributes})")));
        }
        Ok(self.machine.missing_kernel(other))
    }
}

/// Which slot the loader takes at the next boot.
fn boots_next(disk: &SlotDisk) -> Result<BootsNext, DiskError> {
    Ok(match disk.boots_next()? {
        None => BootsNext::Unknown,
        Some(slot) if slot == disk.running() => BootsNext::Running,
        Some(_) => BootsNext::Other,
    })
}

/// The PARTUUID of a slot.
pub(super) fn partuuid(disk: &SlotDisk, slot: SlotName) -> Result<String, DiskError> {
    let rows = disk.table()?;
    let row = rows.into_iter().find(|row| row.slot == slot);
    // The table has a row for each slot.
    Ok(row.map(|row| row.partuuid).unwrap_or_default())
}
