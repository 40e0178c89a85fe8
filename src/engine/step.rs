//! The transitions: pure, total, one match.

mod rollback;
mod staging;
mod waiting;

use super::event::{CheckOutcome, Commitment, Effect, Event, Fallback, Report};
use super::state::{Afterwards, Flow, NextBoot, Phase, RunningSlotState, State};
use super::{Failure, SlotError};
use crate::config::Activation;
use crate::health::{Cause, TrialEnd};
use crate::omaha::ErrorCode;
use crate::status::{LastCheck, NoUpdate, Obstacle, Trigger};

/// An event that means nothing where the engine stands; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} has no meaning while {phase}")]
pub struct UnexpectedEvent {
    phase: String,
    event: String,
}

impl UnexpectedEvent {
    fn new(phase: &Phase, event: &Event) -> Self {
        Self {
            phase: phase.to_string(),
            event: event.to_string(),
        }
    }
}

/// What follows from `event` in `state`: the next state and what is to be done, in order.
///
/// # Errors
/// [`UnexpectedEvent`] for a pair without meaning; the caller keeps its state.
pub fn step(state: &State, event: Event) -> Result<(State, Vec<Effect>), UnexpectedEvent> {
    let mut next = Transition {
        state: state.clone(),
        effects: Vec::new(),
    };
    match (&state.phase, event) {
        (_, Event::Started) => next.started(),

        (Phase::Idle, Event::CheckDue) => next.attempt(Trigger::Schedule),
        (Phase::Idle, Event::AttemptRequested) => next.attempt(Trigger::Operator),
        (Phase::NeedReboot | Phase::Staged(_), Event::CheckDue) => next.revisit(),
        // No check: what were granted could not be taken while the slot is on record.
        (Phase::Unconfirmed(_), Event::CheckDue) => {
            next.effects.push(Effect::Ping);
            next.confirm();
        }
        (Phase::Unconfirmed(_), Event::AttemptRequested) => next.confirm(),
        // It means something only where the update that waits may be replaced, which the
        // configuration says.
        (Phase::NeedReboot | Phase::Staged(_), Event::AttemptRequested) => {
            next.effects.push(Effect::Revisit(Trigger::Operator));
        }
        (Phase::NeedReboot | Phase::Staged(_), Event::Revisited(outcome, at)) => next.revisited(outcome, at),
        (Phase::Confirming | Phase::Staged(_) | Phase::Unconfirmed(_), Event::ResetRequested) => {
            next.unstage();
        }
        (phase, Event::Confirmed(result)) => next.confirmed(phase, result)?,
        (phase, Event::ActivateRequested) => next.activate_by_order(phase)?,
        (phase, Event::Activated(result)) => next.activated(phase, result)?,
        (Phase::NeedReboot, Event::ResetRequested | Event::Overtaken) => next.forget(),
        (phase, Event::WithdrawalRequested(slot)) => next.withdraw(phase, slot)?,
        (phase, Event::Forgotten) if state.may_be_forgotten() => next.forgotten(phase),
        (Phase::Withdrawing(afterwards), Event::Withdrawn(result)) => next.withdrawn(*afterwards, &result),
        (phase, Event::RollbackRequested) => next.roll_back(phase)?,
        (Phase::RollingBack, Event::RolledBack(result)) => next.rolled_back(result),
        (phase, Event::MarkGoodRequested) => next.mark_good_anyway(phase)?,
        // Marking the running slot puts it first, where nothing is to boot before it.
        (
            Phase::Idle | Phase::Confirming | Phase::Staged(_) | Phase::Unconfirmed(_),
            Event::MarkGoodDue | Event::TrialEnded(TrialEnd::Passed),
        ) if state.is_on_trial() => {
            next.mark_good();
        }
        // An attempt is under way and has found the slot on trial. It must not be the last to look.
        (_, Event::MarkGoodDue | Event::TrialEnded(TrialEnd::Passed)) if state.is_on_trial() => {
            next.effects.push(Effect::MarkGoodLater);
        }
        (_, Event::TrialEnded(TrialEnd::Failed(cause))) => next.trial_failed(cause),
        (_, Event::FellBack(fallback)) => next.fell_back(fallback),

        // Nothing to be done, and nothing wrong: the end of what is under way schedules the next
        // check, the bus promises success to everybody, and a slot that is good, or being marked,
        // needs no more. Where the other slot boots next, the running one is good: that must stay
        // so.
        (
            _,
            Event::CheckDue
            | Event::AttemptRequested
            | Event::MarkGoodDue
            | Event::TrialEnded(TrialEnd::Passed),
        )
        | (Phase::Idle, Event::ResetRequested) => {}

        (phase, Event::Marked(result)) if state.running == RunningSlotState::Marking => {
            next.marked(phase, result);
        }

        // A ping is no attempt: it may end in any phase, after a reset for instance. So may a check
        // that was dropped too late.
        (Phase::Staged(_), Event::Pinged) => next.wait_on(),
        (_, Event::Pinged | Event::Revisited(..)) => next.effects.push(Effect::Schedule),

        (phase, event) => next.advance(phase, event)?,
    }
    Ok((next.state, next.effects))
}

