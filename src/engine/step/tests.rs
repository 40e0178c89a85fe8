//! The transitions as stories and as properties.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::bus::{Operation, WaitingSlot};
use crate::engine::Offered;

fn offer() -> Event {
    let offered = Offered {
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
        Event::Marked(Err("the health gate is pending".into())),
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
fn reset_is_refused_with_a_reason_while_busy() {
    let (busy, _) = run(good(), up_to_download());
    let refusal = step(&busy, Event::ResetRequested).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "ResetStatus has no meaning while a download is under way"
    );
}

#[test]
fn a_reset_signals_nothing() {
    let (end, effects) = step(&State::reboot_pending(), Event::ResetRequested).unwrap();
    assert_eq!(effects, [Effect::ForgetPending, Effect::Schedule]);
    assert_eq!(end.phase(), &Phase::Idle);
}

fn withdraw(slot: WaitingSlot) -> Event {
    Event::WithdrawalRequested(slot)
}

#[test]
fn an_update_is_withdrawn_with_its_slot_or_without() {
    let (end, effects) = step(&State::reboot_pending(), withdraw(WaitingSlot::Kept)).unwrap();
    assert_eq!(effects, [Effect::ForgetPending, Effect::Schedule]);
    assert_eq!(end.phase(), &Phase::Idle);

    let (busy, effects) = step(&State::reboot_pending(), withdraw(WaitingSlot::Unbootable)).unwrap();
    assert_eq!(effects, [Effect::Withdraw]);
    assert_eq!(busy.status().operation, Operation::UpdatedNeedReboot);
    let (end, signals) = run(busy, [Event::Forgotten, Event::Withdrawn(Ok(()))]);
    assert_eq!(end.phase(), &Phase::Idle);
    assert_eq!(signals, [Operation::Idle]);
}

#[test]
fn an_update_whose_slot_cannot_be_touched_waits_on() {
    let refused = Event::Withdrawn(Err("the running slot is not good".into()));
    let (end, signals) = run(
        State::reboot_pending(),
        [withdraw(WaitingSlot::Unbootable), refused],
    );
    assert_eq!(end.phase(), &Phase::NeedReboot);
    assert_eq!(signals, [Operation::UpdatedNeedReboot]);
}

#[test]
fn after_a_reset_the_slot_can_still_be_withdrawn_once_the_running_one_is_good() {
    let refusal = step(&State::idle(), withdraw(WaitingSlot::Unbootable)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "a withdrawal has no meaning while the running slot is not known to be good"
    );
    let (end, signals) = run(
        State::reboot_pending(),
        [
            Event::ResetRequested,
            withdraw(WaitingSlot::Unbootable),
            Event::Withdrawn(Ok(())),
        ],
    );
    assert_eq!(end.phase(), &Phase::Idle);
    assert_eq!(signals, [Operation::Idle]);
}

#[test]
fn a_pending_reboot_pings_and_signals_again() {
    let (_, effects) = step(&State::reboot_pending(), Event::CheckDue).unwrap();
    assert!(matches!(&effects[..], [Effect::Signal(status), Effect::Revisit]
        if status.operation == Operation::UpdatedNeedReboot));
}

#[test]
fn the_running_slot_is_not_marked_while_the_other_one_boots_next() {
    let (_, effects) = step(&State::reboot_pending(), Event::MarkGoodDue).unwrap();
    assert_eq!(effects, []);
}

#[test]
fn a_slot_whose_time_comes_during_an_attempt_is_marked_after_it() {
    let on_trial = Event::Marked(Err("the health gate is pending".into()));
    let (checking, _) = run(State::idle(), [Event::AttemptRequested, on_trial]);
    let (_, effects) = step(&checking, Event::MarkGoodDue).unwrap();
    assert_eq!(effects, [Effect::MarkGoodLater]);
}

#[test]
fn a_pending_reboot_is_remembered_before_the_server_is_told() {
    let finishing = |commitment| {
        let mut events = up_to_download();
        events.extend([Event::Downloaded(Ok(())), Event::Reported]);
        let (finishing, _) = run(good(), events);
        step(&finishing, Event::Finished(Ok(commitment))).unwrap().1
    };
    for commitment in [
        Commitment::Clean,
        Commitment::AfterError(failure(ErrorCode::Error)),
    ] {
        assert_eq!(finishing(commitment).first(), Some(&Effect::RememberPending));
    }
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
    assert_eq!(state.running(), &Running::OnTrial(cause().to_string()));
    let (_, effects) = step(&good(), failed()).unwrap();
    assert_eq!(effects, []);
}

#[test]
fn a_slot_that_stays_is_watched_on() {
    let stays = Event::FellBack(Fallback::Stays("the other slot is not good".into()));
    let (state, effects) = step(&State::idle(), stays).unwrap();
    assert_eq!(effects, [Effect::WatchTrial]);
    assert_eq!(
        state.running(),
        &Running::OnTrial("the other slot is not good".into())
    );
}

/// An offer of another payload than the one that waits.
fn another() -> Event {
    let offered = Offered {
        version: "3.0.0".into(),
        size: 300,
    };
    Event::Revisited(CheckOutcome::Offer(offered), 9)
}

/// An update of version 2.0.0 waits for the reboot.
fn waiting() -> State {
    let mut events = up_to_download();
    events.extend([
        Event::Downloaded(Ok(())),
        Event::Reported,
        Event::Finished(Ok(Commitment::Clean)),
        Event::Reported,
    ]);
    run(good(), events).0
}

#[test]
fn asking_beside_an_update_that_waits_is_seen_by_nobody() {
    for outcome in [
        CheckOutcome::NoUpdate,
        CheckOutcome::Failed(failure(ErrorCode::XmlParse)),
    ] {
        let asked = Event::Revisited(outcome, 9);
        let (end, signals) = run(waiting(), [Event::CheckDue, asked.clone()]);
        assert_eq!(signals, [Operation::UpdatedNeedReboot]);
        assert_eq!(end.status().new_version, "2.0.0");
        assert_eq!(end.last_failure(), None);
        // The next check is only chosen now.
        assert_eq!(step(&waiting(), asked).unwrap().1, [Effect::Schedule]);
    }
    let (end, _) = run(waiting(), [Event::Revisited(CheckOutcome::NoUpdate, 9)]);
    assert_eq!(end.status().last_checked_time, 9);
}

#[test]
fn an_update_that_waits_is_replaced_by_another_payload() {
    let (end, signals) = run(
        waiting(),
        [
            another(),
            Event::Prepared(Ok(())),
            Event::Reported,
            Event::Progressed(1.0),
            Event::Forgotten,
            Event::Downloaded(Ok(())),
            Event::Reported,
            Event::Finished(Ok(Commitment::Clean)),
            Event::Reported,
        ],
    );
    assert_eq!(
        signals,
        [
            Operation::UpdateAvailable,
            Operation::Downloading,
            Operation::Finalizing,
            Operation::UpdatedNeedReboot
        ]
    );
    let status = end.status();
    assert_eq!((status.new_version.as_str(), status.new_size), ("3.0.0", 300));
}

#[test]
fn a_replacement_that_fails_before_the_slot_is_touched_leaves_the_first_update_waiting() {
    let refused = [
        another(),
        Event::Prepared(Err(failure(ErrorCode::Error))),
        Event::Reported,
    ];
    let (end, signals) = run(waiting(), refused);
    assert_eq!(
        signals,
        [
            Operation::UpdateAvailable,
            Operation::ReportingErrorEvent,
            Operation::UpdatedNeedReboot
        ]
    );
    let status = end.status();
    assert_eq!((status.new_version.as_str(), status.new_size), ("2.0.0", 100));
    assert_eq!(end.last_failure().unwrap().sentence, "because");
}

#[test]
fn a_replacement_that_fails_later_leaves_nothing_waiting() {
    let failed = [
        another(),
        Event::Prepared(Ok(())),
        Event::Reported,
        Event::Progressed(0.5),
        Event::Forgotten,
        Event::Downloaded(Err(failure(ErrorCode::PayloadHashMismatch))),
        Event::Reported,
    ];
    let (end, signals) = run(waiting(), failed);
    assert_eq!(signals.last(), Some(&Operation::Idle));
    assert_eq!(end.status().new_version, "0.0.0");
    // What follows is an attempt like any other.
    let (end, _) = run(end, [Event::AttemptRequested]);
    assert_eq!(end.phase(), &Phase::Checking(Trigger::Operator));
}

#[test]
fn an_answer_that_comes_after_a_reset_changes_nothing() {
    let (end, signals) = run(waiting(), [Event::ResetRequested, another()]);
    assert_eq!(end.phase(), &Phase::Idle);
    assert_eq!(signals, []);
}

fn any_failure() -> impl Strategy<Value = Failure> {
    Just(failure(ErrorCode::Error))
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Started),
        Just(Event::CheckDue),
        Just(Event::AttemptRequested),
        Just(Event::ResetRequested),
        Just(Event::WithdrawalRequested(WaitingSlot::Kept)),
        Just(Event::WithdrawalRequested(WaitingSlot::Unbootable)),
        Just(Event::Forgotten),
        Just(Event::Withdrawn(Ok(()))),
        Just(Event::Withdrawn(Err("the table can't be written".into()))),
        Just(Event::MarkGoodDue),
        Just(Event::TrialEnded(TrialEnd::Passed)),
        Just(Event::TrialEnded(TrialEnd::Failed(cause()))),
        Just(Event::FellBack(Fallback::Rebooting)),
        Just(Event::FellBack(Fallback::GoodAfterAll)),
        Just(Event::FellBack(Fallback::Stays("alone".into()))),
        Just(Event::Marked(Ok(()))),
        Just(Event::Marked(Err("on trial".into()))),
        Just(Event::Checked(CheckOutcome::NoUpdate, 1)),
        Just(offer()),
        any_failure().prop_map(|f| Event::Checked(CheckOutcome::Failed(f), 1)),
        Just(Event::Prepared(Ok(()))),
        any_failure().prop_map(|f| Event::Prepared(Err(f))),
        (0.0..=1.0).prop_map(Event::Progressed),
        Just(Event::Downloaded(Ok(()))),
        any_failure().prop_map(|f| Event::Downloaded(Err(f))),
        Just(Event::Finished(Ok(Commitment::Clean))),
        any_failure().prop_map(|f| Event::Finished(Ok(Commitment::AfterError(f)))),
        any_failure().prop_map(|f| Event::Finished(Err(f))),
        Just(Event::Reported),
        Just(Event::Pinged),
        Just(another()),
        Just(Event::Revisited(CheckOutcome::NoUpdate, 1)),
        any_failure().prop_map(|f| Event::Revisited(CheckOutcome::Failed(f), 1)),
    ]
}

