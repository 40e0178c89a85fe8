//! The transitions as stories and as properties.
#![allow(clippy::unwrap_used)]

mod sequences;
mod table;
mod waiting;

use super::*;
use crate::engine::OfferSummary;
use crate::status::{Operation, WaitingSlot};

fn offer() -> Event {
    let offered = OfferSummary {
        version: "2.0.0".into(),
        size: 100,
    };
    Event::Checked(CheckOutcome::Offer(offered), 7)
}

fn failure(code: ErrorCode) -> Failure {
    Failure::new(code, "because")
}

/// Runs `events` from `state`; gives the end and every signalled operation.
fn run(state: State, events: impl IntoIterator<Item = Event>) -> (State, Vec<Operation>) {
    let mut signals = Vec::new();
    let end = events.into_iter().fold(state, |state, event| {
        let (next, effects) = step(&state, event).unwrap();
        signals.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Signal(status) => Some(status.operation),
            _ => None,
        }));
        next
    });
    (end, signals)
}

fn good() -> State {
    run(State::idle(), [Event::MarkGoodDue, Event::Marked(Ok(()))]).0
}

fn up_to_download() -> Vec<Event> {
    vec![
        Event::AttemptRequested,
        offer(),
        Event::Prepared(Ok(())),
        Event::Reported,
        Event::Progressed(0.5),
        Event::Progressed(1.0),
    ]
}

#[test]
fn a_check_without_an_update_comes_back_to_idle() {
    let events = [Event::AttemptRequested, Event::Checked(CheckOutcome::NoUpdate, 7)];
    let (end, signals) = run(good(), events);
    assert_eq!(signals, [Operation::CheckingForUpdate, Operation::Idle]);
    assert_eq!(end.status().last_checked_time, 7);
}

#[test]
fn a_good_update_is_signalled_as_ever() {
    let mut events = up_to_download();
    events.extend([
        Event::Downloaded(Ok(())),
        Event::Reported,
        Event::Finished(Ok(Commitment::Clean)),
        Event::Reported,
    ]);
    let (end, signals) = run(good(), events);
    assert_eq!(
        signals,
        [
            Operation::CheckingForUpdate,
            Operation::UpdateAvailable,
            Operation::Downloading,
            Operation::Downloading,
            Operation::Finalizing,
            Operation::UpdatedNeedReboot
        ]
    );
    let status = end.status();
    assert_eq!((status.new_version.as_str(), status.new_size), ("2.0.0", 100));
}

#[test]
fn a_failed_download_is_reported_and_forgets_the_offer() {
    let mut events = up_to_download();
    events.extend([
        Event::Downloaded(Err(failure(ErrorCode::PayloadHashMismatch))),
        Event::Reported,
    ]);
    let (end, signals) = run(good(), events);
    assert_eq!(
        signals[signals.len() - 2..],
        [Operation::ReportingErrorEvent, Operation::Idle]
    );
    assert_eq!(end.status().new_version, "0.0.0");
    assert_eq!(end.last_failure().unwrap().sentence, "because");
}

#[test]
fn an_error_of_the_postinst_that_commits_passes_through_idle() {
    let mut events = up_to_download();
    events.extend([
        Event::Downloaded(Ok(())),
        Event::Reported,
        Event::Finished(Ok(Commitment::AfterError(failure(ErrorCode::Error)))),
        Event::Reported,
    ]);
    let (end, signals) = run(good(), events);
    assert_eq!(
        signals[signals.len() - 4..],
        [
            Operation::Finalizing,
            Operation::ReportingErrorEvent,
            Operation::Idle,
            Operation::UpdatedNeedReboot
        ]
    );
    assert_eq!(end.status().new_version, "0.0.0");
}

#[test]
fn an_attempt_marks_the_running_slot_good_before_it_asks() {
    let (state, effects) = step(&State::idle(), Event::AttemptRequested).unwrap();
    assert_eq!(effects.last(), Some(&Effect::MarkGood));
    let (_, effects) = step(&state, Event::Marked(Ok(()))).unwrap();
    assert_eq!(effects, [Effect::Check(Trigger::Operator)]);
}

