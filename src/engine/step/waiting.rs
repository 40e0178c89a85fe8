//! Transitions around an update that waits for the reboot.
//!
//! ```text
//!   NeedReboot ── reset ────────────────────────────────────────────────▶ Idle
//!       │  ▲
//!       │  └─ refused ──────────────┐
//!       └─ withdrawn ─▶ Withdrawing ┴─ forgotten ─▶ slot unbootable, or why not ─▶ Idle
//! ```
//!
//! That the update is forgotten comes first: a daemon that is started in between must not wait for a reboot
//! into a slot that does not boot.

use super::{Next, Refusal};
use crate::bus::WaitingSlot;
use crate::engine::event::{Effect, Event};
use crate::engine::state::{Afterwards, Phase, Running};

impl Next {
    pub(super) fn ping(&mut self) {
        self.effects.push(Effect::Signal(self.state.status()));
        self.effects.push(Effect::Ping);
    }

    pub(super) fn reset(&mut self) {
        self.state.offer = None;
        self.enter(Phase::Idle);
        self.effects.push(Effect::ForgetPending);
    }

    /// An update that waits, or one that was reset and left the other slot as it was, is not wanted.
    pub(super) fn withdraw(&mut self, phase: &Phase, slot: WaitingSlot) -> Result<(), Refusal> {
        match (phase, slot) {
            (Phase::Idle, WaitingSlot::Kept) => {}
            (Phase::NeedReboot, WaitingSlot::Kept) => self.reset(),
            (Phase::NeedReboot, WaitingSlot::Unbootable) => self.make_unbootable(Afterwards::NeedReboot),
            // Otherwise it is being marked, or is left for the other one.
            (Phase::Idle, WaitingSlot::Unbootable) if self.state.running == Running::Good => {
                self.make_unbootable(Afterwards::Idle);
            }
            (Phase::Idle, WaitingSlot::Unbootable) => {
                return Err(Refusal {
                    phase: "the running slot is not known to be good".to_owned(),
                    event: Event::WithdrawalRequested(slot).to_string(),
                });
            }
            (phase, _) => return Err(Refusal::new(phase, &Event::WithdrawalRequested(slot))),
        }
        Ok(())
    }

    fn make_unbootable(&mut self, otherwise: Afterwards) {
        self.enter(Phase::Withdrawing(otherwise));
        self.effects.push(Effect::Withdraw);
    }

    /// Nothing says any more that the other slot boots next.
    pub(super) fn forgotten(&mut self) {
        self.state.offer = None;
        self.enter(Phase::Withdrawing(Afterwards::Idle));
    }

    pub(super) fn withdrawn(&mut self, afterwards: Afterwards) {
        self.rest(match afterwards {
            Afterwards::Idle => Phase::Idle,
            Afterwards::NeedReboot => Phase::NeedReboot,
        });
    }
}
