//! Histories, each a machine with the slots A and B.
#![allow(clippy::unwrap_used)]

mod images;
mod regressions;

use proptest::prelude::*;
use slots::{Priority, Tries};

use super::*;
use crate::plan::ImageHashes;

const A: &str = "slot a";
const B: &str = "slot b";

fn payload(number: u8) -> SlotPayload {
    SlotPayload {
        sha256: Some([number; 32].into()),
        version: number.to_string(),
    }
}

fn slot(priority: u8, tries: u8) -> SlotAttributes {
    SlotAttributes::default()
        .with_priority(Priority::new(priority).unwrap())
        .on_trial(Tries::new(tries).unwrap())
}

fn good() -> SlotAttributes {
    slot(1, 0).marked_good()
}

/// A start in `running` while B has these attributes.
fn start(history: &mut History, running: &str, b: SlotAttributes) -> TrialOutcome {
    let attributes = |partuuid: &str| Some(if partuuid == B { b } else { good() });
    history.looked(running, attributes, UnixTime(7))
}

/// Payload 1 is in B, which boots next.
fn updated() -> History {
    let mut history = History::default();
    history.committed(B, payload(1));
    history
}

fn why(cause: &str) -> RollbackCause {
    RollbackCause {
        cause: cause.to_owned(),
        output: String::new(),
        is_regression: false,
    }
}

fn rolled_back(cause: &str) -> TrialOutcome {
    TrialOutcome::RolledBack(Rollback {
        payload: payload(1),
        cause: cause.to_owned(),
        output: String::new(),
        noticed: UnixTime(7),
    })
}

fn is_blocked(history: &History) -> bool {
    history.blocked_payloads().find(&[1; 32].into()).is_some()
}

fn image(number: u8) -> ImageHashes {
    ImageHashes {
        slot: [number; 32].into(),
        kernel: Some([number; 32].into()),
    }
}

/// Payloads 1, 2 and 3 make one image, 4 another one.
fn with_images(history: History) -> History {
    let mut images = KnownImages::default();
    for (payload, made) in [(1, 1), (2, 1), (3, 1), (4, 4)] {
        images.remember([payload; 32].into(), image(made));
    }
    history.with_images(images)
}

#[test]
fn slots_that_updates_went_to_are_known_whatever_became_of_them() {
    let mut history = History::default();
    assert!(!history.is_filled(A) && !history.is_filled(B));
    history.committed(B, payload(1));
    history.committed(B, payload(2));
    assert!(!history.is_filled(A) && history.is_filled(B));
    history.committed(A, payload(3));
    history.kept(A);
    assert!(history.is_filled(A) && history.is_filled(B));
    // Another disk.
    history.committed("slot c", payload(4));
    assert!(!history.is_filled(B) && history.is_filled(A));
}

#[test]
fn a_slot_that_never_came_up_is_to_blame_and_reported_once() {
    let mut history = updated();
    assert_eq!(start(&mut history, A, slot(2, 0)), rolled_back("did not come up"));
    assert!(is_blocked(&history) && history.is_unreported());
    assert_eq!(start(&mut history, A, slot(2, 0)), TrialOutcome::Nothing);
    history.reported();
    assert!(is_blocked(&history) && !history.is_unreported());
}

#[test]
fn a_slot_that_was_given_up_is_to_blame_for_its_cause() {
    let mut history = updated();
    assert_eq!(start(&mut history, B, slot(2, 0)), TrialOutcome::OnTrial);
    history.given_up(B, "1", why("unit a.service is failed"));
    history.ended_orderly(B);
    assert_eq!(
        start(&mut history, A, slot(2, 0)),
        rolled_back("unit a.service is failed")
    );
    assert!(is_blocked(&history));
}

#[test]
fn a_slot_that_somebody_else_put_on_trial_is_reported_without_blame() {
    let mut history = History::default();
    history.given_up(B, "2.0.0", why("because"));
    let TrialOutcome::RolledBack(rollback) = start(&mut history, A, slot(2, 0)) else {
        panic!("no rollback")
    };
    assert_eq!(rollback.payload.version, "2.0.0");
    assert_eq!(history.blocked_payloads(), &BlockedPayloads::default());
    assert!(history.is_unreported());
}

#[test]
fn orderly_shutdowns_and_power_cuts_blame_nobody_but_not_for_ever() {
    let mut history = History::default();
    for orderly in [true, false, true] {
        history.committed(B, payload(1));
        assert_eq!(start(&mut history, B, slot(2, 0)), TrialOutcome::OnTrial);
        if orderly {
            history.ended_orderly(B);
        }
        let times = history.interrupted.map_or(1, |(_, times)| times + 1);
        let outcome = start(&mut history, A, slot(2, 0));
        if times <= FORGIVEN {
            assert_eq!(outcome, TrialOutcome::Interrupted(payload(1)));
            assert!(!is_blocked(&history) && !history.is_unreported());
        } else {
            assert_eq!(
                outcome,
                rolled_back("went down 3 times before it was found healthy")
            );
        }
    }
    assert!(is_blocked(&history));
}