/// A state in the making.
struct Transition {
    state: State,
    effects: Vec<Effect>,
}

impl Transition {
    /// The line through an attempt: each phase waits for one event, good or bad.
    fn advance(&mut self, phase: &Phase, event: Event) -> Result<(), UnexpectedEvent> {
        match (phase, event) {
            (Phase::Checking(_), Event::Checked(outcome, at)) => self.checked(outcome, at),
            (Phase::Preparing, Event::Prepared(Ok(()))) => {
                self.enter(Phase::Announcing);
                self.report(Report::DownloadStarted);
            }
            (Phase::Announcing, Event::Reported) => {
                self.enter(Phase::Downloading(Flow::Awaited));
                self.effects.push(Effect::Download);
            }
            (Phase::Downloading(_), Event::Progressed(progress)) => {
                self.state.progress = progress;
                self.enter_and_signal(Phase::Downloading(Flow::Begun));
            }
            (Phase::Downloading(_), Event::Downloaded(Ok(()))) => {
                self.state.progress = 0.0;
                self.enter_and_signal(Phase::Downloaded);
                self.report(Report::DownloadFinished);
            }
            (Phase::Downloaded, Event::Reported) => {
                self.enter(Phase::Finishing);
                self.effects.push(Effect::Finish);
            }
            (Phase::Finishing, Event::Finished(Ok(Commitment::Staged(None)))) => self.confirm(),
            (Phase::Finishing, Event::Finished(Ok(Commitment::Staged(Some(failure))))) => {
                self.fail(failure, Afterwards::Staged);
            }
            (Phase::Finishing, Event::Finished(Ok(Commitment::Clean))) => self.committed(None),
            (Phase::Finishing, Event::Finished(Ok(Commitment::AfterError(failure)))) => {
                self.committed(Some(failure));
            }
            (Phase::Completing, Event::Reported) => self.rest(Phase::NeedReboot),

            (Phase::Preparing, Event::Prepared(Err(failure)))
            | (Phase::Downloading(_), Event::Downloaded(Err(failure)))
            | (Phase::Finishing, Event::Finished(Err(failure))) => {
                self.fail(failure, Afterwards::Idle);
            }
            (Phase::Reporting(_, afterwards), Event::Reported) => self.failed(*afterwards),

            // Whether it comes in time, the attempt's end says.
            (
                Phase::Preparing
                | Phase::Announcing
                | Phase::Downloading(_)
                | Phase::Downloaded
                | Phase::Finishing,
                Event::CancelRequested,
            ) => self.effects.push(Effect::Cancel),
            (phase, event) => {
                return Err(UnexpectedEvent::new(phase, &event));
            }
        }
        Ok(())
    }

    fn enter(&mut self, phase: Phase) {
        self.state.phase = phase;
    }

