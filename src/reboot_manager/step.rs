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
    Confirmation, Effect, EngineView, Event, Job, LockAnswer, NodeView, Notice, Pause, SlotHealth,
};
use super::state::{AfterRollback, HoldRecord, Phase, Reason, RebootObstacle, State};

/// The state after `event` in `state`, and what is to be done, in order. An event without meaning changes nothing.
#[must_use]
pub fn step(state: &State, event: Event) -> (State, Vec<Effect>) {
    let mut next = Next {
        state: state.clone(),
        effects: Vec::new(),
    };
    match (state.phase, event) {
        (_, Event::Engine(EngineView::Silent(why))) => next.engine_is_silent(why),
        (phase, Event::Engine(EngineView::Known(view))) => next.engine_was_read(phase, &view),
        (phase, Event::Requested) => next.requested(phase),
        (_, Event::NotSaved(why)) => {
            next.state.is_saved = false;
            next.again_later(RebootObstacle::NotSaved(why));
        }
        (phase, Event::PauseOver) => next.go_on(phase),
        (phase, answer) => next.answered(phase, answer),
    }
    (next.state, next.effects)
}

/// A state in the making.
struct Next {
    state: State,
    effects: Vec<Effect>,
}

impl Next {
    /// What follows from the end of a job that the phase waits for.
    fn answered(&mut self, phase: Phase, answer: Event) {
        match (phase, answer) {
            (Phase::Waiting | Phase::Locking, Event::Window(true)) => self.lock(),
            (Phase::Waiting, Event::Window(false)) => {
                self.state.obstacle = Some(RebootObstacle::WindowClosed);
                self.start(Job::AwaitWindow);
            }
            (Phase::Locking, Event::Window(false)) => self.give_back(RebootObstacle::WindowClosed),
            (Phase::Locking, Event::Locked(LockAnswer::Granted)) => self.prepare(),
            (Phase::Locking, Event::Locked(LockAnswer::Taken(by))) => {
                self.again_later(RebootObstacle::LockTaken(by));
            }
            (Phase::Locking, Event::Locked(LockAnswer::Failed(why)))
            | (Phase::Unlocking, Event::Unlocked(Err(why))) => {
                self.again_later(RebootObstacle::LockFailed(why));
            }
            (Phase::Preparing, Event::Prepared(Ok(()))) => {
                self.enter_and_start(Phase::Notifying, Job::Notify);
            }
            (Phase::Preparing, Event::Prepared(Err(why))) => {
                self.state.was_vetoed = true;
                self.give_back(RebootObstacle::Vetoed(why));
            }
            (Phase::Notifying, Event::UsersNotified) => {
                self.enter_and_start(Phase::Confirming, Job::Confirm);
            }
            (Phase::Confirming, Event::Confirmed(confirmation)) => self.confirmed(confirmation),
            (Phase::Rebooting, Event::RebootAnswered(Ok(()))) => self.start(Job::Pause(Pause::Shutdown)),
            (Phase::Rebooting, Event::RebootAnswered(Err(why))) => {
                self.state.phase = Phase::Confirming;
                self.pause(RebootObstacle::RebootFailed(why), Pause::Retry);
            }
            (Phase::Settling, Event::Settled) => {
                if let Some(record) = &mut self.state.record {
                    record.prepared = false;
                }
                self.conclude();
            }
            (Phase::Unlocking, Event::Unlocked(Ok(()))) => self.unlocked(),
            (Phase::Held, Event::Noted(answer)) => self.noted(answer),
            _ => {}
        }
    }

    /// After a pause: what could not be done before.
    fn go_on(&mut self, phase: Phase) {
        if let Some(record) = self.state.record.clone() {
            self.save(record);
        }
        match phase {
            Phase::Waiting => self.start(Job::AwaitWindow),
            Phase::Locking => self.start(Job::LookAtWindow),
            Phase::Preparing => self.start(Job::Prepare),
            Phase::Confirming | Phase::Rebooting => self.enter_and_start(Phase::Confirming, Job::Confirm),
            Phase::Settling => self.start(Job::Settle),
            Phase::Unlocking => self.unlock(),
            Phase::Held => self.note(),
            Phase::Starting | Phase::Idle | Phase::Notifying | Phase::Trial => {}
        }
    }

    fn enter_and_start(&mut self, phase: Phase, job: Job) {
        self.state.phase = phase;
        self.state.obstacle = None;
        self.start(job);
    }

    fn start(&mut self, job: Job) {
        self.effects.push(Effect::Start(job));
    }

    fn pause(&mut self, obstacle: RebootObstacle, pause: Pause) {
        self.state.obstacle = Some(obstacle);
        self.start(Job::Pause(pause));
    }

    /// Pauses for longer each time.
    fn again_later(&mut self, obstacle: RebootObstacle) {
        self.state.tries = self.state.tries.saturating_add(1).min(State::MOST_TRIES);
        self.pause(obstacle, Pause::Backoff(self.state.tries));
    }

