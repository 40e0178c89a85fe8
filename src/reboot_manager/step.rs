//! The decisions: pure, total, without clock or randomness.
//!
//! ```text
//!  Starting ─▶ Idle ◀───────────────────────────────────────────────────────────── Unlocking ◀──┐
//!     │         │ a reboot is wanted                                                   ▲        │
//!     │         ▼         open            granted                                      │        │
//!     │      Waiting ───▶ Locking ───────▶ Preparing ─▶ Notifying ─▶ Confirming ─┐      │ called off,
//!     │         ▲           │ ▲ taken: pause, window again             ▲         │      │ window closed, veto
//!     │         └───────────┘ ┘                                        └ Rebooting ┄┄┄┄┄┄┄┄ the machine goes down
//!     │  record of another boot
//!     └────────▶ Trial ── good ─▶ Settling ─▶ Unlocking
//!                  └── came back ─▶ Held, or Unlocking
//! ```
//!
//! Invariants, which the model checker in `model` explores:
//! - The record is on the disk before the lock is asked for, and until it is certain that this node is no holder.
//! - No reboot is ordered but by a holder, and for what the engine said after the lock was taken.
//! - The lock is given back when the engine calls the slot good, when the reboot is called off, or by configuration.

mod placement;
#[cfg(test)]
mod tests;

use super::event::{
    Confirmation, EngineView, LockAnswer, ManagerEffect, ManagerEvent, ManagerJob, NodeView, Notice, Pause,
    PrepareAnswer, RebootAnswer, SlotHealth, UnlockAnswer,
};
use super::state::{AfterRollback, HoldRecord, ManagerPhase, ManagerState, Reason, RebootObstacle};

/// The state after `event` in `state`, and what is to be done, in order. An event without meaning changes nothing.
#[must_use]
pub fn step(state: &ManagerState, event: ManagerEvent) -> (ManagerState, Vec<ManagerEffect>) {
    let mut next = Next {
        state: state.clone(),
        effects: Vec::new(),
    };
    match (state.phase, event) {
        (_, ManagerEvent::Engine(EngineView::Silent(why))) => next.engine_is_silent(why),
        (phase, ManagerEvent::Engine(EngineView::Known(view))) => next.engine_was_read(phase, &view),
        (phase, ManagerEvent::Requested) => next.requested(phase),
        (_, ManagerEvent::NotSaved(why)) => {
            next.state.is_saved = false;
            next.again_later(RebootObstacle::NotSaved(why));
        }
        (phase, ManagerEvent::PauseOver) => next.go_on(phase),
        (phase, answer) => next.answered(phase, answer),
    }
    (next.state, next.effects)
}

/// A state in the making.
struct Next {
    state: ManagerState,
    effects: Vec<ManagerEffect>,
}

impl Next {
    /// What follows from the end of a job that the phase waits for.
    fn answered(&mut self, phase: ManagerPhase, answer: ManagerEvent) {
        match (phase, answer) {
            (ManagerPhase::Waiting | ManagerPhase::Locking, ManagerEvent::Window(true)) => self.lock(),
            (ManagerPhase::Locking, ManagerEvent::Window(false)) => {
                self.give_back(RebootObstacle::WindowClosed);
            }
            (ManagerPhase::Locking, ManagerEvent::Locked(LockAnswer::Granted)) => self.prepare(),
            (ManagerPhase::Locking, ManagerEvent::Locked(LockAnswer::Taken(by))) => {
                self.again_later(RebootObstacle::LockTaken(by));
            }
            (ManagerPhase::Locking, ManagerEvent::Locked(LockAnswer::Failed(why)))
            | (ManagerPhase::Unlocking, ManagerEvent::Unlocked(UnlockAnswer::Failed(why))) => {
                self.again_later(RebootObstacle::LockFailed(why));
            }
            (ManagerPhase::Preparing, ManagerEvent::Prepared(PrepareAnswer::Done)) => {
                self.enter_and_start(ManagerPhase::Notifying, ManagerJob::Notify);
            }
            (ManagerPhase::Preparing, ManagerEvent::Prepared(PrepareAnswer::Vetoed(why))) => {
                self.state.was_vetoed = true;
                self.give_back(RebootObstacle::Vetoed(why));
            }
            (ManagerPhase::Notifying, ManagerEvent::UsersNotified) => {
                self.enter_and_start(ManagerPhase::Confirming, ManagerJob::Confirm);
            }
            (ManagerPhase::Confirming, ManagerEvent::Confirmed(confirmation)) => self.confirmed(confirmation),
            (ManagerPhase::Rebooting, ManagerEvent::RebootAnswered(answer)) => self.reboot_answered(answer),
            (ManagerPhase::Settling, ManagerEvent::Settled) => {
                if let Some(record) = self.state.record.clone() {
                    self.remember(HoldRecord {
                        prepared: false,
                        ..record
                    });
                }
                self.conclude();
            }
            (ManagerPhase::Unlocking, ManagerEvent::Unlocked(UnlockAnswer::Released)) => self.unlocked(),
            (ManagerPhase::Held, ManagerEvent::Noted(answer)) => self.noted(answer),
            _ => {}
        }
    }

