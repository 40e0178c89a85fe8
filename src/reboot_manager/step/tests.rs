use super::super::event::{InstalledOutcome, NoteAnswer};
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
            vec![read(rolled_back()), ManagerEvent::Settled],
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
            vec![read(view("USR-A", SlotHealth::Good, InstalledOutcome::Withdrawn))],
            ManagerPhase::Unlocking,
        ),
        (
            ManagerState {
                after_rollback: AfterRollback::Release,
                ..started("3", None).with_lost_record()
            },
            vec![read(rolled_back())],
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