/// The two slots as the effects leave them at worst: whether each would boot if power failed now.
struct Slots {
    running: bool,
    other: bool,
}

impl Slots {
    /// What an effect that was just ordered, and an event that answers one, do to the disk.
    fn follow(&mut self, event: &Event, effects: &[Effect]) {
        match event {
            Event::Marked(Ok(())) => self.running = true,
            Event::Finished(Ok(_)) => self.other = true,
            _ => {}
        }
        // Likewise: only if the disk says that the running slot is good.
        if effects.contains(&Effect::Download) || effects.contains(&Effect::Withdraw) && self.running {
            self.other = false;
        }
        // The order is carried out only if the disk says that the other slot is good; a slot that is good
        // itself is not left at all.
        if self.other && effects.iter().any(|effect| matches!(effect, Effect::FallBack(_))) {
            self.running = false;
        }
    }
}

proptest! {
    #[test]
    fn there_are_never_two_unbootable_slots(
        events in proptest::collection::vec(any_event(), 0..200)
    ) {
        // The worst start: just booted on the last try, the other slot is the fallback.
        let mut slots = Slots { running: false, other: true };
        let mut state = State::idle();
        for event in events {
            let Ok((next, effects)) = step(&state, event.clone()) else { continue };
            slots.follow(&event, &effects);
            prop_assert!(slots.running || slots.other, "after {event} while {}", state.phase());
            state = next;
        }
    }

    #[test]
    fn only_one_job_is_ever_under_way(
        events in proptest::collection::vec(any_event(), 0..200)
    ) {
        let mut state = State::idle();
        for event in events {
            let Ok((next, effects)) = step(&state, event) else { continue };
            let jobs = effects.iter().filter(|effect| matches!(effect,
                Effect::MarkGood | Effect::Check(_) | Effect::Prepare | Effect::Report(_)
                | Effect::Download | Effect::Finish | Effect::FallBack(_) | Effect::Withdraw)).count();
            prop_assert!(jobs <= 1, "{effects:?}");
            state = next;
        }
    }
}
