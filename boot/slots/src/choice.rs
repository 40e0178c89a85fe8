//! Which slot boots, and who gets which priority.

use crate::attributes::{Priority, SlotAttributes};

/// A loader's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<T> {
    /// The slot to boot.
    pub slot: T,
    /// Its attributes as found.
    pub found: SlotAttributes,
    /// Its attributes as they must be on the medium before its kernel starts: a try is spent first,
    /// so that a slot that hangs isn't tried for ever.
    pub spent: SlotAttributes,
}

/// What a loader boots: among the selectable slots the one with the highest priority; of equals the
/// first. The rule of Flatcar's GRUB (`gptprio.next`).
#[must_use]
pub fn choose<T>(slots: impl IntoIterator<Item = (T, SlotAttributes)>) -> Option<Choice<T>> {
    let selectable = slots
        .into_iter()
        .filter(|(_, attributes)| attributes.is_selectable());
    let (slot, found) = selectable.reduce(|best, next| {
        if next.1.priority() > best.1.priority() {
            next
        } else {
            best
        }
    })?;
    Some(Choice {
        slot,
        found,
        spent: found.after_boot(),
    })
}

/// Whether slot `target` has a priority above 0 that every other slot is below.
#[must_use]
pub fn is_alone_at_the_top(slots: &[SlotAttributes], target: usize) -> bool {
    let Some(top) = slots.get(target).map(|slot| slot.priority()) else {
        return false;
    };
    let below = |(index, slot): (usize, &SlotAttributes)| index == target || slot.priority() < top;
    top > Priority::NEVER && slots.iter().enumerate().all(below)
}

/// Puts slot `target` alone at the highest priority and keeps the order of the others, as
/// `cgpt prioritize` does: slots of equal priority stay equal, priority 0 stays 0, and numbers are
/// as low as that allows. A `target` that isn't there changes nothing.
pub fn prioritize(slots: &mut [SlotAttributes], target: usize) {
    if target >= slots.len() {
        return;
    }
    // Bit p: some slot other than the target has priority p.
    let levels = slots
        .iter()
        .enumerate()
        .filter(|&(index, _)| index != target)
        .fold(0u32, |levels, (_, slot)| levels | 1 << slot.priority().get())
        & !1;
    let groups = levels.count_ones() + 1;
    let top = groups.min(u32::from(Priority::MAX.get()));
    for (index, slot) in slots.iter_mut().enumerate() {
        let old = slot.priority();
        if index == target {
            *slot = slot.with_priority(at_most_max(top));
        } else if old > Priority::NEVER {
            let rank = (levels & ((2 << old.get()) - 1)).count_ones();
            // Sixteen groups don't fit fifteen numbers: the lowest two share one.
            *slot = slot.with_priority(at_most_max((rank + top).saturating_sub(groups).max(1)));
        }
    }
}

fn at_most_max(value: u32) -> Priority {
    u8::try_from(value)
        .ok()
        .and_then(Priority::new)
        .unwrap_or(Priority::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::Tries;

    fn good(priority: u8) -> SlotAttributes {
        SlotAttributes::default()
            .with_priority(Priority::new(priority).unwrap())
            .marked_good()
    }

    fn priorities(slots: &[SlotAttributes]) -> Vec<u8> {
        slots.iter().map(|slot| slot.priority().get()).collect()
    }

    #[test]
    fn the_first_of_equals_boots() {
        assert_eq!(choose([("A", good(1)), ("B", good(1))]).unwrap().slot, "A");
        assert_eq!(choose([("A", good(1)), ("B", good(2))]).unwrap().slot, "B");
    }

    #[test]
    fn a_slot_whose_tries_are_spent_is_passed_over() {
        let spent = good(2).on_trial(Tries::NONE);
        assert_eq!(choose([("A", good(1)), ("B", spent)]).unwrap().slot, "A");
        assert_eq!(choose([("B", spent)]), None);
    }

    #[test]
    fn choosing_a_slot_on_trial_spends_a_try() {
        let choice = choose([("A", good(1)), ("B", good(2).on_trial(Tries::ONE))]).unwrap();
        assert_eq!((choice.slot, choice.spent.tries()), ("B", Tries::NONE));
    }

    #[test]
    fn prioritizing_renumbers_as_cgpt_does() {
        let cases: [(&[u8], usize, &[u8]); 7] = [
            (&[1, 0], 1, &[1, 2]),
            (&[2, 1], 0, &[2, 1]),
            (&[1, 1], 0, &[2, 1]),
            (&[15, 15], 1, &[1, 2]),
            (&[0, 0], 1, &[0, 1]),
            (&[5, 0], 0, &[1, 0]),
            (&[9, 3, 3, 0], 1, &[2, 3, 1, 0]),
        ];
        for (before, target, after) in cases {
            let mut slots: Vec<_> = before.iter().map(|&p| good(p)).collect();
            prioritize(&mut slots, target);
            assert_eq!(priorities(&slots), after, "{before:?} with {target} first");
        }
    }

    proptest! {
        #[test]
        fn the_target_ends_alone_at_the_top_and_the_others_keep_their_order(
            before in prop::collection::vec(0u8..=15, 1..20),
            pick in any::<prop::sample::Index>(),
        ) {
            let target = pick.index(before.len());
            let mut slots: Vec<_> = before.iter().map(|&p| good(p)).collect();
            prioritize(&mut slots, target);
            prop_assert!(is_alone_at_the_top(&slots, target));
            let after = priorities(&slots);
            for i in (0..before.len()).filter(|&i| i != target) {
                prop_assert_eq!(before[i] == 0, after[i] == 0);
                for j in (0..before.len()).filter(|&j| j != target && before[i] <= before[j]) {
                    prop_assert!(after[i] <= after[j]);
                }
            }
        }
    }
}
