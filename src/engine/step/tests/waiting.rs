//! An update that waits for its reboot: withdrawn, replaced, asked beside.

use super::*;

#[test]
fn whichever_way_an_update_is_withdrawn_idle_is_signalled_once_and_last() {
    let ways = [
        vec![Event::ResetRequested],
        vec![Event::Overtaken],
        vec![withdraw(WaitingSlot::Kept)],
        vec![
            withdraw(WaitingSlot::Unbootable),
            Event::Forgotten,
            Event::Withdrawn(Ok(())),
        ],
        // The slot could not be touched any more once the marker was gone.
        vec![
            withdraw(WaitingSlot::Unbootable),
            Event::Forgotten,
            Event::Withdrawn(Err(SlotError::Io("no".into()))),
        ],
    ];
    for way in ways {
        let (end, signals) = run(waiting(), way);
        assert_eq!(end.phase(), &Phase::Idle);
        assert_eq!(signals, [Operation::Idle]);
        assert_eq!(end.status().new_version, "0.0.0");
    }
    // Nothing waited: nobody has been told that something does.
    assert_eq!(run(good(), [Event::ResetRequested]).1, []);
}

#[test]
fn a_ping_is_signalled_and_is_no_check() {
    let checked = waiting().status().last_checked_time;
    let (end, signals) = run(waiting(), [Event::CheckDue, Event::Pinged]);
    assert_eq!(signals, [Operation::UpdatedNeedReboot]);
    assert_eq!(end.status().last_checked_time, checked);
}

fn withdraw(slot: WaitingSlot) -> Event {
    Event::WithdrawalRequested(slot)
}

#[test]
fn an_update_is_withdrawn_with_its_slot_or_without() {
    let (end, effects) = step(&State::reboot_pending(), withdraw(WaitingSlot::Kept)).unwrap();
    assert!(
        matches!(&effects[..], [Effect::ForgetPending, Effect::Signal(status), Effect::Schedule]
        if status.operation == Operation::Idle)
    );
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
    let refused = Event::Withdrawn(Err(SlotError::Io("the running slot is not good".into())));
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
    assert_eq!(signals, [Operation::Idle, Operation::Idle]);
}

#[test]
fn a_pending_reboot_pings_and_signals_again() {
    let (_, effects) = step(&State::reboot_pending(), Event::CheckDue).unwrap();
    assert!(
        matches!(&effects[..], [Effect::Signal(status), Effect::Revisit(Trigger::Schedule)]
        if status.operation == Operation::UpdatedNeedReboot)
    );
}

#[test]
fn the_running_slot_is_not_marked_while_the_other_one_boots_next() {
    let (_, effects) = step(&State::reboot_pending(), Event::MarkGoodDue).unwrap();
    assert_eq!(effects, []);
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
    assert_eq!(signals, [Operation::Idle]);
}

#[test]
fn a_wait_that_the_partition_table_contradicts_ends_and_is_forgotten() {
    let (state, effects) = step(&State::reboot_pending(), Event::Overtaken).unwrap();
    assert_eq!(state.phase(), &Phase::Idle);
    assert_eq!(effects[0], Effect::ForgetPending);
    assert!(matches!(&effects[1], Effect::Signal(status) if status.operation == Operation::Idle));
    for state in [State::idle(), good()] {
        assert!(step(&state, Event::Overtaken).is_err());
    }
}
