//! The attribute word of a slot's partition entry, and the arithmetic on it.

use core::fmt;

const PRIORITY_SHIFT: u32 = 48;
const TRIES_SHIFT: u32 = 52;
const NIBBLE: u64 = 0xf;
const SUCCESSFUL: u64 = 1 << 56;

/// Four bits: priority of a slot. 0 means "never boot"; 15 is the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(u8);

impl Priority {
    /// Never booted.
    pub const NEVER: Self = Self(0);
    /// The highest that four bits hold.
    pub const MAX: Self = Self(15);

    /// `value` as priority, if it is in `0..=15`.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 15 { Some(Self(value)) } else { None }
    }

    /// In `0..=15`.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Four bits: how often the loader may still try a slot that is not known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tries(u8);

impl Tries {
    /// No try left.
    pub const NONE: Self = Self(0);
    /// One try: what a freshly written slot gets.
    pub const ONE: Self = Self(1);

    /// `value` as number of tries, if it is in `0..=15`.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 15 { Some(Self(value)) } else { None }
    }

    /// In `0..=15`.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// One less; none stays none.
    #[must_use]
    pub const fn spent(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// The 64-bit attribute word of a GPT entry, seen as a slot's:
///
/// ```text
///  63        57 56 55   52 51    48 47                 0
/// +------------+--+-------+--------+--------------------+
/// | kept       |S | tries | prio   | kept               |
/// +------------+--+-------+--------+--------------------+
///               successful
/// ```
///
/// Bits that are not ours are carried along unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SlotAttributes(u64);

impl SlotAttributes {
    /// From the word as it stands in the partition entry.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word for the partition entry.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Which slot goes first.
    #[must_use]
    pub const fn priority(self) -> Priority {
        Priority(nibble(self.0, PRIORITY_SHIFT))
    }

    /// Boots left before the slot is given up.
    #[must_use]
    pub const fn tries(self) -> Tries {
        Tries(nibble(self.0, TRIES_SHIFT))
    }

    /// Whether the slot was marked good.
    #[must_use]
    pub const fn is_successful(self) -> bool {
        self.0 & SUCCESSFUL != 0
    }

    /// With another priority.
    #[must_use]
    pub const fn with_priority(self, priority: Priority) -> Self {
        Self(with_nibble(self.0, PRIORITY_SHIFT, priority.0))
    }

    /// On trial: `tries` boots left, not successful.
    #[must_use]
    pub const fn on_trial(self, tries: Tries) -> Self {
        Self(with_nibble(self.0, TRIES_SHIFT, tries.0) & !SUCCESSFUL)
    }

    /// Marked good: successful, no tries.
    #[must_use]
    pub const fn marked_good(self) -> Self {
        Self(with_nibble(self.0, TRIES_SHIFT, 0) | SUCCESSFUL)
    }

    /// Never booted: priority 0, tries 0, not successful.
    #[must_use]
    pub const fn unbootable(self) -> Self {
        self.with_priority(Priority::NEVER).on_trial(Tries::NONE)
    }

    /// What the loader leaves when it boots this slot: one try less.
    #[must_use]
    pub const fn after_boot(self) -> Self {
        Self(with_nibble(self.0, TRIES_SHIFT, self.tries().spent().0))
    }

    /// Whether a loader may choose the slot: priority above 0, and either a try left or marked
    /// good.
    #[must_use]
    pub const fn is_selectable(self) -> bool {
        self.priority().0 > 0 && (self.tries().0 > 0 || self.is_successful())
    }

    /// Whether the slot can be fallen back on for ever: priority above 0 and marked good.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.priority().0 > 0 && self.is_successful()
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "four bits are left; `u8::try_from` is not const"
)]
const fn nibble(word: u64, shift: u32) -> u8 {
    ((word >> shift) & NIBBLE) as u8
}

const fn with_nibble(word: u64, shift: u32, value: u8) -> u64 {
    (word & !(NIBBLE << shift)) | ((value as u64) << shift)
}

impl fmt::Display for SlotAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "priority={} tries={} successful={}",
            self.priority().0,
            self.tries().0,
            u8::from(self.is_successful())
        )
    }
}

impl fmt::Debug for SlotAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotAttributes({self}, word {:#018x})", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_cgpt_puts_them() {
        // `cgpt add -P 3 -T 2 -S 1` on an empty word.
        let word = (1 << 56) | (2 << 52) | (3 << 48);
        let slot = SlotAttributes::from_word(word);
        assert_eq!(
            (slot.priority().get(), slot.tries().get(), slot.is_successful()),
            (3, 2, true)
        );
    }

    #[test]
    fn other_bits_survive_every_change() {
        let foreign = 0xfe00_1234_5678_9abd_u64 & !(0x1ff << 48);
        let slot = SlotAttributes::from_word(foreign);
        let changed = [
            slot.marked_good(),
            slot.on_trial(Tries::ONE),
            slot.with_priority(Priority::MAX),
            slot.unbootable(),
            slot.after_boot(),
        ];
        for slot in changed {
            assert_eq!(slot.word() & !(0x1ff << 48), foreign);
        }
    }

    #[test]
    fn a_slot_is_selectable_with_priority_and_a_try_or_success() {
        let slot = |p, t| {
            SlotAttributes::default()
                .with_priority(Priority::new(p).unwrap())
                .on_trial(Tries::new(t).unwrap())
        };
        assert!(slot(1, 1).is_selectable());
        assert!(slot(1, 0).marked_good().is_selectable());
        assert!(!slot(1, 0).is_selectable());
        assert!(!slot(0, 1).is_selectable());
        assert!(!slot(0, 0).marked_good().is_selectable());
    }
}
