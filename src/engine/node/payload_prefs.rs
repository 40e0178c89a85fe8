//! The original's preferences about the payload on offer: failures, back-off, and what an
//! installation leaves.

use std::sync::Arc;

use super::machine::{Machine, fresh_seed, unix_time};
use crate::engine::AttemptContext;
use crate::journal::chain;
use crate::omaha::{ErrorCode, Offer};
use crate::policy::PayloadState;
use crate::store::{Key, PrefsError};

/// The preferences that attempts at a payload change.
pub(super) struct PayloadPrefs {
    machine: Arc<Machine>,
}

impl PayloadPrefs {
    pub(super) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
        }
    }

    pub(super) fn state(&self) -> PayloadState {
        // What can't be read counts as never written: the offer starts anew.
        PayloadState::load(|key| self.machine.prefs().get(key).ok().flatten(), unix_time())
    }

    pub(super) fn save(&self, state: &PayloadState) -> Result<(), PrefsError> {
        let prefs = state.prefs();
        prefs
            .iter()
            .try_for_each(|(key, value)| self.machine.prefs().set(*key, value))
    }

    /// Bytes of the payload came: its URL works, whatever happens next. Whether all of them did
    /// says `complete`.
    pub(super) fn downloaded(&self, attempt: &AttemptContext, complete: bool) {
        self.change_state(attempt, |state, _| {
            state.progressed();
        });
        if complete {
            self.change_state(attempt, |state, offer| {
                state.downloaded(offer, unix_time(), fresh_seed());
            });
            return;
        }
        if attempt.resumed {
            self.count(Key::ResumedUpdateFailures);
        }
    }

    /// The attempt ended with `code`.
    pub(super) fn failed(&self, attempt: &AttemptContext, code: ErrorCode) {
        self.change_state(attempt, |state, offer| {
            state.failed(offer, code, unix_time(), fresh_seed());
        });
    }

    /// A delta failed other than on its way: full payloads are asked for after some of these.
    pub(super) fn delta_failed(&self) {
        self.count(Key::DeltaUpdateFailures);
    }

    /// What the original leaves after a success. Nothing here takes back that the other slot boots
    /// next.
    pub(super) fn installed(&self) {
        let version = self.machine.running_version();
        let prefs = self.machine.prefs();
        let kept = prefs
            .set_number(Key::DeltaUpdateFailures, 0)
            .and_then(|()| prefs.set_number(Key::ResumedUpdateFailures, 0))
            .and_then(|()| prefs.set(Key::PreviousVersion, &version));
        warn(kept);
    }

    fn change_state(&self, attempt: &AttemptContext, change: impl FnOnce(&mut PayloadState, &Offer)) {
        let Some(offer) = attempt.offer_at_fault() else {
            return;
        };
        let before = self.state();
        let mut state = before.clone();
        change(&mut state, offer);
        if state != before
            && let Err(error) = self.save(&state)
        {
            tracing::warn!("cannot keep count of this payload's attempts: {}", chain(&error));
        }
    }

    fn count(&self, key: Key) {
        // A count that can't be read, or makes no sense, starts anew.
        let prefs = self.machine.prefs();
        let count = prefs.get_number(key).ok().flatten().unwrap_or(0);
        warn(prefs.set_number(key, count.max(0).saturating_add(1)));
    }
}

fn warn(kept: Result<(), PrefsError>) {
    if let Err(error) = kept {
        tracing::warn!("{}", chain(&error));
    }
}
