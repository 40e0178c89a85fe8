//! Transitions of what operators do to slots by hand.
//!
//! ```text
//!   Idle, the running slot good ── rollback ─▶ RollingBack ─┬─ the other slot boots next ─▶ NeedReboot
//!     ▲                                                     │
//!     └──────────────── it was never good, or can't be ─────┘
//! ```
//!
//! Both need a node where nothing is under way: an installation owns the other slot, and an update
//! that waits for its reboot would be put behind the running slot without anybody having taken it
//! back.

use super::{Transition, UnexpectedEvent};
use crate::engine::SlotError;
use crate::engine::event::{Effect, Event, OfferSummary};
use crate::engine::state::{NextBoot, Phase, RunningSlotState};

impl Transition {
    pub(super) fn roll_back(&mut self, phase: &Phase) -> Result<(), UnexpectedEvent> {
        let event = Event::RollbackRequested;
        if *phase != Phase::Idle {
            return Err(UnexpectedEvent::new(phase, &event));
        }
        // It must stay selectable behind the other one.
        if self.state.running != RunningSlotState::Good {
            return Err(UnexpectedEvent {
                phase: "the running slot is not marked good".to_owned(),
                event: event.to_string(),
            });
        }
        self.enter(Phase::RollingBack);
        self.effects.push(Effect::RollBack);
        Ok(())
    }

    /// As after a commit: a daemon that is started anew must not mark the running slot, which would
    /// put it first.
    pub(super) fn rolled_back(&mut self, result: Result<String, SlotError>) {
        let Ok(version) = result else {
            self.rest(Phase::Idle);
            return;
        };
        self.state.next_boot = NextBoot::Rollback;
        self.state.offer = Some(OfferSummary { version, size: 0 });
        self.effects.push(Effect::RememberPending);
        self.rest(Phase::NeedReboot);
    }

    pub(super) fn mark_good_anyway(&mut self, phase: &Phase) -> Result<(), UnexpectedEvent> {
        let event = Event::MarkGoodRequested;
        if *phase != Phase::Idle {
            return Err(UnexpectedEvent::new(phase, &event));
        }
        if self.state.running == RunningSlotState::Marking {
            return Err(UnexpectedEvent {
                phase: "it is being marked".to_owned(),
                event: event.to_string(),
            });
        }
        self.state.running = RunningSlotState::Marking;
        self.effects.push(Effect::MarkGoodAnyway);
        Ok(())
    }
}
