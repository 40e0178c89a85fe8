//! An attempt that an operator breaks off is over when that is answered.

use super::*;

/// An engine whose attempt is at its end, which comes as `finish` says.
async fn finishing(finish: Result<Commitment, Failure>) -> World {
    let script = Script {
        finish,
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    world.attempt().await;
    world.signals_until(Operation::Finalizing).await;
    tokio::time::sleep(A_WHILE / 2).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_too_late_is_told_that_the_update_is_installed() {
    for finish in [
        Commitment::Clean,
        Commitment::AfterError(Failure::new(ErrorCode::Error, "because")),
    ] {
        let mut world = finishing(Ok(finish)).await;
        let answer = world.cancel().await.await.unwrap();
        assert_eq!(answer, Err(CommandRefusal::TooLate));
        world.signals_until(Operation::UpdatedNeedReboot).await;
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_answered_when_the_attempt_has_ended_and_a_second_one_is_refused() {
    let world = finishing(Err(Failure::new(ErrorCode::Error, "cancelled"))).await;
    let first = world.cancel().await;
    let second = world.cancel().await.await.unwrap();
    assert_eq!(second, Err(CommandRefusal::CancelledAlready));
    let begun = Instant::now();
    assert_eq!(first.await.unwrap(), Ok(()));
    assert!(begun.elapsed() > A_WHILE / 4, "{:?}", begun.elapsed());
    // Nothing of the first one is left.
    world.attempt().await;
    let next = world.cancel().await.await.unwrap();
    assert!(next.unwrap_err().to_string().contains("has no meaning"));
    world.end().await;
}