    /// After a pause: what could not be done before.
    fn go_on(&mut self, phase: ManagerPhase) {
        if let Some(record) = self.state.record.clone() {
            self.save(record);
        }
        match phase {
            ManagerPhase::Waiting => self.start(ManagerJob::AwaitWindow),
            ManagerPhase::Locking => self.start(ManagerJob::LookAtWindow),
            ManagerPhase::Preparing => self.start(ManagerJob::Prepare),
            ManagerPhase::Notifying => self.start(ManagerJob::Notify),
            ManagerPhase::Confirming | ManagerPhase::Rebooting => {
                self.not_ordered();
                self.enter_and_start(ManagerPhase::Confirming, ManagerJob::Confirm);
            }
            ManagerPhase::Settling => self.start(ManagerJob::Settle),
            ManagerPhase::Unlocking => self.unlock(),
            ManagerPhase::Held => self.note(),
            // The engine's next word says the rest.
            ManagerPhase::Trial => self.state.obstacle = None,
            ManagerPhase::Starting | ManagerPhase::Idle => {}
        }
    }

    fn reboot_answered(&mut self, answer: RebootAnswer) {
        match answer {
            RebootAnswer::Ordered => self.start(ManagerJob::Pause(Pause::Shutdown)),
            // The machine may be going down: nothing is called off, and nothing given back, before it is certain that it
            // doesn't.
            RebootAnswer::Lost(why) => self.pause(RebootObstacle::RebootFailed(why), Pause::Shutdown),
            RebootAnswer::Refused(why) => {
                self.state.phase = ManagerPhase::Confirming;
                self.not_ordered();
                self.pause(RebootObstacle::RebootFailed(why), Pause::Retry);
            }
        }
    }

    fn enter_and_start(&mut self, phase: ManagerPhase, job: ManagerJob) {
        self.state.phase = phase;
        self.state.obstacle = None;
        self.start(job);
    }

    fn start(&mut self, job: ManagerJob) {
        self.effects.push(ManagerEffect::Start(job));
    }

    fn pause(&mut self, obstacle: RebootObstacle, pause: Pause) {
        self.state.obstacle = Some(obstacle);
        self.start(ManagerJob::Pause(pause));
    }

    /// Pauses for longer each time.
    fn again_later(&mut self, obstacle: RebootObstacle) {
        self.state.tries = self.state.tries.saturating_add(1).min(ManagerState::MOST_TRIES);
        self.pause(obstacle, Pause::Backoff(self.state.tries));
    }

    fn save(&mut self, record: HoldRecord) {
        if self.state.record.as_ref() != Some(&record) || !self.state.is_saved {
            self.effects.push(ManagerEffect::Save(record.clone()));
            self.state.record = Some(record);
            self.state.is_saved = true;
        }
    }

