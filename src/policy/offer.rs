//! The decision to take an offer.
//!
//! Versions are never compared: a server that offers the running version, or an older one, or none
//! at all in words, means it.

use super::BlockedPayload;
use super::payload_state::PayloadState;
use crate::host::NodeMode;
use crate::omaha::Offer;
use crate::status::{Trigger, UnixTime};

/// Everything beside the offer that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// The state that earlier attempts left, with this offer already taken in by
    /// [`PayloadState::offered`].
    pub payload_state: &'a PayloadState,
    /// The blocked payload that is this offer's, or makes the same image: see
    /// [`super::History::blame_of`].
    pub blame: Option<&'a BlockedPayload>,
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
        blame,
        trigger,
        mode,
        now,
    } = *input;
    if trigger == Trigger::Schedule
        && let Some(blame) = blame
    {
        return Decision::RolledBackBefore(blame);
    }
    match payload_state.backoff(offer, mode, now) {
        Some(until) => Decision::BackOff { until },
        None => Decision::Take {
            url: payload_state.url(offer),
        },
    }
}
