//! The decision to ask for deltas (`delta_okay`).

use crate::omaha::Deltas;

/// Failed deltas after which only full payloads are asked for, until one update has succeeded.
const MOST_FAILURES: i64 = 3;

/// The state of the running slot's bytes, which a delta would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningSlot {
    /// An image as it was built: dm-verity says so at each read, or it was verified when it was
    /// written, and nothing writes to a slot that runs.
    Intact,
    /// Not known.
    Unknown,
}

/// The answer to servers after `failures` deltas have failed without a success since. A delta for
/// other bytes than these would be refused, but only once the slot was read, and after an attempt
/// that the server counts.
#[must_use]
pub const fn wanted_deltas(running: RunningSlot, failures: i64) -> Deltas {
    match running {
        RunningSlot::Intact if failures < MOST_FAILURES => Deltas::Welcome,
        RunningSlot::Intact | RunningSlot::Unknown => Deltas::Unwanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_are_for_slots_that_are_known_until_three_have_failed() {
        for (running, failures, expected) in [
            (RunningSlot::Unknown, 0, Deltas::Unwanted),
            (RunningSlot::Intact, 0, Deltas::Welcome),
            (RunningSlot::Intact, 2, Deltas::Welcome),
            (RunningSlot::Intact, 3, Deltas::Unwanted),
            (RunningSlot::Intact, i64::MAX, Deltas::Unwanted),
            (RunningSlot::Intact, -1, Deltas::Welcome),
        ] {
            assert_eq!(
                wanted_deltas(running, failures),
                expected,
                "{running:?} {failures}"
            );
        }
    }
}
