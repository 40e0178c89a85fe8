use super::super::event::{InstalledOutcome, NoteAnswer, RebootAnswer};
use super::super::state::{FailedVersion, WantedReboot};
use super::*;

fn failed() -> FailedVersion {
    FailedVersion {
        version: "2".to_owned(),
        cause: "bad".to_owned(),
    }
}

/// The engine in this slot, with nothing waiting; rolled back from version 2 if told so.
fn view(slot: &str, health: SlotHealth, outcome: InstalledOutcome) -> NodeView {
    NodeView {
        waiting: None,
        is_resting: true,
        slot: Some(slot.to_owned()),
        version: if slot == "USR-A" { "1" } else { "2" }.to_owned(),
        health,
        last_outcome: Some(outcome),
        rollback: (outcome == InstalledOutcome::RolledBack).then(failed),
        installed: Some(1),
        is_staged: false,
    }
}

fn on_trial() -> NodeView {
    let health = SlotHealth::NotYet("looked at".to_owned());
    view("USR-B", health, InstalledOutcome::Other)
}

fn rolled_back() -> NodeView {
    view("USR-A", SlotHealth::Good, InstalledOutcome::RolledBack)
}

fn update() -> WantedReboot {
    WantedReboot {
        reason: Reason::Update,
        version: "2".to_owned(),
        slot: Some("USR-B".to_owned()),
    }
}

fn read(view: NodeView) -> ManagerEvent {
    ManagerEvent::Engine(EngineView::Known(view))
}

/// The last look, at an open window.
fn confirmed(view: NodeView) -> ManagerEvent {
    ManagerEvent::Confirmed(Confirmation {
        engine: EngineView::Known(view),
        is_open: true,
        inhibitors: None,
    })
}

/// Without the record: what is read before it is certain that the machine doesn't go down, and after.
fn read_twice(view: NodeView) -> Vec<ManagerEvent> {
    vec![read(view.clone()), ManagerEvent::PauseOver, confirmed(view)]
}

/// A manager that starts in the boot of this id, with the record of an earlier one.
fn started(boot: &str, record: Option<HoldRecord>) -> ManagerState {
    ManagerState::new(boot.to_owned(), AfterRollback::Hold, record)
}

/// After these events; with the jobs that were started.
fn after(
    state: ManagerState,
    events: impl IntoIterator<Item = ManagerEvent>,
) -> (ManagerState, Vec<ManagerJob>) {
    let mut jobs = Vec::new();
    let mut state = state;
    for event in events {
        let (next, effects) = step(&state, event);
        state = next;
        jobs.extend(effects.into_iter().filter_map(|effect| match effect {
            ManagerEffect::Start(job) => Some(job),
            _ => None,
        }));
    }
    (state, jobs)
}

/// The record of a node that has taken the lock for what is wanted after these events.
fn record_of_locked(events: impl IntoIterator<Item = ManagerEvent>) -> Option<HoldRecord> {
    let good = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    let (idle, _) = after(started("1", None), [read(good), ManagerEvent::Unlocked(Ok(()))]);
    assert_eq!(idle.phase(), ManagerPhase::Idle);
    let taken = [
        ManagerEvent::Window(true),
        ManagerEvent::Locked(LockAnswer::Granted),
    ];
    let (locked, _) = after(idle, events.into_iter().chain(taken));
    assert_eq!(locked.phase(), ManagerPhase::Preparing);
    locked.record().cloned()
}

fn record_of_update() -> Option<HoldRecord> {
    let mut waits = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    waits.waiting = Some(update());
    record_of_locked([read(waits)])
}

/// A node that keeps the lock after the rollback from version 2.
fn held() -> ManagerState {
    let (held, _) = after(
        started("3", record_of_update()),
        [read(rolled_back()), ManagerEvent::Settled],
    );
    assert_eq!(
        (held.phase(), held.record().and_then(|it| it.failed.clone())),
        (ManagerPhase::Held, Some(failed()))
    );
    held
}

fn is_unlock(job: &ManagerJob) -> bool {
    matches!(job, ManagerJob::Unlock { .. })
}

#[test]
fn a_reboot_that_did_not_activate_what_is_staged_is_no_rollback() {
    let mut staged = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    staged.is_staged = true;
    let (state, jobs) = after(
        started("2", record_of_update()),
        [read(staged), ManagerEvent::Settled],
    );
    assert_ne!(state.phase(), ManagerPhase::Held);
    assert!(state.record().is_none_or(|record| record.failed.is_none()));
    assert!(jobs.iter().any(is_unlock), "{jobs:?}");
}

#[test]
fn staging_alone_gives_no_lock_back_that_is_held_after_a_rollback() {
    let mut staged = rolled_back();
    (staged.is_staged, staged.rollback) = (true, None);
    let (state, jobs) = after(held(), [read(staged)]);
    assert_eq!(state.phase(), ManagerPhase::Held);
    assert!(!jobs.iter().any(is_unlock), "{jobs:?}");
}

