//! Which partitions of a table are the slots.

use slots::{Guid, Partition, PartitionNumber, SlotAttributes, Table};

use super::{LayoutError, SlotName};

/// PARTUUIDs of Flatcar's slots, the same on every disk.
const PARTUUID_A: Guid = Guid::new(
    0x7130_c94a,
    0x213a,
    0x4e5a,
    [0x8e, 0x26, 0x6c, 0xce, 0x96, 0x62, 0xf1, 0x32],
);
const PARTUUID_B: Guid = Guid::new(
    0xe03d_d35c,
    0x7c2d,
    0x4a47,
    [0xb3, 0xfe, 0x27, 0xf1, 0x57, 0x80, 0xa5, 0x7c],
);

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
        SlotName::A => ("USR-A", PARTUUID_A),
        SlotName::B => ("USR-B", PARTUUID_B),
    };
    partition.label == label || partition.guid == guid
}
