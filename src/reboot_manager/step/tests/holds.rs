//! The lock that is kept after a rollback, and what ends the hold.

use super::*;

#[test]
fn staging_alone_gives_no_lock_back_that_is_held_after_a_rollback() {
    let mut staged = rolled_back();
    (staged.is_staged, staged.rollback) = (true, None);
    let (state, jobs) = after(held(), [read(staged)]);
    assert_eq!(state.phase(), ManagerPhase::Held);
    assert!(!jobs.iter().any(is_unlock), "{jobs:?}");
}

#[test]
fn a_request_after_a_rollback_changes_nothing_about_the_hold() {
    let (waiting, _) = after(
        started("3", record_of_update()),
        [
            ManagerEvent::Requested,
            read(rolled_back()),
            ManagerEvent::Settled,
        ],
    );
    let failure = |state: &ManagerState| state.record().and_then(|record| record.failed.clone());
    assert_eq!(
        (waiting.phase(), failure(&waiting)),
        (ManagerPhase::Waiting, Some(failed()))
    );
    let (waiting_too, _) = after(held(), [ManagerEvent::Requested]);
    for state in [waiting, waiting_too] {
        let (locked, _) = after(
            state,
            [
                ManagerEvent::Window(true),
                ManagerEvent::Locked(LockAnswer::Granted),
            ],
        );
        assert_eq!(
            (locked.phase(), failure(&locked)),
            (ManagerPhase::Preparing, Some(failed()))
        );
        let back = started("4", locked.record().cloned());
        let (again, jobs) = after(back, [read(rolled_back()), ManagerEvent::Settled]);
        assert_eq!(
            (again.phase(), failure(&again)),
            (ManagerPhase::Held, Some(failed()))
        );
        assert!(!jobs.iter().any(is_unlock), "{jobs:?}");
        // Somebody has released it.
        let (released, _) = after(again, [ManagerEvent::Noted(NoteAnswer::NotHeld)]);
        assert_eq!(released.phase(), ManagerPhase::Unlocking);
    }
}

#[test]
fn a_later_update_that_is_good_ends_the_hold() {
    let mut waits = rolled_back();
    waits.waiting = Some(WantedReboot {
        version: "3".to_owned(),
        ..update()
    });
    let events = [
        read(waits),
        ManagerEvent::Window(true),
        ManagerEvent::Locked(LockAnswer::Granted),
    ];
    let (locked, _) = after(held(), events);
    let good = view("USR-B", SlotHealth::Good, InstalledOutcome::Other);
    let (state, jobs) = after(
        started("4", locked.record().cloned()),
        [read(good), ManagerEvent::Settled],
    );
    assert_eq!(state.phase(), ManagerPhase::Unlocking);
    assert!(jobs.iter().any(is_unlock), "{jobs:?}");
}

#[test]
fn a_version_that_was_booted_by_a_request_and_failed_holds_the_lock() {
    let record = record_of_locked([ManagerEvent::Requested]);
    let (seen, _) = after(started("2", record.clone()), [read(on_trial())]);
    assert_eq!(seen.phase(), ManagerPhase::Trial);
    for record in [record, seen.record().cloned()] {
        let (state, jobs) = after(started("3", record), [read(rolled_back()), ManagerEvent::Settled]);
        assert_eq!(state.phase(), ManagerPhase::Held);
        assert_eq!(
            state.record().and_then(|record| record.failed.clone()),
            Some(failed())
        );
        assert!(!jobs.iter().any(is_unlock), "{jobs:?}");
    }
}

#[test]
fn without_its_record_a_node_that_rolled_back_keeps_the_lock() {
    for (start, events, phase) in [
        (
            started("3", None).with_lost_record(),
            [read_twice(rolled_back()), vec![ManagerEvent::Settled]].concat(),
            ManagerPhase::Held,
        ),
        // Another manager may have held it for what is over, or an operator has given it back.
        (
            started("3", None),
            vec![read(rolled_back())],
            ManagerPhase::Unlocking,
        ),
        (
            started("3", None).with_lost_record(),
            read_twice(view("USR-A", SlotHealth::Good, InstalledOutcome::Withdrawn)),
            ManagerPhase::Unlocking,
        ),
        (
            ManagerState {
                after_rollback: AfterRollback::Release,
                ..started("3", None).with_lost_record()
            },
            read_twice(rolled_back()),
            ManagerPhase::Unlocking,
        ),
    ] {
        assert_eq!(after(start, events).0.phase(), phase);
    }
}

