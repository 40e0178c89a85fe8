//! Snapshots: what our own interface learns.

use super::*;

#[tokio::test(start_paused = true)]
async fn our_own_interface_learns_of_versions_times_and_causes_without_asking() {
    let mut world = World::start(good(), Script::default());
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    let is_settled = |snapshot: &Snapshot| snapshot.overview.running_version == "1.0.0";
    let overview = world
        .snapshot
        .wait_for(is_settled)
        .await
        .unwrap()
        .overview
        .clone();
    assert_eq!(overview.summary, "2.0.0 is installed: reboot to use it");
    assert_eq!(overview.progress, None.into());
    let next = overview.next_check.0.unwrap();
    assert_eq!((next.time, next.why.as_str()), (Some(1000 + 7 * 60), "because"));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_says_already_when_the_first_check_comes() {
    let world = World::start(good(), Script::default());
    // Its task has not run yet.
    let next = world.snapshot.borrow().overview.next_check.0.clone();
    assert_eq!(next.unwrap().time, Some(1000 + 7 * 60));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_published_with_its_causes_and_a_new_attempt_clears_it() {
    let failure = Failure {
        causes: vec!["the cable".to_owned()],
        ..Failure::new(ErrorCode::XmlParse, "not well formed")
    };
    let script = Script {
        check: Answer::Failed(failure),
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    world.signals_until(Operation::Idle).await;
    let overview = world.snapshot.borrow_and_update().overview.clone();
    let told = overview.last_failure.0.unwrap();
    assert_eq!((told.code, told.causes), (31, vec!["the cable".to_owned()]));
    assert_eq!(overview.no_update.0.unwrap().reason, "not well formed: the cable");
    world.attempt().await;
    assert_eq!(world.snapshot.borrow().overview.last_failure, None.into());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_comes_due_amid_an_attempt_is_not_shown_as_one_in_the_past() {
    let script = Script {
        server: Server::ChecksOnly,
        ..Script::default()
    };
    // Its timer begins an attempt, which waits for a server that is silent.
    let mut world = World::start(good(), script);
    let is_amid = |snapshot: &Snapshot| snapshot.overview.state == crate::status::EngineState::Preparing;
    let overview = world.snapshot.wait_for(is_amid).await.unwrap().overview.clone();
    let next = overview.next_check.0.unwrap();
    assert_eq!(
        (next.time, next.why.as_str()),
        (None, "as soon as what is under way has ended")
    );
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_changed_by_hand_while_a_check_comes_due_leaves_the_schedule_that_follows() {
    let script = Script {
        boots_next: BootsNext::Running,
        check: Answer::NoUpdate,
        ..Script::default()
    };
    let mut world = World::start(State::reboot_pending(), script);
    world.signals_until(Operation::CheckingForUpdate).await;
    world.signals_until(Operation::Idle).await;
    let is_idle = |snapshot: &Snapshot| snapshot.overview.state == crate::status::EngineState::Idle;
    let overview = world.snapshot.wait_for(is_idle).await.unwrap().overview.clone();
    assert_eq!(overview.next_check.0.unwrap().why, "because");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn times_are_right_after_the_clock_was_set() {
    const YEARS: i64 = 1_795_000_000;
    let script = Script {
        check: Answer::NoUpdate,
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    world.signals_until(Operation::Idle).await;
    // NTP has the time a minute later; then somebody sets it back by an hour.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for (wall, moved) in [(YEARS, YEARS - 1000), (YEARS - 3600, YEARS - 1000 - 3600)] {
        *world.updater.wall.lock().unwrap() = wall;
        world.updater.clock_set.notify_one();
        let is_set = |snapshot: &Snapshot| {
            let check = snapshot.overview.last_check.0.as_ref();
            check.is_some_and(|check| check.time == 1000 + moved)
        };
        let overview = world.snapshot.wait_for(is_set).await.unwrap().overview.clone();
        let next = overview.next_check.0.unwrap().time.unwrap();
        // Due seven minutes after the check, of which one has passed.
        assert!((wall + 350..=wall + 360).contains(&next), "{}", next - wall);
        assert_eq!(world.status().await.last_checked_time, 1000 + moved);
    }
    let done = world.end().await;
    assert!(done.contains(&"clock set by 1794999000".to_owned()), "{done:?}");
    assert!(done.contains(&"clock set by -3600".to_owned()), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_of_a_change_finds_the_slots_as_they_are_since_however_long_a_look_takes() {
    let script = Script {
        facts_take: Some(Duration::from_secs(2)),
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    let priority = |world: &World| world.snapshot.borrow().overview.slots[0].priority;
    world.attempt().await;
    // By the signal.
    world.signals_until(Operation::Finalizing).await;
    assert_eq!(priority(&world), 0);
    world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(priority(&world), 2);
    world.end().await;

    // By our own interface.
    let script = Script {
        facts_take: Some(Duration::from_secs(2)),
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    world.attempt().await;
    let waits = |snapshot: &Snapshot| snapshot.overview.state == crate::status::EngineState::RebootNeeded;
    let slots = world
        .snapshot
        .wait_for(waits)
        .await
        .unwrap()
        .overview
        .slots
        .clone();
    assert_eq!(slots[0].priority, 2);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_a_mark_comes_once_the_slots_are_published_as_it_has_left_them() {
    let script = Script {
        facts_take: Some(Duration::from_secs(2)),
        trial: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    let (reply, answer) = oneshot::channel();
    world.commands.send(Command::MarkGood(reply)).await.unwrap();
    answer.await.unwrap().unwrap();
    assert!(world.snapshot.borrow().overview.slots[0].successful);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_keeps_no_change_from_being_told() {
    let script = Script {
        facts_take: None,
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    let began = Instant::now();
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    world.end().await;
}