    /// The machine does not go down.
    fn not_ordered(&mut self) {
        if let Some(record) = self.state.record.clone() {
            self.save(HoldRecord {
                ordered: false,
                ..record
            });
        }
    }

    /// What the record says from here on. A cut before it is next written finds the one before.
    fn remember(&mut self, record: HoldRecord) {
        if self.state.record.as_ref() != Some(&record) {
            self.state.record = Some(record);
            self.state.is_saved = false;
        }
    }

    fn engine_is_silent(&mut self, why: String) {
        self.state.silence = Some(why.clone());
        // What others wait for has its own obstacle.
        if matches!(
            self.state.phase,
            ManagerPhase::Starting | ManagerPhase::Idle | ManagerPhase::Trial
        ) {
            self.state.obstacle = Some(RebootObstacle::EngineSilent(why));
        }
    }

    fn engine_was_read(&mut self, phase: ManagerPhase, view: &NodeView) {
        self.know(view);
        match phase {
            ManagerPhase::Starting if self.knows_no_order() => self.outlast_a_shutdown(),
            ManagerPhase::Starting | ManagerPhase::Trial => self.place(view),
            ManagerPhase::Idle => self.rest(),
            ManagerPhase::Held if self.state.is_update_kept => self.hold_on(),
            ManagerPhase::Held if self.state.wanted().is_some() => self.wait(),
            // The answer that is on its way places the node.
            ManagerPhase::Confirming if self.knows_no_order() => {}
            phase if phase.is_preparation() && self.state.wanted().is_none() => self.call_off(),
            // The last look before the reboot tells a changed update, and the end of each of these looks again.
            ManagerPhase::Waiting
            | ManagerPhase::Locking
            | ManagerPhase::Preparing
            | ManagerPhase::Notifying
            | ManagerPhase::Confirming
            | ManagerPhase::Rebooting
            | ManagerPhase::Settling
            | ManagerPhase::Unlocking
            | ManagerPhase::Held => {}
        }
    }

    /// What is remembered of the engine's answer.
    fn know(&mut self, view: &NodeView) {
        self.state.silence = None;
        if matches!(self.state.obstacle, Some(RebootObstacle::EngineSilent(_))) {
            self.state.obstacle = None;
        }
        self.state.known_installed = view.installed;
        self.state.is_update_kept = view.is_update_kept();
        self.state.waiting.clone_from(&view.waiting);
        self.state.known_rollback = view.rollback.as_ref().map(|failed| failed.version.clone());
    }

    fn requested(&mut self, phase: ManagerPhase) {
        self.state.requested = true;
        if matches!(phase, ManagerPhase::Idle | ManagerPhase::Held) {
            self.wait();
        }
    }

    /// Nothing is under way: the next thing, if there is one.
    fn rest(&mut self) {
        if self.state.wanted().is_some() {
            self.wait();
        } else {
            self.state.phase = ManagerPhase::Idle;
            self.state.obstacle = None;
            self.state.was_vetoed = false;
            self.effects.push(ManagerEffect::Stop);
        }
    }

    fn wait(&mut self) {
        self.state.phase = ManagerPhase::Waiting;
        if std::mem::take(&mut self.state.was_vetoed) {
            self.start(ManagerJob::Pause(Pause::Veto));
        } else {
            self.state.obstacle = None;
            self.start(ManagerJob::AwaitWindow);
        }
    }

    /// Asks for the lock. The record comes first: what a cut leaves is a node that may be a holder, and knows it.
    fn lock(&mut self) {
        let Some(wanted) = self.state.wanted() else {
            return self.call_off();
        };
        self.state.phase = ManagerPhase::Locking;
        let before = self.state.record.as_ref();
        let failed = before.and_then(|record| record.failed.clone());
        self.save(HoldRecord {
            boot: self.state.boot.clone(),
            wanted: Some(wanted.clone()),
            prepared: before.is_some_and(|record| record.prepared),
            failed: failed.clone(),
            known_rollback: self.state.known_rollback.clone(),
            known_installed: self.state.known_installed,
            ordered: false,
        });
        self.start(ManagerJob::Lock { wanted, failed });
    }

