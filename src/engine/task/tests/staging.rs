//! Updates that are staged, and activated by order.

use super::*;
use crate::status::EngineState;

fn staging() -> Script {
    Script {
        finish: Ok(Commitment::Staged(None)),
        ..Script::default()
    }
}

/// Until nothing is under way.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_staged_update_is_read_back_and_waits_for_its_activation() {
    let world = World::start(good(), staging());
    world.attempt().await;
    settle().await;
    let status = world.status().await;
    assert_eq!(
        (status.operation, status.new_version.as_str()),
        (Operation::Idle, "2.0.0")
    );
    world.activate().await.unwrap();
    settle().await;
    assert_eq!(world.status().await.operation, Operation::UpdatedNeedReboot);
    let done = world.end().await;
    let after_finish: Vec<&str> = done
        .iter()
        .map(String::as_str)
        .skip_while(|done| *done != "finish")
        .collect();
    assert_eq!(after_finish, ["finish", "confirm", "activate", "remember", "3/1"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_reboot_activates_needs_a_reboot_already_and_nothing_says_so_elsewhere() {
    let script = Script {
        confirmed: Ok(ready(Activation::Reboot)),
        ..staging()
    };
    let mut world = World::start(good(), script);
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    settle().await;
    let done = world.end().await;
    assert!(!done.contains(&"remember".to_owned()) && !done.contains(&"3/1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_reset_and_a_withdrawal_take_it_back() {
    for slot in [None, Some(WaitingSlot::Kept), Some(WaitingSlot::Unbootable)] {
        let world = World::start(good(), staging());
        world.attempt().await;
        settle().await;
        let lost = || world.snapshot.borrow().overview.extension_warnings.clone();
        assert_eq!(lost(), Some(vec!["docker is lost".to_owned()]));
        match slot {
            None => assert!(world.reset().await),
            Some(slot) => world.withdraw(slot).await.unwrap(),
        }
        settle().await;
        assert_eq!(lost(), Some(Vec::new()));
        let status = world.status().await;
        assert_eq!(
            (status.operation, status.new_version.as_str()),
            (Operation::Idle, "0.0.0")
        );
        world.activate().await.unwrap_err();
        assert!(world.end().await.ends_with(&["unstage".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_start_it_is_read_back_before_it_can_be_activated() {
    let world = World::start(State::staged("2.0.0".to_owned()), staging());
    settle().await;
    world.activate().await.unwrap();
    assert_eq!(world.end().await[..2], ["confirm", "activate"]);
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_read_back_is_not_activated_and_tried_again_with_the_next_check() {
    let script = Script {
        confirmed: Err(Unconfirmed::NotNow("it is mounted".to_owned())),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    let refusal = world.activate().await.unwrap_err().to_string();
    assert!(refusal.contains("it is mounted"), "{refusal}");
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    let done = world.end().await;
    assert_eq!(
        done.iter().filter(|done| *done == "confirm").count(),
        2,
        "{done:?}"
    );
    assert!(!done.contains(&"activate".to_owned()), "{done:?}");
    assert!(done.contains(&"ping".to_owned()), "the server is told: {done:?}");
}

#[tokio::test(start_paused = true)]
async fn while_it_is_being_read_back_it_can_be_withdrawn() {
    for slot in [None, Some(WaitingSlot::Unbootable)] {
        let world = World::start(State::staged("2.0.0".to_owned()), staging());
        match slot {
            None => assert!(world.reset().await),
            Some(slot) => world.withdraw(slot).await.unwrap(),
        }
        settle().await;
        assert_eq!(world.status().await.operation, Operation::Idle);
        world.activate().await.unwrap_err();
        assert!(world.end().await.contains(&"unstage".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_is_answered_with_the_reason_and_it_is_staged_still() {
    let script = Script {
        unstaged: Err(SlotError::Unfit("a read-only file system".to_owned())),
        withdrawn: (true, Ok(())),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    let refusal = world.withdraw(WaitingSlot::Unbootable).await.unwrap_err();
    assert_eq!(refusal.to_string(), "a read-only file system");
    assert!(!world.reset().await);
    settle().await;
    assert_eq!(world.status().await.new_version, "2.0.0");
    world.activate().await.unwrap();
    let done = world.end().await;
    assert_eq!(
        done[..5],
        ["confirm", "unstage", "confirm", "unstage", "confirm"],
        "{done:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reboot_that_would_not_activate_it_is_not_asked_for_and_the_reason_is_told() {
    let script = Script {
        confirmed: Ok(StagedReadiness {
            activation: Activation::Reboot,
            obstacle: Some("its unit is not active".to_owned()),
        }),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    assert_eq!(world.status().await.operation, Operation::Idle);
    let overview = world.snapshot.borrow().overview.clone();
    assert_eq!(overview.state, EngineState::Staged);
    assert_eq!(overview.summary, "2.0.0 is staged: its unit is not active");
    world.activate().await.unwrap();
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_boots_next_or_runs_already_is_not_taken_for_a_changed_one() {
    for (found, operation) in [
        (Unconfirmed::Activated, Operation::UpdatedNeedReboot),
        (Unconfirmed::Runs, Operation::Idle),
    ] {
        let script = Script {
            confirmed: Err(found.clone()),
            ..staging()
        };
        let world = World::start(State::staged("2.0.0".to_owned()), script);
        settle().await;
        assert_eq!(world.status().await.operation, operation);
        let done = world.end().await;
        let is_remembered = done.contains(&"remember".to_owned());
        assert_eq!(is_remembered, found == Unconfirmed::Activated, "{done:?}");
        assert!(!done.iter().any(|done| done.starts_with("failed")), "{done:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_was_staged_ends_as_a_failure() {
    let failure = Failure::new(ErrorCode::NewRootfsVerification, "another image");
    let script = Script {
        confirmed: Err(Unconfirmed::Void(failure)),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    assert_eq!(world.status().await.operation, Operation::Idle);
    world.activate().await.unwrap_err();
    let done = world.end().await;
    assert_eq!(done[..2], ["confirm", "failed 15"], "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_activated_at_once_is() {
    let script = Script {
        confirmed: Ok(ready(Activation::AtOnce)),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    assert_eq!(world.status().await.operation, Operation::UpdatedNeedReboot);
    assert_eq!(world.end().await[..3], ["confirm", "activate", "remember"]);
}

#[tokio::test(start_paused = true)]
async fn an_activation_that_fails_leaves_it_staged_and_asks_for_no_reboot() {
    for activation in [Activation::Order, Activation::Reboot] {
        let script = Script {
            activated: Err(SlotError::Unfit("no kernel".to_owned())),
            confirmed: Ok(ready(activation)),
            ..staging()
        };
        let world = World::start(State::staged("2.0.0".to_owned()), script);
        settle().await;
        assert_eq!(world.activate().await.unwrap_err().to_string(), "no kernel");
        assert_eq!(world.status().await.operation, Operation::Idle, "{activation:?}");
        let done = world.end().await;
        assert!(!done.contains(&"remember".to_owned()), "{done:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_makes_it_the_next_to_boot_is_believed() {
    let script = Script {
        boots_next: BootsNext::Other,
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    assert_eq!(world.status().await.operation, Operation::UpdatedNeedReboot);
    let done = world.end().await;
    assert!(!done.contains(&"activate".to_owned()), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn another_update_takes_its_place_where_one_is_offered() {
    let script = Script {
        beside: true,
        prepare: Err(Failure::new(ErrorCode::Error, "no space")),
        withdrawn: (true, Ok(())),
        ..staging()
    };
    let world = World::start(State::staged("2.0.0".to_owned()), script);
    settle().await;
    world.attempt().await;
    settle().await;
    let status = world.status().await;
    assert_eq!(
        (status.operation, status.new_version.as_str()),
        (Operation::Idle, "2.0.0"),
        "it is staged still"
    );
    let done = world.end().await;
    assert_eq!(
        done,
        ["confirm", "revisit by Operator", "prepare", "failed 1", "confirm"],
        "it is read back once more"
    );
}
