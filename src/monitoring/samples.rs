//! Samples: what a snapshot says of one metric. Pure.

use serde::Serialize;

use super::exposition::Sample;
use crate::status::{AttemptReport, AttemptState, SlotReport, Snapshot, Transfer};

pub(super) fn info(snapshot: &Snapshot) -> Vec<Sample> {
    let overview = &snapshot.overview;
    let sample = Sample::of(1)
        .with("engine", env!("CARGO_PKG_VERSION"))
        .with("running", overview.running_version.clone())
        .with("waiting", overview.waiting_version.clone());
    vec![sample]
}

pub(super) fn regressions(snapshot: &Snapshot) -> Vec<Sample> {
    let health = &snapshot.health;
    let is_known = health
        .outcome
        .as_deref()
        .is_some_and(|outcome| outcome != "not-compared");
    let count = |certain: bool| {
        let found = health
            .findings
            .iter()
            .filter(|finding| finding.certain == certain)
            .count();
        Sample::of(u64::try_from(found).unwrap_or(u64::MAX))
    };
    let samples =
        [("certain", true), ("perhaps", false)].map(|(word, certain)| count(certain).with("certainty", word));
    samples.into_iter().filter(|_| is_known).collect()
}

/// What is known of the last attempt that has ended, if it is.
pub(super) fn last_ended(snapshot: &Snapshot, tell: impl Fn(&AttemptReport) -> Option<u64>) -> Vec<Sample> {
    some(ended(snapshot).and_then(tell).map(Sample::of))
}

fn ended(snapshot: &Snapshot) -> Option<&AttemptReport> {
    let mut attempts = snapshot.attempts.iter().rev();
    attempts.find(|attempt| attempt.outcome != AttemptState::UnderWay)
}

pub(super) fn image_source(snapshot: &Snapshot) -> Vec<Sample> {
    let mut attempts = snapshot.attempts.iter().rev();
    let Some(attempt) = attempts.find(|attempt| attempt.outcome.has_image()) else {
        return Vec::new();
    };
    let is_content = attempt.content_package.is_some() && attempt.content_failure.is_none();
    let sources = [("content", is_content), ("payload", !is_content)];
    sources
        .map(|(source, is)| Sample::of(is).with("source", source))
        .into()
}

pub(super) fn checks(snapshot: &Snapshot) -> Vec<Sample> {
    let checks = snapshot.tally.checks;
    [
        ("no-update", checks.no_update),
        ("taken", checks.taken),
        ("deferred", checks.deferred),
        ("failed", checks.failed),
    ]
    .map(|(end, count)| Sample::of(count).with("end", end))
    .into()
}

pub(super) fn one_of<T: Serialize>(all: &[T], label: &'static str, is: impl Fn(&T) -> bool) -> Vec<Sample> {
    let sample = |each: &T| Sample::of(is(each)).with(label, word(each));
    all.iter().map(sample).collect()
}

/// The state's name on the bus and in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // These are enumerations whose forms are words.
        _ => String::new(),
    }
}

pub(super) fn slots(
    snapshot: &Snapshot,
    tell: impl Fn(&SlotReport, &dyn Fn(u32) -> Sample) -> Sample,
) -> Vec<Sample> {
    let sample = |slot: &SlotReport| {
        let name = slot.name.clone();
        tell(slot, &|value| Sample::of(value).with("slot", name.clone()))
    };
    snapshot.overview.slots.iter().map(sample).collect()
}

pub(super) fn download(snapshot: &Snapshot, bytes: impl Fn(&Transfer) -> u64) -> Vec<Sample> {
    let transfer = snapshot.overview.progress.0.as_ref();
    some(transfer.map(|transfer| Sample::of(bytes(transfer))))
}

pub(super) fn time(time: Option<i64>) -> Vec<Sample> {
    some(time.map(Sample::of))
}

pub(super) fn some(sample: Option<Sample>) -> Vec<Sample> {
    sample.into_iter().collect()
}