    fn prepare(&mut self) {
        self.state.tries = 0;
        let Some(record) = self.state.record.clone() else {
            return;
        };
        if let Some(wanted) = record.wanted.clone() {
            self.effects.push(ManagerEffect::Say(Notice::Taken(wanted)));
        }
        self.save(HoldRecord {
            prepared: true,
            ..record
        });
        self.enter_and_start(ManagerPhase::Preparing, ManagerJob::Prepare);
    }

    fn confirmed(&mut self, found: Confirmation) {
        let view = match found.engine {
            EngineView::Silent(why) => {
                self.state.silence = Some(why.clone());
                return self.pause(RebootObstacle::EngineSilent(why), Pause::Retry);
            }
            EngineView::Known(view) => view,
        };
        self.know(&view);
        if self.knows_no_order() {
            return self.place(&view);
        }
        let (Some(wanted), Some(record)) = (self.state.wanted(), self.state.record.clone()) else {
            return self.call_off();
        };
        // A reboot amid a trial or an installation would end it.
        let is_request = wanted.reason == Reason::Request;
        if is_request && let SlotHealth::NotYet(why) = view.health {
            return self.pause(RebootObstacle::OnTrial(why), Pause::Retry);
        }
        if is_request && !view.is_resting {
            return self.pause(RebootObstacle::EngineBusy, Pause::Retry);
        }
        if !found.is_open {
            return self.give_back(RebootObstacle::WindowClosed);
        }
        if let Some(inhibitors) = found.inhibitors {
            return self.pause(RebootObstacle::Inhibited(inhibitors), Pause::Retry);
        }
        self.save(HoldRecord {
            wanted: Some(wanted.clone()),
            ordered: true,
            ..record
        });
        self.effects.push(ManagerEffect::Say(Notice::Rebooting(wanted)));
        self.enter_and_start(ManagerPhase::Rebooting, ManagerJob::Reboot);
    }

    /// No reboot is wanted any more.
    fn call_off(&mut self) {
        if self.state.record.is_some() {
            self.effects.push(ManagerEffect::Say(Notice::CalledOff));
        }
        self.state.obstacle = None;
        self.end_preparation();
    }

    /// A reboot is wanted, but not now: others may go first.
    fn give_back(&mut self, obstacle: RebootObstacle) {
        self.state.obstacle = Some(obstacle);
        self.end_preparation();
    }

    fn end_preparation(&mut self) {
        match &self.state.record {
            // What an earlier process may hold is given back.
            None if self.state.is_record_lost => self.unlock(),
            None => self.rest(),
            Some(record) if record.prepared => {
                self.state.phase = ManagerPhase::Settling;
                self.start(ManagerJob::Settle);
            }
            Some(_) => self.conclude(),
        }
    }

    /// The lock is not needed any more, unless an earlier rollback holds it.
    fn conclude(&mut self) {
        let held = self.state.record.clone().filter(|record| record.failed.is_some());
        match held {
            Some(record) if self.state.after_rollback == AfterRollback::Hold => {
                self.save(HoldRecord {
                    wanted: None,
                    prepared: false,
                    ordered: false,
                    ..record
                });
                self.hold_on();
            }
            _ => self.unlock(),
        }
    }

    fn unlock(&mut self) {
        self.state.phase = ManagerPhase::Unlocking;
        let fence = self.state.record.is_some() || self.state.is_record_lost;
        self.start(ManagerJob::Unlock { fence });
    }

    fn unlocked(&mut self) {
        self.state.tries = 0;
        let may_have_held = self.state.record.take().is_some() || self.state.is_record_lost;
        self.state.is_record_lost = false;
        if may_have_held {
            self.effects.push(ManagerEffect::Forget);
            self.effects.push(ManagerEffect::Say(Notice::Released));
        }
        self.rest();
    }
}
