//! The decisions about offers: whether to ask for deltas (`delta_okay`), and whether to take what is
//! offered.
//!
//! Versions are never compared: a server that offers the running version, or an older one, or none
//! at all in words, means it.

use super::BlockedPayload;
use super::payload_state::PayloadState;
use crate::host::NodeMode;
use crate::omaha::{Deltas, Offer};
use crate::status::{Trigger, UnixTime};

/// Failed deltas after which only full payloads are asked for, until one update has succeeded.
const MOST_FAILURES: i64 = 3;

/// The state of the running slot's bytes, which a delta would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningSlot {
    /// An image as it was built: dm-verity says so at each read, or it was verified when it was
    /// written, and nothing writes to a slot that runs.
    Intact,
    /// Nobody knows whether it is as it was built.
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

/// Everything beside the offer that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// The state that earlier attempts left, with this offer already taken in by
    /// [`PayloadState::offered`].
    pub payload_state: &'a PayloadState,
    /// The blocked payload that is this offer's, or makes the same image: see
    /// [`super::History::blocked_payload`].
    pub blocked: Option<&'a BlockedPayload>,
    /// Who asked for the check.
    pub trigger: Trigger,
    /// Production or developer: a developer's node knows no back-off.
    pub mode: NodeMode,
    /// The wall clock's time.
    pub now: UnixTime,
}

/// The decision about an offer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Install it, from this URL.
    Take {
        /// The URL to fetch the payload from in this attempt.
        url: &'a str,
    },
    /// Don't install it again unless an operator asks: the node rolled back from it.
    RolledBackBefore(&'a BlockedPayload),
    /// Put it off.
    BackOff {
        /// Unix time from which on the offer may be taken.
        until: UnixTime,
    },
}

/// Decides about `offer`.
#[must_use]
pub fn decide<'a>(offer: &'a Offer, input: &PolicyInput<'a>) -> Decision<'a> {
    let PolicyInput {
        payload_state,
        blocked,
        trigger,
        mode,
        now,
    } = *input;
    if trigger == Trigger::Schedule
        && let Some(blocked) = blocked
    {
        return Decision::RolledBackBefore(blocked);
    }
    match payload_state.backoff(offer, mode, now) {
        Some(until) => Decision::BackOff { until },
        None => Decision::Take {
            url: payload_state.url(offer),
        },
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