#[test]
fn a_node_on_trial_defers_the_offer() {
    let events = [
        Event::AttemptRequested,
        Event::Marked(Err(SlotError::OnTrial("the health gate is pending".into()))),
        offer(),
    ];
    let (end, _) = run(State::idle(), events);
    let Phase::Reporting(failure, Afterwards::Idle) = end.phase() else {
        panic!("{:?}", end.phase());
    };
    assert_eq!(failure.code, ErrorCode::DeferredPerPolicy);
    assert!(failure.sentence.contains("the health gate is pending"));
}

#[test]
fn an_attempt_asked_for_while_one_is_under_way_succeeds_and_changes_nothing() {
    for done in 1..up_to_download().len() {
        let (busy, _) = run(good(), up_to_download().into_iter().take(done));
        let asked = step(&busy, Event::AttemptRequested).unwrap();
        assert_eq!(asked, (busy, vec![]));
    }
}

#[test]
fn reset_is_refused_with_a_reason_while_busy() {
    let (busy, _) = run(good(), up_to_download());
    let refusal = step(&busy, Event::ResetRequested).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "ResetStatus has no meaning while a download is under way"
    );
}

#[test]
fn a_slot_whose_time_comes_during_an_attempt_is_marked_after_it() {
    let on_trial = Event::Marked(Err(SlotError::OnTrial("the health gate is pending".into())));
    let (checking, _) = run(State::idle(), [Event::AttemptRequested, on_trial]);
    let (_, effects) = step(&checking, Event::MarkGoodDue).unwrap();
    assert_eq!(effects, [Effect::MarkGoodLater]);
}

fn cause() -> Cause {
    Cause::Systemd {
        reason: "because".into(),
    }
}

#[test]
fn a_trial_that_failed_leaves_the_slot_unless_it_is_good() {
    let failed = || Event::TrialEnded(TrialEnd::Failed(cause()));
    let (state, effects) = step(&State::idle(), failed()).unwrap();
    assert_eq!(effects, [Effect::FallBack(cause())]);
    assert_eq!(state.running, RunningSlotState::OnTrial(cause().to_string()));
    let (_, effects) = step(&good(), failed()).unwrap();
    assert_eq!(effects, []);
}

#[test]
fn a_slot_that_has_lost_what_was_there_is_left_and_the_attempt_goes_on() {
    let lost = Cause::Lost {
        what: vec!["extension docker is not merged".into()],
    };
    let marked = || Event::Marked(Err(SlotError::Lost(lost.clone())));
    let (marking, _) = step(&State::idle(), Event::TrialEnded(TrialEnd::Passed)).unwrap();
    let (state, effects) = step(&marking, marked()).unwrap();
    assert_eq!(effects, [Effect::FallBack(lost.clone())]);
    assert_eq!(state.running, RunningSlotState::OnTrial(lost.to_string()));
    let (checking, _) = step(&State::idle(), Event::AttemptRequested).unwrap();
    let (_, effects) = step(&checking, marked()).unwrap();
    assert_eq!(
        effects,
        [Effect::FallBack(lost.clone()), Effect::Check(Trigger::Operator)]
    );
    let stays = Event::FellBack(Fallback::Stays("the reboot can't be asked for".into()));
    let (_, effects) = step(&state, stays).unwrap();
    assert_eq!(effects, [Effect::WatchTrial]);
}

#[test]
fn a_slot_that_stays_is_watched_on() {
    let stays = Event::FellBack(Fallback::Stays("the other slot is not good".into()));
    let (state, effects) = step(&State::idle(), stays).unwrap();
    assert_eq!(effects, [Effect::WatchTrial]);
    assert_eq!(
        state.running,
        RunningSlotState::OnTrial("the other slot is not good".into())
    );
}

/// An offer of another payload than the one that waits.
fn another() -> Event {
    let offered = OfferSummary {
        version: "3.0.0".into(),
        size: 300,
    };
    Event::Revisited(CheckOutcome::Offer(offered), 9)
}
