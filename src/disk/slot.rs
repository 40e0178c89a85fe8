//! The two slots: their names, and their partitions in a table.

use std::fmt;
use std::ops::Not;

use slots::{Guid, LayoutFlaw, Partition, PartitionNumber, SlotAttributes, Table};

/// One of the two slots. `!slot` is the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlotName {
    /// USR-A.
    A,
    /// USR-B.
    B,
}

impl SlotName {
    /// Lower-case letter, as in `vmlinuz-a`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl Not for SlotName {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "USR-A",
            Self::B => "USR-B",
        })
    }
}

/// The two slots of a disk: partitions of Flatcar's USR type, told apart by label or PARTUUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    a: Partition,
    b: Partition,
}

impl Layout {
    /// The slots in `table`; each must be there once, inside the disk, overlapping nothing.
    pub(super) fn find(table: &Table) -> Result<Self, LayoutError> {
        Ok(Self {
            a: only(table, SlotName::A)?,
            b: only(table, SlotName::B)?,
        })
    }

    pub(super) fn partition(&self, slot: SlotName) -> &Partition {
        match slot {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }

    /// The slot that is partition `number`.
    pub(super) fn slot_of(&self, number: PartitionNumber) -> Option<SlotName> {
        [SlotName::A, SlotName::B]
            .into_iter()
            .find(|&slot| self.partition(slot).number == number)
    }

    /// Whether `slot` is the same partition at the same place; attributes may differ.
    pub(super) fn same_place(&self, other: &Self, slot: SlotName) -> bool {
        let place = |p: &Partition| (p.number, p.guid, p.first_lba, p.last_lba);
        place(self.partition(slot)) == place(other.partition(slot))
    }
}

/// Numbers and attributes of everything that a loader chooses from, in its order.
pub(super) fn candidates(table: &Table) -> (Vec<PartitionNumber>, Vec<SlotAttributes>) {
    let slots = table
        .partitions()
        .filter(|partition| partition.kind == Guid::FLATCAR_USR);
    slots
        .map(|partition| (partition.number, partition.attributes))
        .unzip()
}

fn only(table: &Table, slot: SlotName) -> Result<Partition, LayoutError> {
    let mut found = table
        .partitions()
        .filter(|p| p.kind == Guid::FLATCAR_USR && is(p, slot));
    let first = found.next().ok_or(LayoutError::NoSlot(slot))?;
    if let Some(second) = found.next() {
        return Err(LayoutError::TwoSlots {
            slot,
            first: first.number,
            second: second.number,
        });
    }
    if is(&first, !slot) {
        return Err(LayoutError::BothSlots(first.number));
    }
    Ok(table.slot(first.number)?)
}

fn is(partition: &Partition, slot: SlotName) -> bool {
    let (label, guid) = match slot {
        SlotName::A => ("USR-A", Guid::FLATCAR_USR_A),
        SlotName::B => ("USR-B", Guid::FLATCAR_USR_B),
    };
    partition.label == label || partition.guid == guid
}

/// Why a table doesn't hold two usable slots.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// No partition of the slots' type has its label or PARTUUID.
    #[error("there is no {0}")]
    NoSlot(SlotName),
    /// Two partitions claim to be one slot.
    #[error("both partition {first} and partition {second} claim to be {slot}")]
    TwoSlots {
        /// The slot concerned.
        slot: SlotName,
        /// Partition whose label or PARTUUID is the slot's.
        first: PartitionNumber,
        /// The other partition of which that is true.
        second: PartitionNumber,
    },
    /// Label and PARTUUID contradict each other.
    #[error("partition {0} claims to be both slots: its label and its PARTUUID disagree")]
    BothSlots(PartitionNumber),
    /// The partition can't be written safely.
    #[error(transparent)]
    Flaw(#[from] LayoutFlaw),
}