    fn save(&mut self, record: HoldRecord) {
        if self.state.record.as_ref() != Some(&record) || !self.state.is_saved {
            self.effects.push(Effect::Save(record.clone()));
            self.state.record = Some(record);
            self.state.is_saved = true;
        }
    }

    fn engine_is_silent(&mut self, why: String) {
        // What others wait for has its own obstacle.
        if matches!(self.state.phase, Phase::Starting | Phase::Idle | Phase::Trial) {
            self.state.obstacle = Some(RebootObstacle::EngineSilent(why));
        }
    }

    fn engine_was_read(&mut self, phase: Phase, view: &NodeView) {
        self.know(view);
        match phase {
            Phase::Starting | Phase::Trial => self.place(view),
            Phase::Idle => self.rest(),
            Phase::Held if self.state.wanted().is_some() => self.wait(),
            Phase::Waiting | Phase::Locking | Phase::Preparing | Phase::Notifying | Phase::Confirming
                if self.state.wanted().is_none() =>
            {
                self.call_off();
            }
            // The last look before the reboot tells a changed update, and the end of each of these looks again.
            Phase::Waiting
            | Phase::Locking
            | Phase::Preparing
            | Phase::Notifying
            | Phase::Confirming
            | Phase::Rebooting
            | Phase::Settling
            | Phase::Unlocking
            | Phase::Held => {}
        }
    }

    /// What is remembered of the engine's answer.
    fn know(&mut self, view: &NodeView) {
        self.state.waiting.clone_from(&view.waiting);
        self.state.known_rollback = view.rollback.as_ref().map(|failed| failed.version.clone());
    }

    fn requested(&mut self, phase: Phase) {
        self.state.requested = true;
        if matches!(phase, Phase::Idle | Phase::Held) {
            self.wait();
        }
    }

    /// Nothing is under way: the next thing, if there is one.
    fn rest(&mut self) {
        if self.state.wanted().is_some() {
            self.wait();
        } else {
            self.state.phase = Phase::Idle;
            self.state.obstacle = None;
            self.effects.push(Effect::Stop);
        }
    }

    fn wait(&mut self) {
        self.state.phase = Phase::Waiting;
        if std::mem::take(&mut self.state.was_vetoed) {
            self.start(Job::Pause(Pause::Veto));
        } else {
            self.state.obstacle = None;
            self.start(Job::AwaitWindow);
        }
    }

    /// Asks for the lock. The record comes first: what a cut leaves is a node that may be a holder, and knows it.
    fn lock(&mut self) {
        let Some(wanted) = self.state.wanted() else {
            return self.call_off();
        };
        self.state.phase = Phase::Locking;
        let before = self.state.record.as_ref();
        let failed = before.and_then(|record| record.failed.clone());
        self.save(HoldRecord {
            boot: self.state.boot.clone(),
            wanted: Some(wanted.clone()),
            prepared: before.is_some_and(|record| record.prepared),
            failed: failed.clone(),
            known_rollback: self.state.known_rollback.clone(),
        });
        self.start(Job::Lock { wanted, failed });
    }

    fn prepare(&mut self) {
        self.state.tries = 0;
        let Some(record) = self.state.record.clone() else {
            return;
        };
        if let Some(wanted) = record.wanted.clone() {
            self.effects.push(Effect::Say(Notice::Taken(wanted)));
        }
        self.save(HoldRecord {
            prepared: true,
            ..record
        });
        self.enter_and_start(Phase::Preparing, Job::Prepare);
    }

    fn confirmed(&mut self, found: Confirmation) {
        let view = match found.engine {
            EngineView::Silent(why) => return self.pause(RebootObstacle::EngineSilent(why), Pause::Retry),
            EngineView::Known(view) => view,
        };
        self.know(&view);
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
            ..record
        });
        self.effects.push(Effect::Say(Notice::Rebooting(wanted)));
        self.enter_and_start(Phase::Rebooting, Job::Reboot);
    }

    /// No reboot is wanted any more.
    fn call_off(&mut self) {
        if self.state.record.is_some() {
            self.effects.push(Effect::Say(Notice::CalledOff));
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
            None => self.rest(),
            Some(record) if record.prepared => {
                self.state.phase = Phase::Settling;
                self.start(Job::Settle);
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
                    ..record
                });
                self.hold_on();
            }
            _ => self.unlock(),
        }
    }

    fn unlock(&mut self) {
        self.state.phase = Phase::Unlocking;
        let fence = self.state.record.is_some();
        self.start(Job::Unlock { fence });
    }

    fn unlocked(&mut self) {
        self.state.tries = 0;
        if self.state.record.take().is_some() {
            self.effects.push(Effect::Forget);
            self.effects.push(Effect::Say(Notice::Released));
        }
        self.rest();
    }
}
