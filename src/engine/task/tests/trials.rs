//! The running slot on trial.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_on_trial_asks_but_installs_nothing() {
    let script = Script {
        good: Err(SlotError::OnTrial("the health gate is pending".to_owned())),
        ..Script::default()
    };
    let mut world = World::start(State::idle(), script);
    world.attempt().await;
    world.signals_until(Operation::ReportingErrorEvent).await;
    world.signals_until(Operation::Idle).await;
    assert_eq!(world.end().await, ["mark good", "check by Operator", "failed 36"]);
}

#[tokio::test(start_paused = true)]
async fn the_running_slot_is_marked_good_when_its_trial_ends() {
    let world = World::start(State::idle(), Script::default());
    tokio::time::sleep(SETTLE.saturating_sub(Duration::from_millis(1))).await;
    assert!(world.updater.done.lock().unwrap().is_empty());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(world.end().await, ["mark good"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_stays_on_trial_is_looked_at_again() {
    let script = Script {
        good: Err(SlotError::OnTrial("the health gate is pending".to_owned())),
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(SETTLE + MARK_GOOD_AGAIN * 3 / 2).await;
    assert_eq!(world.end().await, ["mark good", "mark good"]);
}

fn unhealthy() -> TrialEnd {
    TrialEnd::Failed(Cause::Systemd {
        reason: "because".to_owned(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_not_healthy_in_time_is_left() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.end().await, ["fall back"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_cannot_be_left_defers_updates_and_says_why() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        fallback: Fallback::Stays("the other slot is not good".to_owned()),
        good: Err(SlotError::OnTrial("unhealthy".to_owned())),
        interval: None,
        ..Script::default()
    };
    let mut world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(700)).await;
    world.attempt().await;
    world.signals_until(Operation::ReportingErrorEvent).await;
    let done = world.end().await;
    assert_eq!(
        done[..4],
        ["fall back", "mark good", "check by Operator", "failed 36"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_trial_changes_nothing_once_the_slot_is_good() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        check: Answer::NoUpdate,
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    world.attempt().await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(world.end().await, ["mark good", "check by Operator"]);
}
