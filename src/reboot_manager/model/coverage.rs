//! The coverage of a search: every event, job, notice and obstacle of [`step`] that occurred, and in which phases.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};

use super::super::{
    Confirmation, EngineView, InstalledOutcome, LockAnswer, ManagerEffect, ManagerEvent, ManagerJob,
    ManagerState, NodeView, NoteAnswer, Notice, Pause, PrepareAnswer, RebootAnswer, RebootObstacle,
    SlotHealth, UnlockAnswer, step,
};

/// What has been seen.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) events: BTreeSet<&'static str>,
    /// Phases and events in them that changed or ordered something.
    pub(super) arms: BTreeSet<(&'static str, &'static str)>,
    pub(super) jobs: BTreeSet<&'static str>,
    pub(super) notices: BTreeSet<&'static str>,
    pub(super) obstacles: BTreeSet<&'static str>,
    /// Each state in which an event came.
    states: HashSet<ManagerState>,
}

thread_local! {
    static SEEN: RefCell<Option<Coverage>> = const { RefCell::new(None) };
}

/// Runs `explore` on this thread; gives what it has seen.
pub(super) fn of(explore: impl FnOnce()) -> Coverage {
    SEEN.set(Some(Coverage::default()));
    explore();
    SEEN.take().unwrap_or_default()
}

/// A step from `before` to `after` by `event`.
pub(super) fn note(
    before: &ManagerState,
    event: &ManagerEvent,
    after: &ManagerState,
    effects: &[ManagerEffect],
) {
    SEEN.with_borrow_mut(|seen| {
        let Some(seen) = seen else { return };
        seen.events.insert(event_word(event));
        if before != after || !effects.is_empty() {
            seen.arms.insert((before.phase().word(), event_word(event)));
        }
        for effect in effects {
            match effect {
                ManagerEffect::Start(job) => {
                    seen.jobs.insert(job_word(job));
                }
                ManagerEffect::Say(notice) => {
                    seen.notices.insert(notice_word(notice));
                }
                ManagerEffect::Save(_) | ManagerEffect::Forget | ManagerEffect::Stop => {}
            }
        }
        seen.obstacles.extend(after.obstacle().map(RebootObstacle::word));
        if !seen.states.contains(before) {
            seen.states.insert(before.clone());
        }
    });
}

impl Coverage {
    /// Phases and events that [`step`] would do something for in a state that was seen, and that did not come there.
    pub(super) fn missed_arms(&self) -> Vec<(&'static str, &'static str)> {
        let events = one_of_each();
        let mut missed = BTreeSet::new();
        for state in &self.states {
            for event in &events {
                let arm = (state.phase().word(), event_word(event));
                if self.arms.contains(&arm) || missed.contains(&arm) {
                    continue;
                }
                let (after, effects) = step(state, event.clone());
                if after != *state || !effects.is_empty() {
                    missed.insert(arm);
                }
            }
        }
        missed.into_iter().collect()
    }
}

fn event_word(event: &ManagerEvent) -> &'static str {
    match event {
        ManagerEvent::Engine(EngineView::Silent(_)) => "engine-silent",
        ManagerEvent::Engine(EngineView::Known(_)) => "engine",
        ManagerEvent::Requested => "requested",
        ManagerEvent::NotSaved(_) => "not-saved",
        ManagerEvent::Window(true) => "window-open",
        ManagerEvent::Window(false) => "window-closed",
        ManagerEvent::Locked(LockAnswer::Granted) => "granted",
        ManagerEvent::Locked(LockAnswer::Taken(_)) => "taken",
        ManagerEvent::Locked(LockAnswer::Failed(_)) => "lock-failed",
        ManagerEvent::Prepared(PrepareAnswer::Done) => "prepared",
        ManagerEvent::Prepared(PrepareAnswer::Vetoed(_)) => "vetoed",
        ManagerEvent::UsersNotified => "users-notified",
        ManagerEvent::Confirmed(_) => "confirmed",
        ManagerEvent::RebootAnswered(RebootAnswer::Ordered) => "ordered",
        ManagerEvent::RebootAnswered(RebootAnswer::Refused(_)) => "reboot-refused",
        ManagerEvent::RebootAnswered(RebootAnswer::Lost(_)) => "reboot-lost",
        ManagerEvent::Settled => "settled",
        ManagerEvent::Unlocked(UnlockAnswer::Released) => "unlocked",
        ManagerEvent::Unlocked(UnlockAnswer::Failed(_)) => "unlock-failed",
        ManagerEvent::Noted(NoteAnswer::Noted) => "noted",
        ManagerEvent::Noted(NoteAnswer::NotHeld) => "not-held",
        ManagerEvent::Noted(NoteAnswer::CannotTell) => "cannot-tell",
        ManagerEvent::Noted(NoteAnswer::Failed(_)) => "note-failed",
        ManagerEvent::PauseOver => "pause-over",
    }
}

