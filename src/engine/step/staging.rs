//! Transitions around an update that is staged: installed, and not the next to boot.
//!
//! ```text
//!   Finishing ─┐         ┌──────── asked again ◀─ check due ──┐
//!   a start ───┴─▶ Confirming ─┬─ read back, held ─▶ Staged ──┴─ order ─▶ Activating ─┬─▶ Completing ─▶ NeedReboot
//!                     ▲        │                       ▲ │ └─ the table says that it boots next ─▶┘
//!                     │        │                       └─│──────────── refused ───────┘
//!                     └────────┼─ not now ─▶ Unconfirmed │
//!                              │                 │       └─ another payload ─▶ Preparing …
//!                              └─ another image ─┴─ reset, withdrawal ─▶ Idle
//! ```
//!
//! What an orderly reboot activates it does without the engine: see `docs/staging.md`. The status
//! of an update that it will activate is that of one that waits for the reboot, since the reboot
//! that managers order is an orderly one.

use super::{Transition, UnexpectedEvent};
use crate::config::Activation;
use crate::engine::SlotError;
use crate::engine::event::{Effect, Event, Report, Unconfirmed};
use crate::engine::state::{Afterwards, NextBoot, Phase};

impl Transition {
    /// What was staged is read back before anything else is said of it.
    pub(super) fn confirm(&mut self) {
        self.enter_and_signal_change(Phase::Confirming);
        self.effects.push(Effect::Confirm);
    }

    pub(super) fn confirmed(
        &mut self,
        phase: &Phase,
        result: Result<Activation, Unconfirmed>,
    ) -> Result<(), UnexpectedEvent> {
        match (phase, result) {
            (Phase::Staged(before), Ok(now)) if *before == now && now != Activation::AtOnce => {}
            (Phase::Confirming | Phase::Staged(_), Ok(Activation::AtOnce)) => {
                self.activate(Activation::AtOnce);
            }
            (Phase::Confirming | Phase::Staged(_), Ok(activation)) => self.rest(Phase::Staged(activation)),
            (Phase::Confirming | Phase::Staged(_), Err(Unconfirmed::Void(failure))) => {
                self.fail(failure, Afterwards::Idle);
            }
            (Phase::Confirming | Phase::Staged(_), Err(Unconfirmed::NotNow(why))) => {
                self.rest(Phase::Unconfirmed(why));
            }
            // It was withdrawn in between.
            (phase, result) => return Err(UnexpectedEvent::new(phase, &Event::Confirmed(result))),
        }
        Ok(())
    }

    pub(super) fn activate_by_order(&mut self, phase: &Phase) -> Result<(), UnexpectedEvent> {
        match phase {
            Phase::Staged(activation) => {
                self.activate(*activation);
                Ok(())
            }
            Phase::Unconfirmed(why) => Err(UnexpectedEvent {
                phase: format!("its slot could not be read back ({why})"),
                event: Event::ActivateRequested.to_string(),
            }),
            phase => Err(UnexpectedEvent::new(phase, &Event::ActivateRequested)),
        }
    }

    fn activate(&mut self, activation: Activation) {
        self.enter_and_signal_change(Phase::Activating(activation));
        self.effects.push(Effect::Activate);
    }

    /// By order, or because the table says so.
    pub(super) fn activated(
        &mut self,
        phase: &Phase,
        result: Result<(), SlotError>,
    ) -> Result<(), UnexpectedEvent> {
        match (phase, result) {
            (Phase::Activating(_) | Phase::Staged(_) | Phase::Unconfirmed(_), Ok(())) => {
                self.state.next_boot = NextBoot::Update;
                self.effects.push(Effect::RememberPending);
                self.enter(Phase::Completing);
                self.report(Report::Complete);
            }
            (Phase::Activating(activation), Err(_)) => self.rest(Phase::Staged(*activation)),
            (phase, result) => return Err(UnexpectedEvent::new(phase, &Event::Activated(result))),
        }
        Ok(())
    }

    /// The staged update is not wanted. Its slot doesn't boot already.
    pub(super) fn unstage(&mut self) {
        self.state.offer = None;
        self.effects.push(Effect::Unstage);
        self.rest(Phase::Idle);
    }

    fn enter_and_signal_change(&mut self, phase: Phase) {
        let before = self.state.phase.operation();
        self.enter(phase);
        if self.state.phase.operation() != before {
            self.effects.push(Effect::Signal(self.state.status()));
        }
    }
}
