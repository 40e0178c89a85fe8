//! Checks and attempts, from the timer or an operator.

use super::*;

/// The signals of an attempt after the one of the start.
async fn attempt(script: Script, until: Operation) -> (Vec<Operation>, Vec<String>) {
    let mut world = World::start(good(), script);
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    let signals = world.signals_until(until).await;
    let operations = signals.iter().map(|status| status.operation).collect();
    (operations, world.end().await)
}

#[tokio::test(start_paused = true)]
async fn a_good_update_tells_the_server_at_each_stage() {
    let (signals, done) = attempt(Script::default(), Operation::UpdatedNeedReboot).await;
    assert_eq!(
        done,
        [
            "check by Operator",
            "prepare",
            "13/1",
            "download",
            "14/1",
            "finish",
            "remember",
            "3/1"
        ]
    );
    assert_eq!(
        signals,
        [
            Operation::CheckingForUpdate,
            Operation::UpdateAvailable,
            Operation::Downloading,
            Operation::Downloading,
            Operation::Downloading,
            Operation::Finalizing,
            Operation::UpdatedNeedReboot
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_the_download_downloads_nothing() {
    let script = Script {
        prepare: Err(Failure::new(ErrorCode::Error, "no room on /boot")),
        ..Script::default()
    };
    let (_, done) = attempt(script, Operation::Idle).await;
    assert_eq!(done, ["check by Operator", "prepare", "failed 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_is_reported() {
    let failure = Failure::new(ErrorCode::XmlParse, "not well formed");
    let script = Script {
        check: Answer::Failed(failure),
        ..Script::default()
    };
    let (signals, done) = attempt(script, Operation::Idle).await;
    assert_eq!(done, ["check by Operator", "failed 31"]);
    assert_eq!(
        signals,
        [
            Operation::CheckingForUpdate,
            Operation::ReportingErrorEvent,
            Operation::Idle
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_state_is_checking_when_attempt_update_is_answered() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    assert_eq!(world.status().await.operation, Operation::CheckingForUpdate);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn checks_follow_the_schedule() {
    let script = Script {
        check: Answer::NoUpdate,
        ..Script::default()
    };
    let world = World::start(good(), script);
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    assert_eq!(world.end().await, ["check by Schedule", "check by Schedule"]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_check_by_itself_still_marks_good() {
    let script = Script {
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.end().await, ["mark good"]);
}

#[tokio::test(start_paused = true)]
async fn reset_while_busy_is_refused() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    assert!(!world.reset().await);
    world.end().await;
}

#[test]
fn a_state_to_start_from_is_idle_or_waits_for_the_reboot() {
    assert_eq!(State::idle().phase(), &Phase::Idle);
    assert_eq!(State::reboot_pending().phase(), &Phase::NeedReboot);
}
