//! Transitions around an update that waits for the reboot.
//!
//! ```text
//!       ┌── nothing new, or refused ─┐
//!       ▼                            │             ┌─ slot touched ─▶ forgotten ─▶ an attempt like any other
//!   NeedReboot ── check due, or asked for ─▶ asks the server ── another payload ─▶ Preparing …
//!    ▲  │  ▲                                                           │
//!    │  │  └──────── failed, the slot is as it was ────────────────────┘
//!    │  ├── the table says otherwise ────────────────────────────────▶ Idle
//!    │  ├── reset ───────────────────────────────────────────────────▶ Idle
//!    │  └── withdrawal ─▶ Withdrawing ── forgotten ─▶ slot unbootable, or why not ─▶ Idle
//!    └──────── refused ────────┘
//! ```
//!
//! While the server is only asked, the engine stays where it is: nobody is told that the reboot is
//! off. From the moment that another update is prepared the status tells about that one. Whether
//! the earlier one still waits is known by its marker, which is taken away before its slot is
//! touched: a daemon that is started in between must not wait for a reboot into a slot that does
//! not boot.

use super::{Transition, UnexpectedEvent};
use crate::engine::SlotError;
use crate::engine::event::{CheckOutcome, Effect, Event, OfferSummary};
use crate::engine::state::{Afterwards, Phase, RunningSlotState, Superseded};
use crate::status::{Trigger, WaitingSlot};

impl Transition {
    pub(super) fn revisit(&mut self) {
        self.effects.push(Effect::Signal(self.state.status()));
        self.effects.push(Effect::Revisit(Trigger::Schedule));
    }

    pub(super) fn revisited(&mut self, outcome: CheckOutcome, at: i64) {
        self.note_check(&outcome, at);
        match outcome {
            CheckOutcome::Offer(offer) => self.supersede(offer, at),
            CheckOutcome::NoUpdate => {
                self.state.last_checked = at;
                self.wait_on();
            }
            // It is in the journal. What waits is not affected by it.
            CheckOutcome::Failed(_) | CheckOutcome::NotAsked(_) => self.wait_on(),
        }
    }

    /// Configuration may have changed what activates an update that is staged.
    pub(super) fn wait_on(&mut self) {
        if matches!(self.state.phase, Phase::Staged(_)) {
            self.effects.push(Effect::Confirm);
        }
        self.effects.push(Effect::Schedule);
    }

    fn supersede(&mut self, offer: OfferSummary, at: i64) {
        let waiting = self.state.offer.replace(offer);
        let is_staged = matches!(self.state.phase, Phase::Staged(_));
        self.state.superseded = Some(Superseded {
            offer: waiting,
            is_staged,
        });
        self.state.last_checked = at;
        self.state.last_failure = None;
        self.enter_and_signal(Phase::Preparing);
        self.effects.push(Effect::Prepare);
    }

    /// The attempt to replace the update has failed before it touched the slot.
    pub(super) fn waits_on(&mut self) {
        let waiting = self.state.superseded.take();
        let is_staged = waiting.as_ref().is_some_and(|waiting| waiting.is_staged);
        self.state.offer = waiting.and_then(|waiting| waiting.offer);
        if is_staged {
            self.confirm();
        } else {
            self.rest(Phase::NeedReboot);
        }
    }

    /// Nothing waits any more, by order or because the table says so: whoever shows what was last
    /// signalled is told. What was asked beside it is dropped, and the next check with it.
    pub(super) fn forget(&mut self) {
        self.state.offer = None;
        self.effects.push(Effect::ForgetPending);
        self.rest(Phase::Idle);
    }

    /// An update that waits, or one that was reset and left the other slot as it was, is not
    /// wanted.
    pub(super) fn withdraw(&mut self, phase: &Phase, slot: WaitingSlot) -> Result<(), UnexpectedEvent> {
        match (phase, slot) {
            (Phase::Idle, WaitingSlot::Kept) => {}
            (Phase::Confirming | Phase::Staged(_) | Phase::Unconfirmed(_), _) => self.unstage(),
            (Phase::NeedReboot, WaitingSlot::Kept) => self.forget(),
            (Phase::NeedReboot, WaitingSlot::Unbootable) => self.make_unbootable(Afterwards::NeedReboot),
            // Otherwise it is being marked, or is left for the other one.
            (Phase::Idle, WaitingSlot::Unbootable) if self.state.running == RunningSlotState::Good => {
                self.make_unbootable(Afterwards::Idle);
            }
            (Phase::Idle, WaitingSlot::Unbootable) => {
                return Err(UnexpectedEvent {
                    phase: "the running slot is not known to be good".to_owned(),
                    event: Event::WithdrawalRequested(slot).to_string(),
                });
            }
            (phase, _) => return Err(UnexpectedEvent::new(phase, &Event::WithdrawalRequested(slot))),
        }
        Ok(())
    }

    fn make_unbootable(&mut self, otherwise: Afterwards) {
        self.enter(Phase::Withdrawing(otherwise));
        self.effects.push(Effect::Withdraw);
    }

    /// Nothing says any more that the other slot boots next.
    pub(super) fn forgotten(&mut self, phase: &Phase) {
        self.state.superseded = None;
        if matches!(phase, Phase::Withdrawing(_)) {
            self.state.offer = None;
            self.enter(Phase::Withdrawing(Afterwards::Idle));
        }
    }

    /// One that is on record still is staged still.
    pub(super) fn withdrawn(&mut self, afterwards: Afterwards, result: &Result<(), SlotError>) {
        match (afterwards, result) {
            (Afterwards::Staged, Err(_)) => self.confirm(),
            (Afterwards::Staged, Ok(())) => {
                self.state.offer = None;
                self.rest(Phase::Idle);
            }
            (Afterwards::Idle, _) => self.rest(Phase::Idle),
            (Afterwards::NeedReboot, _) => self.rest(Phase::NeedReboot),
        }
    }
}
