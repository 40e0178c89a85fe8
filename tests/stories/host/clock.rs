//! Somebody sets the clock: what was noted before is corrected in the records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use update_engine::engine::{Checked, Failure, Report, Updater as _};
use update_engine::omaha::ErrorCode;
use update_engine::policy::ClockStep;
use update_engine::status::{OfferSource, Trigger, UnixTime};

use crate::support::scene::Scene;
use crate::trial::rollback::engine;
use test_support::fixtures;

const HOUR: i64 = 3600;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_noted_before_its_clock_was_set_back_by_an_hour_is_right_afterwards() {
    let scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let engine = engine(&scene.node);
    // Half of what follows is of an earlier process, for all that this one knows.
    let of_earlier = engine.now() - HOUR;
    let answer = scene.node.path("/var/lib/update_engine/prefs/full-response");

    let Checked::Offer((mut attempt, plan)) = engine.check(Trigger::Operator).await else {
        panic!("an update is offered");
    };
    drop(engine.prepare(&mut attempt, plan).await.unwrap());
    let failure = Failure::new(ErrorCode::DownloadTransfer, "no line");
    engine.report(&attempt, &Report::Failed(failure)).await;
    let before = engine.node_facts().await;
    let came = std::fs::metadata(&answer).unwrap().modified().unwrap();
    engine
        .clock_stepped(ClockStep {
            since: UnixTime(of_earlier + HOUR),
            until: UnixTime(engine.now()),
            by: -HOUR,
        })
        .await;
    let after = engine.node_facts().await;

    let earlier = |time: UnixTime| time.plus_seconds(-HOUR);
    assert!(before.tally.last_answer.is_some() && before.tally.last_failure.is_some());
    assert_eq!(after.tally.last_answer, before.tally.last_answer.map(earlier));
    let failed = before
        .tally
        .last_failure
        .map(|(code, time)| (code, earlier(time)));
    assert_eq!(after.tally.last_failure, failed);
    assert_eq!(after.attempts.len(), 1);
    assert_eq!(after.attempts[0].began, before.attempts[0].began - HOUR);
    let moved = std::fs::metadata(&answer).unwrap().modified().unwrap();
    assert_eq!(moved, came - Duration::from_secs(HOUR.unsigned_abs()));
    let preview = engine.preview(OfferSource::LastCheck).await;
    let seconds = moved.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(preview.answered, i64::try_from(seconds).ok());
    assert!(moved < SystemTime::now());
}
