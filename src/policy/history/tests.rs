//! Histories, each a machine with the slots A and B.
#![allow(clippy::unwrap_used)]

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

fn blocked(history: &History) -> Vec<u8> {
    let mut blocked: Vec<u8> = history
        .blocked_payloads()
        .iter()
        .map(|blocked| blocked.sha256.as_bytes()[0])
        .collect();
    blocked.sort_unstable();
    blocked
}

#[test]
fn what_fails_is_blamed_in_every_package_that_makes_it_and_forgiven_in_all() {
    let mut history = with_images(updated());
    start(&mut history, A, slot(2, 0));
    assert_eq!(blocked(&history), [1, 2, 3]);
    assert!(
        history.blocked_payload(&[2; 32].into(), UnixTime(7)).is_some()
            && history.blocked_payload(&[4; 32].into(), UnixTime(7)).is_none()
    );
    history.block_package([5; 32].into(), image(1));
    history.block_package([6; 32].into(), image(6));
    assert_eq!(
        blocked(&history),
        [1, 2, 3, 5],
        "nothing is known against image 6"
    );
    assert!(
        history
            .blocked_payloads()
            .iter()
            .all(|blocked| blocked.cause == "did not come up")
    );

    history.committed(B, payload(2));
    start(&mut history, B, slot(2, 0));
    history.kept(B);
    assert_eq!(blocked(&history), [0; 0]);
}

#[test]
fn an_image_is_interrupted_whatever_package_it_came_in() {
    let mut history = with_images(History::default());
    for number in [1, 2] {
        history.committed(B, payload(number));
        start(&mut history, B, slot(2, 0));
        assert_eq!(
            start(&mut history, A, slot(2, 0)),
            TrialOutcome::Interrupted(payload(number))
        );
    }
    history.committed(B, payload(3));
    start(&mut history, B, slot(2, 0));
    assert!(matches!(
        start(&mut history, A, slot(2, 0)),
        TrialOutcome::RolledBack(_)
    ));
    assert_eq!(blocked(&history), [1, 2, 3]);
}

#[test]
fn what_an_operator_leaves_is_left_in_every_package() {
    let mut history = with_images(updated());
    start(&mut history, B, good());
    history.leave(B, A, UnixTime(2));
    assert_eq!(blocked(&history), [1, 2, 3]);
    history.kept(B);
    assert_eq!(blocked(&history), [0; 0]);
}

#[test]
fn payloads_blamed_by_a_version_that_knew_no_images_get_theirs() {
    let mut history = updated();
    start(&mut history, A, slot(2, 0));
    assert_eq!(history.blocked_payload(&[2; 32].into(), UnixTime(7)), None);
    let history = with_images(history);
    assert!(history.blocked_payload(&[2; 32].into(), UnixTime(7)).is_some());
    assert!(history.blocked_payloads().find_image(&image(1)).is_some());
}

/// Payload 1 was lost by a regression, noticed at `now`.
fn regressed(history: &mut History, now: i64) {
    history.committed(B, payload(1));
    start(history, B, slot(2, 0));
    let why = RollbackCause {
        is_regression: true,
        ..why("an extension is not merged")
    };
    history.given_up(B, "1", why);
    let attributes = |partuuid: &str| Some(if partuuid == B { slot(2, 0) } else { good() });
    let outcome = history.looked(A, attributes, UnixTime(now));
    assert!(matches!(outcome, TrialOutcome::RolledBack(_)), "{outcome:?}");
}

fn is_blocked_at(history: &History, package: u8, now: i64) -> bool {
    history
        .blocked_payload(&[package; 32].into(), UnixTime(now))
        .is_some()
}

#[test]
fn a_payload_lost_by_a_regression_is_put_off_for_an_hour_and_blocked_when_lost_again() {
    const HOUR: i64 = 3600;
    let mut history = with_images(History::default());
    regressed(&mut history, 1000);
    assert!(history.is_unreported());
    for package in [1, 2, 3] {
        assert!(is_blocked_at(&history, package, 1000) && is_blocked_at(&history, package, 999 + HOUR));
        assert!(!is_blocked_at(&history, package, 1000 + HOUR));
    }
    // Sooner, by an operator's wish: the first time still counts.
    regressed(&mut history, 2000);
    assert!(is_blocked_at(&history, 2, 999 + HOUR) && !is_blocked_at(&history, 2, 1000 + HOUR));
    regressed(&mut history, 1000 + HOUR);
    assert!(is_blocked_at(&history, 3, 1 << 40));
    regressed(&mut history, 1 << 41);
    assert!(is_blocked_at(&history, 3, 1 << 50));
}

#[test]
fn no_clock_makes_the_hour_longer_and_what_is_kept_is_forgiven() {
    let mut history = with_images(History::default());
    regressed(&mut history, 1_000_000);
    // Set back: the entry is from the future, and the hour begins anew.
    assert!(!is_blocked_at(&history, 1, 10));
    regressed(&mut history, 10);
    assert!(is_blocked_at(&history, 1, 3609) && !is_blocked_at(&history, 1, 3610));
    history.committed(B, payload(2));
    start(&mut history, B, slot(2, 0));
    history.kept(B);
    assert_eq!(history.blocked_payloads(), &BlockedPayloads::default());
}

#[test]
fn a_clock_that_starts_in_the_past_at_every_boot_blocks_at_the_third_trial() {
    let mut history = with_images(History::default());
    regressed(&mut history, 10);
    regressed(&mut history, 10);
    assert!(!is_blocked_at(&history, 1, 10 + 3600));
    regressed(&mut history, 10);
    assert!(is_blocked_at(&history, 1, 1 << 40));
}

#[test]
fn only_a_payload_of_ours_in_its_first_boot_is_on_its_first_trial() {
    let mut history = updated();
    history.boots(A, "boot 1");
    assert_eq!(history.first_trial(A, "boot 1"), None);
    history.boots(B, "boot 2");
    start(&mut history, B, slot(2, 0));
    history.boots(B, "boot 2");
    assert_eq!(history.first_trial(B, "boot 2"), Some(&payload(1)));
    // It was given another try.
    history.boots(B, "boot 3");
    assert_eq!(history.first_trial(B, "boot 3"), None);
    history.committed(B, payload(2));
    assert_eq!(history.first_trial(B, "boot 2"), None);
    let mut foreign = History::default();
    foreign.boots(B, "boot 1");
    foreign.given_up(B, "2", why("because"));
    assert_eq!(foreign.first_trial(B, "boot 1"), None);
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