/// One for each word of [`event_word`].
fn one_of_each() -> Vec<ManagerEvent> {
    let why = || "why".to_owned();
    let view = NodeView {
        waiting: None,
        is_resting: true,
        slot: Some("USR-A".to_owned()),
        version: "1".to_owned(),
        health: SlotHealth::Good,
        last_outcome: Some(InstalledOutcome::Other),
        rollback: None,
        installed: Some(0),
        is_staged: false,
    };
    let confirmation = Confirmation {
        engine: EngineView::Known(view.clone()),
        is_open: true,
        inhibitors: None,
    };
    let events = vec![
        ManagerEvent::Engine(EngineView::Silent(why())),
        ManagerEvent::Engine(EngineView::Known(view)),
        ManagerEvent::Requested,
        ManagerEvent::NotSaved(why()),
        ManagerEvent::Window(true),
        ManagerEvent::Window(false),
        ManagerEvent::Locked(LockAnswer::Granted),
        ManagerEvent::Locked(LockAnswer::Taken(why())),
        ManagerEvent::Locked(LockAnswer::Failed(why())),
        ManagerEvent::Prepared(PrepareAnswer::Done),
        ManagerEvent::Prepared(PrepareAnswer::Vetoed(why())),
        ManagerEvent::UsersNotified,
        ManagerEvent::Confirmed(confirmation),
        ManagerEvent::RebootAnswered(RebootAnswer::Ordered),
        ManagerEvent::RebootAnswered(RebootAnswer::Refused(why())),
        ManagerEvent::RebootAnswered(RebootAnswer::Lost(why())),
        ManagerEvent::Settled,
        ManagerEvent::Unlocked(UnlockAnswer::Released),
        ManagerEvent::Unlocked(UnlockAnswer::Failed(why())),
        ManagerEvent::Noted(NoteAnswer::Noted),
        ManagerEvent::Noted(NoteAnswer::NotHeld),
        ManagerEvent::Noted(NoteAnswer::CannotTell),
        ManagerEvent::Noted(NoteAnswer::Failed(why())),
        ManagerEvent::PauseOver,
    ];
    let words: BTreeSet<&str> = events.iter().map(event_word).collect();
    assert_eq!(words.len(), EVENTS, "an event stands here twice, or not at all");
    events
}

/// Words that [`event_word`] has: raised with a new one, which the compiler asks for there.
const EVENTS: usize = 24;

/// Words of all events that there are.
pub(super) fn all_events() -> BTreeSet<&'static str> {
    one_of_each().iter().map(event_word).collect()
}

fn job_word(job: &ManagerJob) -> &'static str {
    match job {
        ManagerJob::AwaitWindow => "await-window",
        ManagerJob::LookAtWindow => "look-at-window",
        ManagerJob::Lock { failed: None, .. } => "lock",
        ManagerJob::Lock { failed: Some(_), .. } => "lock-again",
        ManagerJob::Prepare => "prepare",
        ManagerJob::Notify => "notify",
        ManagerJob::Confirm => "confirm",
        ManagerJob::Reboot => "reboot",
        ManagerJob::Settle => "settle",
        ManagerJob::Unlock { fence: true } => "unlock-with-fence",
        ManagerJob::Unlock { fence: false } => "unlock",
        ManagerJob::Note(_) => "note",
        ManagerJob::Pause(Pause::Backoff(_)) => "pause-backoff",
        ManagerJob::Pause(Pause::Veto) => "pause-veto",
        ManagerJob::Pause(Pause::Retry) => "pause-retry",
        ManagerJob::Pause(Pause::Shutdown) => "pause-shutdown",
        ManagerJob::Pause(Pause::Look) => "pause-look",
    }
}

fn notice_word(notice: &Notice) -> &'static str {
    match notice {
        Notice::Taken(_) => "taken",
        Notice::Released => "released",
        Notice::Rebooting(_) => "rebooting",
        Notice::Held(_) => "held",
        Notice::NotHeld(_) => "not-held",
        Notice::CalledOff => "called-off",
    }
}

/// Words that [`job_word`], [`notice_word`] and [`RebootObstacle::word`] have: raised with a new one.
pub(super) const JOBS: usize = 17;
pub(super) const NOTICES: usize = 6;
pub(super) const OBSTACLES: usize = 11;
