//! Edits of the partition table: attributes of slots, through the ordered commit of [`slots::Gpt`].

use std::fs::File;
use std::io;
use std::sync::PoisonError;

use slots::{Committed, SlotAttributes, Table, Tries, WhichCopy, is_alone_at_the_top, prioritize};

use super::{Medium, SlotDisk, TableView, cannot_open};
use crate::disk::lock::{LockOutcome, lock};
use crate::disk::slot::{Layout, candidates};
use crate::disk::{DiskError, LayoutError, SlotName};
use crate::journal::MessageId;

/// What [`SlotDisk::mark_good`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nothing had to be written.
    Already,
    /// The attributes were written and read back, or a damaged copy of the table repaired.
    Written,
}

/// What [`SlotDisk::go_back`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WentBack {
    /// The other slot boots next; the running one is selectable behind it.
    OtherIsNext,
    /// The other slot was never marked good, or an installation has touched it since: nothing was
    /// changed.
    NeverGood(SlotAttributes),
}

/// What [`SlotDisk::give_up`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The running slot boots no more, unless the other one doesn't either.
    NoTryLeft,
    /// It is marked good: nothing was changed.
    IsGood,
}

/// What is done where somebody else keeps the disk locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locked {
    /// Nothing: it can wait.
    Refuse,
    /// All the same: a tool that hangs must not cost the running slot.
    GoOn,
}

impl SlotDisk {
    /// Marks the running slot good: successful, no tries, alone at the highest priority. Repairs a
    /// damaged copy of the table.
    ///
    /// # Errors
    /// When the table can't be read or written.
    pub fn mark_good(&self) -> Result<Marked, DiskError> {
        let committed = self.edit(self.running, Locked::GoOn, |slots, running| {
            slots[running] = slots[running].marked_good();
            if !is_alone_at_the_top(slots, running) {
                prioritize(slots, running);
            }
        })?;
        Ok(match committed {
            Committed::Unchanged => Marked::Already,
            Committed::Repaired | Committed::Written => Marked::Written,
        })
    }

