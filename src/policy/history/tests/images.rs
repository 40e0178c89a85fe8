//! Images that several packages make: blame is by image.

use super::*;

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