    fn enter_and_signal(&mut self, phase: Phase) {
        self.enter(phase);
        self.effects.push(Effect::Signal(self.state.status()));
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    fn started(&mut self) {
        self.effects.push(Effect::Signal(self.state.status()));
        if self.state.running != RunningSlotState::Good {
            self.effects.push(Effect::WatchTrial);
        }
        if self.state.phase == Phase::Confirming {
            self.effects.push(Effect::Confirm);
        }
    }

    fn attempt(&mut self, trigger: Trigger) {
        self.state.last_failure = None;
        self.enter_and_signal(Phase::Checking(trigger));
        match self.state.running {
            RunningSlotState::Good => self.effects.push(Effect::Check(trigger)),
            // The check follows its end.
            RunningSlotState::Marking => {}
            RunningSlotState::Unknown | RunningSlotState::OnTrial(_) => self.mark_good(),
        }
    }

    fn mark_good(&mut self) {
        self.state.running = RunningSlotState::Marking;
        self.effects.push(Effect::MarkGood);
    }

    fn marked(&mut self, phase: &Phase, result: Result<(), SlotError>) {
        self.state.running = match result {
            Ok(()) => RunningSlotState::Good,
            Err(SlotError::Lost(cause)) => {
                let reason = cause.summary();
                self.effects.push(Effect::FallBack(cause));
                RunningSlotState::OnTrial(reason)
            }
            Err(error) => {
                self.effects.push(Effect::MarkGoodLater);
                RunningSlotState::OnTrial(error.to_string())
            }
        };
        match phase {
            Phase::Checking(trigger) => self.effects.push(Effect::Check(*trigger)),
            // Its activation has waited for this.
            Phase::Staged(Activation::AtOnce) if self.state.running == RunningSlotState::Good => {
                self.effects.push(Effect::Confirm);
            }
            _ => {}
        }
    }

    fn trial_failed(&mut self, cause: Cause) {
        match self.state.running {
            // The other slot may be half written by now, or boot next.
            RunningSlotState::Good => return,
            // Whatever comes of it counts: who leaves the slot looks at the disk first.
            RunningSlotState::Marking => {}
            RunningSlotState::Unknown | RunningSlotState::OnTrial(_) => {
                self.state.running = RunningSlotState::OnTrial(cause.summary());
            }
        }
        self.effects.push(Effect::FallBack(cause));
    }

    fn fell_back(&mut self, fallback: Fallback) {
        match fallback {
            Fallback::Rebooting => {}
            Fallback::GoodAfterAll => self.effects.push(Effect::MarkGoodLater),
            Fallback::Stays(reason) => {
                if matches!(
                    self.state.running,
                    RunningSlotState::Unknown | RunningSlotState::OnTrial(_)
                ) {
                    self.state.running = RunningSlotState::OnTrial(reason);
                }
                if self.state.running != RunningSlotState::Good {
                    self.effects.push(Effect::WatchTrial);
                }
            }
        }
    }

    fn note_check(&mut self, outcome: &CheckOutcome, time: i64) {
        let outcome = match outcome {
            CheckOutcome::NoUpdate => "the server has no update for this node".to_owned(),
            CheckOutcome::Offer(offer) => format!("version {} is offered", offer.version),
            CheckOutcome::Failed(failure) => NoUpdate::from(failure).reason,
            CheckOutcome::NotAsked(_) => return,
        };
        self.state.last_check = Some(LastCheck { time, outcome });
    }

    fn checked(&mut self, outcome: CheckOutcome, at: i64) {
        self.note_check(&outcome, at);
        match (outcome, self.state.running.clone()) {
            (CheckOutcome::NoUpdate, _) => {
                self.state.last_checked = at;
                self.state.no_update = Some(NoUpdate {
                    kind: Obstacle::NoneOffered,
                    reason: "the server has none for this node".to_owned(),
                    until: None,
                });
                self.rest(Phase::Idle);
            }
            (CheckOutcome::Offer(offer), RunningSlotState::Good) => {
                self.state.last_checked = at;
                self.state.no_update = None;
                self.state.offer = Some(offer);
                self.enter_and_signal(Phase::Preparing);
                self.effects.push(Effect::Prepare);
            }
            // Touching the other slot now would leave nothing to fall back to.
            (CheckOutcome::Offer(_), RunningSlotState::OnTrial(reason)) => {
                self.defer(&format!("the running slot is on trial: {reason}"));
            }
            (CheckOutcome::Offer(_), RunningSlotState::Unknown | RunningSlotState::Marking) => {
                self.defer("the running slot is not known to be good");
            }
            (CheckOutcome::Failed(failure), _) => self.fail(failure, Afterwards::Idle),
            (CheckOutcome::NotAsked(no_update), _) => {
                self.state.no_update = Some(no_update);
                self.rest(Phase::Idle);
            }
        }
    }

    fn defer(&mut self, reason: &str) {
        let failure = Failure::new(ErrorCode::DeferredPerPolicy, reason).of_kind(Obstacle::OnTrial);
        self.fail(failure, Afterwards::Idle);
    }

    /// The other slot boots next from now on, whatever becomes of the report: a daemon that is
    /// restarted while the server is slow must not mark the running slot, which would put it first
    /// again.
    fn committed(&mut self, postinst: Option<Failure>) {
        self.state.next_boot = NextBoot::Update;
        self.effects.push(Effect::RememberPending);
        match postinst {
            None => {
                self.enter(Phase::Completing);
                self.report(Report::Complete);
            }
            Some(failure) => self.fail(failure, Afterwards::NeedReboot),
        }
    }

    fn fail(&mut self, failure: Failure, afterwards: Afterwards) {
        self.state.last_failure = Some(failure.clone());
        self.state.no_update = match afterwards {
            Afterwards::Idle => Some(NoUpdate::from(&failure)),
            Afterwards::NeedReboot | Afterwards::Staged => None,
        };
        self.state.progress = 0.0;
        self.enter_and_signal(Phase::Reporting(failure.clone(), afterwards));
        self.report(Report::Failed(failure));
    }

    fn failed(&mut self, afterwards: Afterwards) {
        self.state.offer = None;
        match afterwards {
            Afterwards::Idle if self.state.superseded.is_some() => self.waits_on(),
            Afterwards::Idle => self.rest(Phase::Idle),
            Afterwards::Staged => self.confirm(),
            // The status passes through idle on its way, as reboot managers have always seen it.
            Afterwards::NeedReboot => {
                self.enter_and_signal(Phase::Idle);
                self.rest(Phase::NeedReboot);
            }
        }
    }

    fn rest(&mut self, phase: Phase) {
        self.enter_and_signal(phase);
        self.effects.push(Effect::Schedule);
    }
}

#[cfg(test)]
mod tests;
