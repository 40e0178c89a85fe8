//! Partition tables: read, chosen from, committed and cut.

use std::ops::RangeInclusive;

use slots::{Gpt, Guid, Partition, SlotAttributes, Table, WhichCopy};

use super::disk::{Recorder, SECTOR};
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "gpt",
    property: "The slot is the one of the highest priority that may boot; whatever a power cut leaves of a commit \
               reads as the old table or the new one; no partition's content changes.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let (cut, kept) = (input.below(64), input.long());
    let edits = [input.short(), input.short()];
    let mut disk = Recorder::any(&mut input);
    let before = disk.live.clone();
    let Ok(gpt) = Gpt::read(&mut disk) else { return };
    assert_eq!(before, disk.live, "reading writes");
    let old = gpt.table();
    chosen(old);
    let mut new = old.clone();
    let slots: Vec<_> = old
        .partitions()
        .filter(|slot| slot.kind == Guid::FLATCAR_USR)
        .collect();
    for (slot, edit) in slots.iter().zip(edits) {
        let word = slot.attributes.word() & !(0x1ff << 48) | u64::from(edit & 0x1ff) << 48;
        new.set_attributes(slot.number, SlotAttributes::from_word(word))
            .expect("a slot of this table");
    }
    let committed = gpt.commit(&mut disk, &new);
    if committed.is_ok() {
        let after = Gpt::read(&mut disk).expect("what was committed");
        assert!(after.table().partitions().eq(new.partitions()), "another table");
        assert!(after.is_sound());
    }
    let cut = cut % (disk.operations() + 1);
    let left = disk.after_cut(&before, cut, kept, bug);
    let after = Gpt::read(&mut Recorder::new(left.clone())).expect("a table after a cut");
    let found: Vec<_> = after.table().partitions().collect();
    assert!(
        found.iter().cloned().eq(old.partitions()) || found.iter().cloned().eq(new.partitions()),
        "neither the old table nor the new one after {cut} operations"
    );
    // The primary's own word for where partitions may lie.
    if gpt.copy(WhichCopy::Primary).is_ok() {
        let [first, last] = [40, 48]
            .map(|at| SECTOR + at)
            .map(|at| number(&before[at..at + 8]));
        for partition in old.partitions() {
            unchanged((&before, &left), first..=last, &partition);
        }
    }
}

/// The choice is that of a loop over all.
fn chosen(table: &Table) {
    let mut best: Option<Partition> = None;
    for slot in table.partitions().filter(|slot| slot.kind == Guid::FLATCAR_USR) {
        let word = slot.attributes.word();
        let [priority, tries] = [word >> 48 & 15, word >> 52 & 15];
        let may_boot = priority > 0 && (tries > 0 || word >> 56 & 1 == 1);
        let is_better = best
            .as_ref()
            .is_none_or(|best| priority > best.attributes.word() >> 48 & 15);
        if may_boot && is_better {
            best = Some(slot);
        }
    }
    let choice = table.choose(Guid::FLATCAR_USR);
    assert_eq!(choice.map(|choice| choice.slot), best.map(|best| best.number));
    if let Some(choice) = choice {
        let [found, spent] = [choice.found, choice.spent].map(|found| found.word() >> 52 & 15);
        assert_eq!(spent, found.saturating_sub(1));
    }
}

/// A partition that lies where partitions may has its bytes.
fn unchanged((before, after): (&[u8], &[u8]), usable: RangeInclusive<usize>, partition: &Partition) {
    let lbas = [partition.first_lba, partition.last_lba].map(usize::try_from);
    let [Ok(first), Ok(last)] = lbas else { return };
    if first <= last && usable.contains(&first) && usable.contains(&last) {
        let bytes = first * SECTOR..(last + 1) * SECTOR;
        assert!(before[bytes.clone()] == after[bytes], "{partition:?} was written");
    }
}

fn number(bytes: &[u8]) -> usize {
    let number = bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    usize::try_from(number).expect("64 bits")
}
