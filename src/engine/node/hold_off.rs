//! The hold-off: until when the server is not asked, so that a grant that can't be followed times
//! out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::machine::{Machine, unix_time};
use super::payload_prefs::PayloadPrefs;
use super::update_history::UpdateHistory;
use crate::engine::AttemptContext;
use crate::journal::chain;
use crate::policy::{GRANT_TIMEOUT, History, HoldOff, HoldOffCause};
use crate::status::{Obstacle, UnixTime};

/// The hold-off in the history, beside its own time by a clock that nobody sets.
pub(super) struct CheckHoldOff {
    machine: Arc<Machine>,
    history: Arc<UpdateHistory>,
    payload_prefs: Arc<PayloadPrefs>,
    /// Until when the server is not asked, whatever the clock of the wall says.
    quiet_until: Mutex<Option<Instant>>,
}

impl CheckHoldOff {
    pub(super) fn new(
        machine: &Arc<Machine>,
        history: &Arc<UpdateHistory>,
        payload_prefs: &Arc<PayloadPrefs>,
    ) -> Self {
        Self {
            machine: Arc::clone(machine),
            history: Arc::clone(history),
            payload_prefs: Arc::clone(payload_prefs),
            quiet_until: Mutex::default(),
        }
    }

    /// What is left of it. A record that can't be written is still read. A clock that was set
    /// meanwhile makes nothing shorter for as long as this process lives.
    pub(super) fn rest(&self) -> Option<HoldOff> {
        let now = unix_time();
        let kept = self
            .history
            .change(|history| history.look_at_hold_off(now))
            .unwrap_or_else(|error| {
                tracing::warn!("how long nobody is asked is not kept: {}", chain(&error));
                self.history.read().look_at_hold_off(now)
            });
        kept.or_else(|| {
            let quiet_until = self.quiet_until(|until| *until)?;
            let rest = quiet_until.saturating_duration_since(Instant::now()).as_secs();
            self.history.read().blocked_payloads().iter().next()?;
            let until = now.plus_seconds(i64::try_from(rest).ok().filter(|&rest| rest > 0)?);
            Some(HoldOff {
                cause: HoldOffCause::BlockedPayload,
                until,
            })
        })
    }

    /// The server has answered a check: what it granted before is over, or granted anew.
    pub(super) fn end(&self) {
        self.quiet_until(|until| *until = None);
        if let Err(error) = self.history.change(History::end_hold_off) {
            tracing::warn!(
                "how long nobody was to be asked is not forgotten: {}",
                chain(&error)
            );
        }
    }

    /// `attempt`, or its check, has ended so: what of that keeps the node from asking.
    pub(super) fn begin_after(&self, attempt: &AttemptContext, obstacle: Obstacle, until: Option<i64>) {
        let now = unix_time();
        let hold_off = match (obstacle, until) {
            // Unless a payload is blocked, that is soon forgotten.
            (Obstacle::RolledBack | Obstacle::OnTrial, _) => {
                let quiet = Duration::from_secs(GRANT_TIMEOUT.unsigned_abs());
                self.quiet_until(|until| *until = Instant::now().checked_add(quiet));
                Some(HoldOff::after_blocked_payload(now))
            }
            (Obstacle::Backoff, Some(until)) => Some(HoldOff {
                cause: HoldOffCause::BackOff,
                until: UnixTime(until),
            }),
            (Obstacle::Failed, _) => self.back_off_of_offer(attempt, now),
            _ => None,
        };
        let Some(hold_off) = hold_off else { return };
        if let Err(error) = self.history.change(|history| history.hold_off(hold_off)) {
            tracing::error!(
                "how long nobody is to be asked is not remembered: {}",
                chain(&error)
            );
        }
    }

    /// The wait that `attempt` has brought upon its offer, unless that waits for the reboot all the
    /// same.
    fn back_off_of_offer(&self, attempt: &AttemptContext, now: UnixTime) -> Option<HoldOff> {
        let offer = attempt.offer_at_fault()?;
        let mode = self.machine.host().mode().ok()?;
        let until = self.payload_prefs.state().backoff(offer, mode, now)?;
        self.history.waiting_payload().is_none().then_some(HoldOff {
            cause: HoldOffCause::BackOff,
            until,
        })
    }

    fn quiet_until<T>(&self, look: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        // A plain value: a panic elsewhere cannot have left it half written.
        look(&mut self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
