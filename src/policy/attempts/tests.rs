//! Histories of a machine with the slots A and B, told from what a disk says.
#![allow(clippy::unwrap_used)]

use slots::{Priority, Tries};

use super::super::SlotPayload;
use super::*;

const A: &str = "slot a";
const B: &str = "slot b";

fn begun(number: u8) -> Attempt {
    Attempt {
        began: UnixTime(i64::from(number)),
        ended: None,
        from: "1.0.0".to_owned(),
        to: number.to_string(),
        slot: "USR-B".to_owned(),
        partuuid: B.to_owned(),
        sha256: [number; 32].into(),
        size: 100,
        asked_by: Trigger::Schedule,
        resumed_at: 0,
        fetched: 0,
        content: None,
        download_seconds: 0,
        finish_seconds: 0,
        state: AttemptState::UnderWay,
        code: None,
        why: String::new(),
        times: 1,
    }
}

fn slot(priority: u8, tries: u8) -> SlotAttributes {
    SlotAttributes::default()
        .with_priority(Priority::new(priority).unwrap())
        .on_trial(Tries::new(tries).unwrap())
}

/// The machine in which `running` runs, and B has these attributes.
struct Machine {
    running: &'static str,
    slots: Vec<(String, SlotAttributes)>,
    staged: Option<&'static str>,
    history: History,
}

impl Machine {
    fn running(running: &'static str, b: SlotAttributes) -> Self {
        let good = slot(1, 0).marked_good();
        Self {
            running,
            slots: vec![(A.to_owned(), good), (B.to_owned(), b)],
            staged: None,
            history: History::default(),
        }
    }

    /// Payload `number` was committed to B.
    fn holding(mut self, number: u8) -> Self {
        let version = number.to_string();
        let sha256 = Some([number; 32].into());
        self.history.committed(B, SlotPayload { sha256, version });
        self
    }

    fn look(&self) -> DiskView<'_> {
        DiskView {
            running: self.running,
            slots: &self.slots,
            staged: self.staged,
            history: &self.history,
        }
    }
}

fn states(attempts: &Attempts) -> Vec<AttemptState> {
    attempts.iter().map(|attempt| attempt.state).collect()
}

fn after(numbers: &[u8]) -> Attempts {
    let mut attempts = Attempts::default();
    for number in numbers {
        attempts.begin(begun(*number));
        attempts.end(|attempt| attempt.state = AttemptState::Waiting);
    }
    attempts
}

fn failed(attempts: &mut Attempts, attempt: Attempt, why: &str) {
    attempts.begin(attempt);
    attempts.end(|attempt| {
        attempt.state = AttemptState::Failed;
        attempt.code = Some(18);
        why.clone_into(&mut attempt.why);
    });
}

#[test]
fn a_staged_attempt_goes_on_as_record_and_disk_say() {
    for (running, b, staged, state) in [
        (A, slot(0, 0), Some(B), AttemptState::Staged),
        (A, slot(0, 0), None, AttemptState::Withdrawn),
        (A, slot(2, 1), Some(B), AttemptState::Waiting),
        (A, slot(2, 1), None, AttemptState::Waiting),
        (B, slot(2, 0), Some(B), AttemptState::OnTrial),
        (B, slot(2, 0).marked_good(), None, AttemptState::Kept),
        (A, slot(2, 0), None, AttemptState::RolledBack),
    ] {
        let mut attempts = Attempts::default();
        attempts.begin(begun(1));
        attempts.end(|attempt| attempt.state = AttemptState::Staged);
        let mut machine = Machine::running(running, b);
        machine.staged = staged;
        attempts.started(Some(machine.look()));
        assert_eq!(states(&attempts), [state], "{running} {b} {staged:?}");
    }
}

#[test]
fn an_attempt_that_was_cut_after_the_record_is_staged() {
    let mut attempts = Attempts::default();
    attempts.begin(begun(1));
    let mut machine = Machine::running(A, slot(0, 0)).holding(1);
    machine.staged = Some(B);
    attempts.started(Some(machine.look()));
    assert_eq!(states(&attempts), [AttemptState::Staged]);
}

