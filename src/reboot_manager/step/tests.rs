mod holds;

use super::super::event::{InstalledOutcome, NoteAnswer, PrepareAnswer, RebootAnswer, UnlockAnswer};
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
    let (idle, _) = after(
        started("1", None),
        [read(good), ManagerEvent::Unlocked(UnlockAnswer::Released)],
    );
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
            [
                read(good),
                ManagerEvent::Settled,
                ManagerEvent::Unlocked(UnlockAnswer::Released),
            ],
        );
        assert_eq!(state.phase(), ManagerPhase::Waiting);
    }
}

#[test]
fn a_request_after_a_rollback_that_was_released_ends_as_any_other() {
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
    let (locked, _) = after(idle, taken);
    let (state, _) = after(
        started("4", locked.record().cloned()),
        [read(rolled_back()), ManagerEvent::Settled],
    );
    assert_eq!(state.phase(), ManagerPhase::Unlocking);
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
            ManagerEvent::Prepared(PrepareAnswer::Done),
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
    let (_, effects) = step(&state, ManagerEvent::Unlocked(UnlockAnswer::Released));
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