#[test]
fn a_slot_that_is_kept_is_forgiven() {
    let mut history = updated();
    start(&mut history, A, slot(2, 0));
    history.committed(B, payload(1));
    start(&mut history, B, slot(2, 0));
    history.kept(B);
    assert!(!is_blocked(&history));
    assert_eq!(history.trial(), None);
    assert!(history.was_updated(B) && !history.was_updated(A));
}

#[test]
fn a_slot_that_somebody_marked_good_is_kept() {
    let mut history = updated();
    assert_eq!(start(&mut history, B, good()), TrialOutcome::Kept);
    assert_eq!(history.trial(), None);
}

#[test]
fn a_slot_that_was_not_tried_yet_is_not_to_blame() {
    // The daemon was restarted, or the update was reset.
    let mut history = updated();
    assert_eq!(start(&mut history, A, slot(2, 1)), TrialOutcome::Nothing);
    // Another update has begun to overwrite the slot.
    assert_eq!(start(&mut history, A, slot(0, 0)), TrialOutcome::Nothing);
    assert!(!is_blocked(&history) && history.trial().is_some());
}

#[test]
fn history_survives_its_json_form_and_gaps_in_it() {
    let mut history = updated();
    start(&mut history, B, slot(2, 0));
    history.given_up(B, "1", why("because"));
    start(&mut history, A, slot(2, 0));
    history.committed(B, payload(2));
    let json = serde_json::to_vec(&history).unwrap();
    assert_eq!(serde_json::from_slice::<History>(&json).unwrap(), history);
    assert_eq!(serde_json::from_str::<History>("{}").unwrap(), History::default());
}

proptest! {
    /// A payload is only ever blamed in a look that found its slot tried without success, from
    /// another slot.
    #[test]
    fn nobody_is_blamed_without_a_trial_that_failed(
        steps in proptest::collection::vec((0_u8..5, 0_u8..3, 0_u8..2, any::<bool>()), 0..60)
    ) {
        let mut history = History::default();
        for (what, priority, tries, successful) in steps {
            let before = history.blocked_payloads().iter().count();
            let b = if successful { slot(priority, tries).marked_good() } else { slot(priority, tries) };
            let mut tried = false;
            match what {
                0 => history.committed(B, payload(priority)),
                1 => drop(start(&mut history, B, b)),
                2 => history.ended_orderly(B),
                3 => history.kept(B),
                _ => {
                    tried = priority > 0 && b.tries().get() == 0 && !successful;
                    start(&mut history, A, b);
                }
            }
            prop_assert!(tried || history.blocked_payloads().iter().count() <= before);
        }
    }
}

#[test]
fn what_an_operator_leaves_is_to_blame_until_it_runs_and_is_kept_again() {
    let mut history = History::default();
    history.committed(B, payload(1));
    start(&mut history, B, good());
    history.leave(B, A, UnixTime(2));
    assert!(history.blocked_payloads().find(&[1; 32].into()).is_some());
    assert!(history.is_leaving(B));
    let TrialOutcome::RolledBack(rollback) = start(&mut history, A, good()) else {
        panic!("not noticed");
    };
    assert_eq!(rollback.cause, "rolled back by the operator");
    assert_eq!(rollback.payload, payload(1));
    assert!(!history.is_unreported(), "nothing has failed");
    assert_eq!(start(&mut history, A, good()), TrialOutcome::Nothing);

    history.leave(A, B, UnixTime(5));
    assert!(
        history.blocked_payloads().find(&[1; 32].into()).is_none(),
        "it is wanted again"
    );
}

#[test]
fn a_rollback_that_is_taken_back_blames_nobody() {
    let mut history = History::default();
    history.committed(B, payload(1));
    start(&mut history, B, good());
    history.leave(B, A, UnixTime(2));
    history.kept(B);
    assert_eq!(history.blocked_payloads(), &BlockedPayloads::default());
    assert!(!history.is_leaving(B));
    assert_eq!(start(&mut history, A, good()), TrialOutcome::Nothing);
}

#[test]
fn a_version_that_can_not_be_read_forgets_no_payload() {
    let mut history = updated();
    history.runs(B, "");
    assert_eq!(
        (history.version_in(B), history.payload_in(B)),
        (Some("1"), Some(&[1; 32].into()))
    );
    history.runs(B, "2");
    assert_eq!((history.version_in(B), history.payload_in(B)), (Some("2"), None));
}

#[test]
fn what_an_update_takes_from_the_node_is_told_while_that_update_waits() {
    let lost = || vec!["the new image will not merge the sysext docker: …".to_owned()];
    let mut history = updated();
    assert_eq!(history.lost_with_waiting(), [""; 0]);
    history.loses(lost());
    assert_eq!(history.lost_with_waiting(), lost());
    let json = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
    // It runs, and then another one waits: it may be one that an earlier version has installed.
    start(&mut history, B, slot(2, 0));
    assert_eq!(history.lost_with_waiting(), [""; 0]);
    history.committed(A, payload(2));
    assert_eq!(history.lost_with_waiting(), [""; 0]);
    history.loses(Vec::new());
    assert!(
        !serde_json::to_string(&history)
            .unwrap()
            .contains("lost_extensions")
    );
}