#[test]
fn an_installed_attempt_goes_on_as_the_disk_says() {
    for (running, b, state) in [
        (A, slot(2, 1), AttemptState::Waiting),
        (B, slot(2, 0), AttemptState::OnTrial),
        (B, slot(2, 0).marked_good(), AttemptState::Kept),
        (A, slot(2, 0), AttemptState::RolledBack),
        (A, slot(0, 0), AttemptState::Withdrawn),
    ] {
        let mut attempts = after(&[1]);
        attempts.started(Some(Machine::running(running, b).look()));
        assert_eq!(states(&attempts), [state], "{running} {b}");
    }
}

#[test]
fn what_was_found_good_once_stays_so_whatever_its_slot_is_used_for() {
    let mut attempts = after(&[1]);
    attempts.settle(Machine::running(B, slot(2, 0).marked_good()).look());
    attempts.settle(Machine::running(A, slot(0, 0)).look());
    assert_eq!(states(&attempts), [AttemptState::Kept]);
}

#[test]
fn a_rollback_is_told_with_the_cause_that_is_remembered() {
    let mut attempts = after(&[1]);
    let mut machine = Machine::running(A, slot(2, 0)).holding(1);
    machine.history.looked(A, |_| Some(slot(2, 0)), UnixTime(7));
    attempts.started(Some(machine.look()));
    let attempt = attempts.iter().next().unwrap();
    assert_eq!(attempt.state, AttemptState::RolledBack);
    assert_eq!(attempt.why, "did not come up");
}

#[test]
fn an_attempt_that_was_cut_counts_as_installed_only_if_its_commit_is_on_the_disk() {
    for (running, b, held, state) in [
        (A, slot(0, 0), 1, AttemptState::Interrupted),
        (A, slot(2, 1), 1, AttemptState::Waiting),
        (B, slot(2, 0), 1, AttemptState::OnTrial),
        // An earlier update waits there.
        (A, slot(2, 1), 9, AttemptState::Interrupted),
        // The daemon runs in the slot as it was before: the loader preferred it.
        (B, slot(1, 0).marked_good(), 9, AttemptState::Interrupted),
    ] {
        let mut attempts = Attempts::default();
        attempts.begin(begun(1));
        attempts.started(Some(Machine::running(running, b).holding(held).look()));
        assert_eq!(states(&attempts), [state], "{running} {b} {held}");
    }
    let mut attempts = Attempts::default();
    attempts.begin(begun(1));
    attempts.started(None);
    assert_eq!(
        states(&attempts),
        [AttemptState::Interrupted],
        "the disk can't be read"
    );
}

#[test]
fn an_update_that_another_one_took_the_slot_of_was_withdrawn() {
    let mut attempts = after(&[1, 2]);
    attempts.settle(Machine::running(A, slot(2, 1)).look());
    assert_eq!(
        states(&attempts),
        [AttemptState::Withdrawn, AttemptState::Waiting]
    );
}

#[test]
fn only_the_last_attempts_are_remembered_and_no_text_without_end() {
    let mut attempts = Attempts::default();
    for number in 0..100 {
        let to = "x".repeat(1 << 16);
        attempts.begin(Attempt {
            to,
            fetched: 1,
            ..begun(number)
        });
    }
    assert_eq!(attempts.iter().count(), MOST);
    assert_eq!(attempts.iter().next().unwrap().began, UnixTime(68));
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.to.chars().count() == LONGEST + 1)
    );
}

#[test]
fn the_same_failure_again_and_again_is_one_entry_and_another_one_is_another() {
    let mut attempts = Attempts::default();
    failed(&mut attempts, begun(9), "no key");
    for _ in 0..100 {
        failed(&mut attempts, begun(1), "no key");
    }
    failed(&mut attempts, begun(1), "no room");
    failed(
        &mut attempts,
        Attempt {
            fetched: 5,
            ..begun(1)
        },
        "no room",
    );
    failed(
        &mut attempts,
        Attempt {
            fetched: 5,
            ..begun(1)
        },
        "no room",
    );
    let times: Vec<_> = attempts.iter().map(|attempt| attempt.times).collect();
    assert_eq!(times, [1, 100, 1, 1, 1]);
}

#[test]
fn what_a_later_engine_wrote_is_read() {
    let mut attempt = serde_json::to_value(begun(1)).unwrap();
    attempt["course"] = "teleported".into();
    attempt["colour"] = "blue".into();
    let mut attempts: Attempts = serde_json::from_value(serde_json::json!([attempt])).unwrap();
    attempts.started(Some(Machine::running(B, slot(1, 0).marked_good()).look()));
    assert_eq!(states(&attempts), [AttemptState::Unknown]);
}