#[test]
fn a_newer_update_that_waits_after_a_rollback_and_is_withdrawn_leaves_the_lock_held() {
    let mut newer = rolled_back();
    newer.waiting = Some(WantedReboot {
        version: "3".to_owned(),
        ..update()
    });
    let mut withdrawn = rolled_back();
    withdrawn.last_outcome = Some(InstalledOutcome::Withdrawn);
    let (waits, _) = after(started("2", record_of_update()), [read(newer)]);
    assert_eq!(waits.phase(), ManagerPhase::Waiting);
    let (held, jobs) = after(waits, [read(withdrawn), ManagerEvent::Settled]);
    assert_eq!(held.phase(), ManagerPhase::Held);
    assert_eq!(jobs, [ManagerJob::Settle, ManagerJob::Note(failed())]);
}

/// It was installed, booted by root's request, and left again before anybody saw it; all of that for the second time.
#[test]
fn the_same_bad_version_a_second_time_holds_the_lock_again() {
    let (idle, _) = after(
        held(),
        [
            ManagerEvent::Noted(NoteAnswer::NotHeld),
            ManagerEvent::Unlocked(UnlockAnswer::Released),
        ],
    );
    let taken = [
        ManagerEvent::Requested,
        ManagerEvent::Window(true),
        ManagerEvent::Locked(LockAnswer::Granted),
    ];
    let record = after(idle, taken).0.record().cloned();
    let installed = |installed| NodeView {
        installed,
        ..rolled_back()
    };
    for (view, phase) in [
        (installed(Some(2)), ManagerPhase::Held),
        (installed(Some(1)), ManagerPhase::Unlocking),
        // An engine that doesn't count.
        (installed(None), ManagerPhase::Unlocking),
    ] {
        let (state, _) = after(started("4", record.clone()), [read(view), ManagerEvent::Settled]);
        assert_eq!(state.phase(), phase);
    }
}

#[test]
fn an_update_that_came_in_by_a_request_and_is_good_ends_an_earlier_hold() {
    let (waiting, _) = after(held(), [ManagerEvent::Requested]);
    let taken = [
        ManagerEvent::Window(true),
        ManagerEvent::Locked(LockAnswer::Granted),
    ];
    let record = after(waiting, taken).0.record().cloned();
    let kept = view("USR-B", SlotHealth::Good, InstalledOutcome::Other);
    for (view, phase) in [
        (kept, ManagerPhase::Unlocking),
        (rolled_back(), ManagerPhase::Held),
    ] {
        let (state, _) = after(started("4", record.clone()), [read(view), ManagerEvent::Settled]);
        assert_eq!(state.phase(), phase);
    }
}

/// A version that failed, and another one that was installed in its place and withdrawn, both before the manager looked.
#[test]
fn a_withdrawal_after_a_rollback_releases_nothing() {
    let withdrawn = NodeView {
        last_outcome: Some(InstalledOutcome::Withdrawn),
        ..rolled_back()
    };
    let (state, _) = after(
        started("2", record_of_update()),
        [read(withdrawn), ManagerEvent::Settled],
    );
    assert_eq!(state.phase(), ManagerPhase::Held);
}

/// A later update that no reboot of ours has brought, as after a power cut.
#[test]
fn a_later_update_that_nobody_was_asked_for_ends_the_hold_once_it_is_good() {
    let kept = view("USR-B", SlotHealth::Good, InstalledOutcome::Other);
    let trial = NodeView {
        rollback: Some(failed()),
        ..on_trial()
    };
    let anew = after(started("4", held().record().cloned()), [read(trial.clone())]).0;
    assert_eq!(anew.phase(), ManagerPhase::Held);
    for state in [held(), anew, started("5", held().record().cloned())] {
        let (state, _) = after(state, [read(kept.clone()), ManagerEvent::Settled]);
        assert_eq!(state.phase(), ManagerPhase::Unlocking);
    }
}
