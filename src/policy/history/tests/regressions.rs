//! Payloads that are lost by regressions: put off first, blocked when lost again.

use super::*;

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