    /// Refuses unless the running slot can be fallen back on, says both copies of the table, and
    /// isn't `target`. Copies that are damaged or differ are repaired first: whoever can't write
    /// both must not touch the other slot.
    ///
    /// # Errors
    /// [`DiskError::Running`], [`DiskError::NotGood`], or why the table can't be read or repaired.
    pub fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.refuse_running(target)?;
        let mut found = self.read()?;
        if !found.gpt.is_sound() {
            self.edit(self.running, Locked::Refuse, |_, _| ())?;
            found = self.read()?;
        }
        for copy in [WhichCopy::Primary, WhichCopy::Backup] {
            let table = found
                .gpt
                .copy(copy)
                .map_err(|_| self.failed(slots::GptError::NotStored(copy)))?;
            self.require_good_in(table, copy)?;
        }
        Ok(())
    }

    fn require_good_in(&self, table: &Table, copy: WhichCopy) -> Result<(), DiskError> {
        let layout = Layout::find(table);
        let layout = layout.map_err(|source| DiskError::Layout {
            disk: self.disk.clone(),
            source,
        })?;
        let (slot, attributes) = (self.running, layout.partition(self.running).attributes);
        if attributes.is_good() {
            Ok(())
        } else {
            Err(DiskError::NotGood {
                slot,
                copy,
                attributes,
            })
        }
    }

    /// Refuses unless `slot` has priority 0 and is not successful, say both copies of the table.
    ///
    /// # Errors
    /// [`DiskError::Bootable`], or why the table can't be read.
    pub fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        let found = self.read()?;
        for copy in [WhichCopy::Primary, WhichCopy::Backup] {
            let table = found
                .gpt
                .copy(copy)
                .map_err(|_| self.failed(slots::GptError::NotStored(copy)))?;
            let layout = Layout::find(table);
            let layout = layout.map_err(|source| DiskError::Layout {
                disk: self.disk.clone(),
                source,
            })?;
            let attributes = layout.partition(slot).attributes;
            if attributes.priority().get() != 0 || attributes.is_successful() {
                return Err(DiskError::Bootable {
                    slot,
                    copy,
                    attributes,
                });
            }
        }
        Ok(())
    }

    /// Leaves the running slot no try, unless it is marked good by now; says whether it did.
    ///
    /// # Errors
    /// When the table can't be read or written.
    pub fn give_up(&self) -> Result<GivenUp, DiskError> {
        let mut outcome = GivenUp::NoTryLeft;
        self.edit(self.running, Locked::GoOn, |slots, running| {
            if slots[running].is_successful() {
                outcome = GivenUp::IsGood;
            } else {
                slots[running] = slots[running].on_trial(Tries::NONE);
            }
        })?;
        Ok(outcome)
    }

    /// Puts the other slot before the running one, if it is marked good. An installation takes that
    /// mark away before it writes the slot's first byte, so that a slot which has it is whole and
    /// was healthy once.
    ///
    /// # Errors
    /// When the running slot isn't good in both copies, or the table can't be read or written.
    pub fn go_back(&self) -> Result<WentBack, DiskError> {
        let target = !self.running;
        self.require_running_good(target)?;
        let mut outcome = WentBack::OtherIsNext;
        self.edit(target, Locked::Refuse, |slots, other| {
            if slots[other].is_successful() {
                slots[other] = slots[other].marked_good();
                prioritize(slots, other);
            } else {
                outcome = WentBack::NeverGood(slots[other]);
            }
        })?;
        Ok(outcome)
    }

    /// Priority 0, tries 0, not successful; in both copies and on the medium when this returns.
    ///
    /// # Errors
    /// After an error the slot may still be selectable: don't write to it.
    pub fn make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.refuse_running(slot)?;
        self.edit(slot, Locked::Refuse, |slots, index| {
            slots[index] = slots[index].unbootable();
        })?;
        Ok(())
    }

    /// Highest priority alone, one try, not successful; verified by re-reading.
    ///
    /// # Errors
    /// When the table can't be read or written, or reads back differently: the slot may or may not
    /// be next.
    pub fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.refuse_running(slot)?;
        self.edit(slot, Locked::Refuse, |slots, index| {
            slots[index] = slots[index].on_trial(Tries::ONE);
            prioritize(slots, index);
        })?;
        Ok(())
    }

    /// Whether the table can be edited now, as far as the disk's lock goes: to be asked before
    /// anything else is given up for an edit. Waits as an edit does.
    ///
    /// # Errors
    /// [`DiskError::Locked`] while somebody else has the lock, or if the disk can't be opened or
    /// locked.
    pub fn require_lock(&self) -> Result<(), DiskError> {
        let _one_at_a_time = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock(Locked::Refuse).map(drop)
    }

    /// Reads the table, lets `change` edit the attributes of everything a loader chooses from
    /// (`slot` being at the given index), and commits. The disk is locked meanwhile.
    fn edit(
        &self,
        slot: SlotName,
        locked: Locked,
        change: impl FnOnce(&mut [SlotAttributes], usize),
    ) -> Result<Committed, DiskError> {
        // The lock guards no data that a panic could leave half-changed.
        let _one_at_a_time = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut medium = self.lock(locked)?;
        let TableView { gpt, layout } = self.find(&mut medium)?;
        let mut table = gpt.table().clone();
        let (numbers, mut attributes) = candidates(&table);
        let own = layout.partition(slot).number;
        let flawed = |source: LayoutError| DiskError::Layout {
            disk: self.disk.clone(),
            source,
        };
        let index = numbers.iter().position(|&number| number == own);
        let index = index.ok_or_else(|| flawed(LayoutError::NoSlot(slot)))?;
        change(&mut attributes, index);
        for (number, attributes) in numbers.into_iter().zip(attributes) {
            table
                .set_attributes(number, attributes)
                .map_err(|flaw| flawed(flaw.into()))?;
        }
        self.commit(&mut medium, &gpt, &table)
    }

    /// The disk for editing, and its lock, which goes with it.
    fn lock(&self, locked: Locked) -> Result<Medium, DiskError> {
        let failed = |source: io::Error| cannot_open(&self.disk, source);
        let file = File::options().read(true).write(true).open(&self.disk);
        let asked = lock(file.map_err(failed)?, &self.host, self.patience).map_err(failed)?;
        let (file, refusal) = match asked {
            LockOutcome::Held(file) => return Medium::measured(file).map_err(failed),
            LockOutcome::TimedOut(file, holder) => {
                let (disk, waited) = (self.disk.clone(), self.patience);
                (file, DiskError::Locked { disk, holder, waited })
            }
            LockOutcome::Impossible(file, source) => {
                let disk = self.disk.clone();
                (file, DiskError::Unlockable { disk, source })
            }
        };
        if locked == Locked::Refuse {
            return Err(refusal);
        }
        tracing::warn!("{refusal}: the running slot's attributes are written all the same");
        Medium::measured(file).map_err(failed)
    }

    fn commit(&self, medium: &mut Medium, gpt: &slots::Gpt, table: &Table) -> Result<Committed, DiskError> {
        let committed = gpt.commit(medium, table).map_err(|source| self.failed(source))?;
        tracing::debug!(disk = %self.disk.display(), ?committed, "partition table");
        if !gpt.is_sound() {
            tracing::warn!(
                MESSAGE_ID = MessageId::TableRepaired.id(),
                "{}: a copy of the partition table was damaged or differed; it was written anew",
                self.disk.display()
            );
        }
        Ok(committed)
    }

    fn failed(&self, source: slots::GptError<std::io::Error>) -> DiskError {
        DiskError::Gpt {
            disk: self.disk.clone(),
            source,
        }
    }
}
