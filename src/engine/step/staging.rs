//! Transitions around an update that is staged: installed, and not the next to boot.
//!
//! ```text
//!   Finishing ─┐         ┌──────── asked again ◀─ check due ──┐
//!   a start ───┴─▶ Confirming ─┬─ read back, held ─▶ Staged ──┴─ order ─▶ Activating ─┬─▶ Completing ─▶ NeedReboot
//!                     ▲        │                       ▲ │ └─ the table says that it boots next ─▶┘
//!                     │        │                       └─│──────────── refused ───────┘
//!                     └────────┼─ not now ─▶ Unconfirmed │
//!                              │                 │       └─ another payload ─▶ Preparing …
//!                              └─ another image ─┴─ reset, withdrawal ─▶ Withdrawing ─▶ Idle, or Confirming
//! ```
//!
//! A reset and a withdrawal break the reading off, too. Marking the running slot good puts it first,
//! so that nothing is activated meanwhile.
//!
//! What an orderly reboot activates it does without the engine: see `docs/staging.md`. The status
//! of an update that it will activate is that of one that waits for the reboot, since the reboot
//! that managers order is an orderly one.

use super::{Transition, UnexpectedEvent};
use crate::config::Activation;
use crate::engine::SlotError;
use crate::engine::event::{Effect, Event, Report, StagedReadiness, Unconfirmed};
use crate::engine::state::{Afterwards, NextBoot, Phase, RunningSlotState};

impl Transition {
    /// What was staged is read back before anything else is said of it.
    pub(super) fn confirm(&mut self) {
        self.enter_and_signal_change(Phase::Confirming);
        self.effects.push(Effect::Confirm);
    }

    pub(super) fn confirmed(
        &mut self,
        phase: &Phase,
        result: Result<StagedReadiness, Unconfirmed>,
    ) -> Result<(), UnexpectedEvent> {
        match (phase, result) {
            (Phase::Confirming | Phase::Staged(_), Ok(readiness)) => self.ready(phase, readiness),
            (Phase::Confirming | Phase::Staged(_), Err(Unconfirmed::Activated)) => self.complete(),
            // What comes of it is told with the next check.
            (Phase::Confirming | Phase::Staged(_), Err(Unconfirmed::Runs)) => {
                self.state.offer = None;
                self.rest(Phase::Idle);
            }
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

    fn ready(&mut self, phase: &Phase, readiness: StagedReadiness) {
        let StagedReadiness { activation, obstacle } = readiness;
        let activation = match obstacle {
            Some(_) => without_reboot(activation),
            None => activation,
        };
        self.state.staged_obstacle = obstacle;
        let is_marking = self.state.running == RunningSlotState::Marking;
        match (phase, activation) {
            (_, Activation::AtOnce) if !is_marking => self.activate(Activation::AtOnce),
            (Phase::Staged(before), now) if *before == now => {}
            (_, activation) => self.rest(Phase::Staged(activation)),
        }
    }

    pub(super) fn activate_by_order(&mut self, phase: &Phase) -> Result<(), UnexpectedEvent> {
        match phase {
            Phase::Staged(_) if self.state.running == RunningSlotState::Marking => Err(UnexpectedEvent {
                phase: "the running slot is being marked good".to_owned(),
                event: Event::ActivateRequested.to_string(),
            }),
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
            (Phase::Activating(_) | Phase::Staged(_) | Phase::Unconfirmed(_), Ok(())) => self.complete(),
            (Phase::Activating(activation), Err(error)) => {
                self.state.staged_obstacle = Some(error.to_string());
                self.rest(Phase::Staged(without_reboot(*activation)));
            }
            (phase, result) => return Err(UnexpectedEvent::new(phase, &Event::Activated(result))),
        }
        Ok(())
    }

    /// It boots next.
    fn complete(&mut self) {
        self.state.next_boot = NextBoot::Update;
        self.effects.push(Effect::RememberPending);
        self.enter(Phase::Completing);
        self.report(Report::Complete);
    }

    /// The staged update is not wanted. Whether it can't be activated any more is answered then.
    pub(super) fn unstage(&mut self) {
        self.enter_and_signal_change(Phase::Withdrawing(Afterwards::Staged));
        self.effects.push(Effect::Unstage);
    }

    fn enter_and_signal_change(&mut self, phase: Phase) {
        let before = self.state.phase.operation();
        self.enter(phase);
        if self.state.phase.operation() != before {
            self.effects.push(Effect::Signal(self.state.status()));
        }
    }
}

/// What remains of `activation` where something keeps the update from being activated: a reboot that
/// would come to nothing is not asked for. The next look at the slot may raise it again.
fn without_reboot(activation: Activation) -> Activation {
    match activation {
        Activation::Reboot => Activation::Order,
        other => other,
    }
}
