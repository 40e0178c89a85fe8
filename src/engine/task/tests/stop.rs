//! The end of the engine.

use super::*;

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_task() {
    let world = World::start(State::idle(), Script::default());
    assert!(world.end().await.is_empty());
}

/// Whether the engine stops within a second of the paused clock.
async fn stops_at_once(world: World) {
    let end = tokio::time::timeout(Duration::from_secs(1), world.end());
    assert!(end.await.is_ok(), "the end waits for the server");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_no_answer_of_the_server() {
    for server in [Server::ChecksOnly, Server::Nothing] {
        let script = Script {
            server,
            ..Script::default()
        };
        let attempting = World::start(good(), script.clone());
        attempting.attempt().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        stops_at_once(attempting).await;

        let pinging = World::start(State::reboot_pending(), script);
        tokio::time::sleep(Duration::from_secs(8 * 60)).await;
        stops_at_once(pinging).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_while_the_engine_stops_is_remembered() {
    let mut world = World::start(good(), Script::default());
    world.attempt().await;
    world.signals_until(Operation::Finalizing).await;
    tokio::time::sleep(A_WHILE / 2).await;
    let done = world.end().await;
    assert_eq!(done[done.len() - 2..], ["finish", "remember"]);
}
