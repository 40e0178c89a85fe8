//! An update that waits for its reboot.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pending_reboot_only_pings() {
    let mut world = World::start(State::reboot_pending(), Script::default());
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(world.end().await, ["revisit by Schedule", "revisit by Operator"]);
}

#[tokio::test(start_paused = true)]
async fn another_update_takes_the_place_of_one_that_waits() {
    let script = Script {
        beside: true,
        ..Script::default()
    };
    let mut world = World::start(State::reboot_pending(), script);
    world.signals_until(Operation::UpdateAvailable).await;
    let signals = world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(signals.last().unwrap().new_version, "3.0.0");
    let done = world.end().await;
    assert_eq!(
        done,
        [
            "revisit by Schedule",
            "prepare",
            "13/1",
            "download",
            "14/1",
            "finish",
            "remember",
            "3/1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_need_not_wait_for_the_next_question_beside_an_update_that_waits() {
    let script = Script {
        beside: true,
        interval: None,
        ..Script::default()
    };
    let mut world = World::start(State::reboot_pending(), script);
    world.attempt().await;
    world.signals_until(Operation::UpdateAvailable).await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(world.end().await[..2], ["revisit by Operator", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn one_question_at_a_time_is_asked_beside_an_update_that_waits() {
    let script = Script {
        server: Server::Nothing,
        ..Script::default()
    };
    let world = World::start(State::reboot_pending(), script);
    for _ in 0..3 {
        world.attempt().await;
        tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    }
    assert_eq!(world.end().await, ["revisit by Operator"]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_drops_the_question_beside_the_update_and_the_schedule_goes_on() {
    let script = Script {
        server: Server::Nothing,
        ..Script::default()
    };
    let world = World::start(State::reboot_pending(), script);
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    assert!(world.reset().await);
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    assert_eq!(
        world.end().await,
        ["revisit by Schedule", "forget", "check by Schedule"]
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_the_next_attempt_checks_again() {
    let mut world = World::start(State::reboot_pending(), Script::default());
    assert!(world.reset().await);
    assert_eq!(world.status().await, Status::default());
    world.attempt().await;
    world.signals_until(Operation::CheckingForUpdate).await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    let done = world.end().await;
    assert_eq!(done[..2], ["forget", "check by Operator"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_answered_when_the_slot_is_unbootable() {
    let world = World::start(State::reboot_pending(), Script::default());
    assert_eq!(world.withdraw(WaitingSlot::Unbootable).await, Ok(()));
    assert_eq!(world.status().await.operation, Operation::Idle);
    assert_eq!(world.end().await, ["withdraw"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_says_why_and_what_still_waits() {
    for (waits, operation) in [(true, Operation::UpdatedNeedReboot), (false, Operation::Idle)] {
        let reason = "the table can't be written".to_owned();
        let failed = Err(SlotError::Io(reason.clone()));
        let script = Script {
            withdrawn: (waits, failed),
            ..Script::default()
        };
        let world = World::start(State::reboot_pending(), script);
        assert_eq!(
            world.withdraw(WaitingSlot::Unbootable).await,
            Err(CommandRefusal::Slots(reason))
        );
        assert_eq!(world.status().await.operation, operation);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_keeps_the_slot_is_a_reset() {
    let world = World::start(State::reboot_pending(), Script::default());
    assert_eq!(world.withdraw(WaitingSlot::Kept).await, Ok(()));
    assert_eq!(world.withdraw(WaitingSlot::Kept).await, Ok(()));
    assert_eq!(world.end().await, ["forget"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_while_busy_is_refused_with_a_reason() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    let refused = world.withdraw(WaitingSlot::Kept).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a withdrawal has no meaning while a check is under way"
    );
    world.end().await;
}