#[test]
fn a_request_amid_a_trial_waits_for_its_end_and_leaves_its_record_alone() {
    let before = record_of_update();
    for events in [
        vec![read(on_trial()), ManagerEvent::Requested, read(on_trial())],
        vec![ManagerEvent::Requested, read(on_trial())],
    ] {
        let (state, jobs) = after(started("2", before.clone()), events);
        assert_eq!(
            (state.phase(), state.record()),
            (ManagerPhase::Trial, before.as_ref())
        );
        assert_eq!(jobs, []);
        // The trial ends well: it is served.
        let good = view("USR-B", SlotHealth::Good, InstalledOutcome::Other);
        let (state, _) = after(
            state,
            [read(good), ManagerEvent::Settled, ManagerEvent::Unlocked(Ok(()))],
        );
        assert_eq!(state.phase(), ManagerPhase::Waiting);
    }
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
fn a_request_after_a_rollback_that_was_released_ends_as_any_other() {
    let (idle, _) = after(
        held(),
        [
            ManagerEvent::Noted(NoteAnswer::NotHeld),
            ManagerEvent::Unlocked(Ok(())),
        ],
    );
    let taken = [
        ManagerEvent::Requested,
        ManagerEvent::Window(true),
        ManagerEvent::Locked(LockAnswer::Granted),
    ];
    let (locked, _) = after(idle, taken);
    let (state, _) = after(
        started("4", locked.record().cloned()),
        [read(rolled_back()), ManagerEvent::Settled],
    );
    assert_eq!(state.phase(), ManagerPhase::Unlocking);
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
            ManagerEvent::Unlocked(Ok(())),
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

/// A node whose manager has asked logind for the reboot.
fn ordered() -> ManagerState {
    let mut waits = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    waits.waiting = Some(update());
    let confirmed = confirmed(waits.clone());
    let (ordered, jobs) = after(
        started("1", None),
        [
            read(waits),
            ManagerEvent::Window(true),
            ManagerEvent::Locked(LockAnswer::Granted),
            ManagerEvent::Prepared(Ok(())),
            ManagerEvent::UsersNotified,
            confirmed,
        ],
    );
    assert_eq!(jobs.last(), Some(&ManagerJob::Reboot));
    ordered
}

#[test]
fn while_the_machine_may_be_going_down_nothing_is_called_off() {
    let withdrawn = read(view("USR-A", SlotHealth::Good, InstalledOutcome::Withdrawn));
    let lost = ManagerEvent::RebootAnswered(RebootAnswer::Lost("no answer in 25 s".to_owned()));
    let (waits, jobs) = after(ordered(), [lost, withdrawn.clone()]);
    assert_eq!(waits.phase(), ManagerPhase::Rebooting);
    assert_eq!(jobs, [ManagerJob::Pause(Pause::Shutdown)]);
    // A manager that is killed amid it, and started anew.
    let (anew, jobs) = after(started("1", ordered().record().cloned()), [withdrawn.clone()]);
    assert_eq!(anew.phase(), ManagerPhase::Rebooting);
    assert_eq!(jobs, [ManagerJob::Pause(Pause::Shutdown)]);
    for state in [waits, anew] {
        let (looks, jobs) = after(state, [ManagerEvent::PauseOver]);
        assert_eq!(
            (looks.phase(), jobs),
            (ManagerPhase::Confirming, vec![ManagerJob::Confirm])
        );
        assert_eq!(looks.record().map(|record| record.ordered), Some(false));
    }
    let refused = ManagerEvent::RebootAnswered(RebootAnswer::Refused("busy".to_owned()));
    let (off, _) = after(ordered(), [refused, withdrawn]);
    assert_eq!(off.phase(), ManagerPhase::Settling);
}

/// As another version of the manager may leave it.
#[test]
fn a_record_that_holds_the_lock_for_nothing_gives_it_back() {
    let record = record_of_update().map(|record| HoldRecord {
        wanted: None,
        prepared: false,
        ..record
    });
    let good = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    let (state, jobs) = after(started("2", record), [read(good)]);
    assert_eq!(state.phase(), ManagerPhase::Unlocking);
    assert_eq!(jobs, [ManagerJob::Unlock { fence: true }]);
}

#[test]
fn what_is_settled_after_a_rollback_is_not_settled_again_by_each_start() {
    let (state, effects) = step(
        &after(started("3", record_of_update()), [read(rolled_back())]).0,
        ManagerEvent::Settled,
    );
    let saved = effects.iter().find_map(|effect| match effect {
        ManagerEffect::Save(record) => Some(record.clone()),
        _ => None,
    });
    assert_eq!(saved.as_ref(), state.record());
    let (_, jobs) = after(started("3", saved), [read(rolled_back())]);
    assert_eq!(jobs, [ManagerJob::Note(failed())]);
}

#[test]
fn a_record_that_is_lost_is_removed_and_what_it_may_have_asked_for_overtaken() {
    let good = view("USR-A", SlotHealth::Good, InstalledOutcome::Other);
    let lost = started("2", None).with_lost_record();
    let (waits, jobs) = after(lost, [read(good.clone()), read(good.clone())]);
    assert_eq!(jobs, [ManagerJob::Pause(Pause::Shutdown)]);
    assert_eq!(waits.obstacle(), Some(&RebootObstacle::RecordLost));
    let (state, jobs) = after(
        waits,
        [ManagerEvent::PauseOver, read(good.clone()), confirmed(good)],
    );
    assert_eq!(jobs, [ManagerJob::Confirm, ManagerJob::Unlock { fence: true }]);
    let (_, effects) = step(&state, ManagerEvent::Unlocked(Ok(())));
    assert!(effects.contains(&ManagerEffect::Forget), "{effects:?}");
}

#[test]
fn an_engine_that_does_not_answer_is_told_in_each_phase_until_it_does() {
    let silent = || ManagerEvent::Engine(EngineView::Silent("gone".to_owned()));
    for state in [started("1", None), held(), ordered()] {
        let phase = state.phase();
        let (state, _) = after(state, [silent()]);
        assert_eq!((state.phase(), state.silence()), (phase, Some("gone")));
        let (state, _) = after(state, [read(rolled_back())]);
        assert_eq!(state.silence(), None);
        let told = state.obstacle().map(|obstacle| format!("{obstacle:?}"));
        assert!(!told.is_some_and(|told| told.contains("Silent")), "{phase:?}");
    }
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
