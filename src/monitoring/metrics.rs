//! The metrics, and how each is made from the engine's snapshot: pure.

use std::fmt::Write as _;

use super::exposition::{Family, MetricKind, Sample, append};
use super::samples::{
    checks, download, image_source, info, last_ended, one_of, regressions, slots, some, time,
};
use crate::status::{EngineState, Obstacle, Snapshot};

/// A metric family, and the samples that a snapshot gives.
type MetricRow = (Family, fn(&Snapshot) -> Vec<Sample>);

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: MetricKind::Gauge,
        help,
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: MetricKind::Counter,
        help,
    }
}

const STANDS: [EngineState; 13] = [
    EngineState::Idle,
    EngineState::Checking,
    EngineState::Preparing,
    EngineState::Downloading,
    EngineState::Finishing,
    EngineState::RebootNeeded,
    EngineState::RollbackNeeded,
    EngineState::RollingBack,
    EngineState::Withdrawing,
    EngineState::Reporting,
    EngineState::Staged,
    EngineState::StagedForReboot,
    EngineState::Activating,
];

const OBSTACLES: [Obstacle; 7] = [
    Obstacle::NoneOffered,
    Obstacle::Backoff,
    Obstacle::Disabled,
    Obstacle::RolledBack,
    Obstacle::OnTrial,
    Obstacle::Refused,
    Obstacle::Failed,
];

const METRICS: [MetricRow; 31] = [
    (
        gauge(
            "update_engine_info",
            "Versions of the engine, of the running system and of the update that waits or comes; always 1.",
        ),
        info,
    ),
    (
        gauge(
            "update_engine_state",
            "1 for what is being done now, 0 for everything else.",
        ),
        |snapshot| one_of(&STANDS, "state", |stand| *stand == snapshot.overview.state),
    ),
    (
        gauge(
            "update_engine_no_update",
            "1 for the kind of reason why the last check brought no update, 0 for all others.",
        ),
        |snapshot| {
            let found = snapshot.overview.no_update.0.as_ref().map(|found| found.kind);
            one_of(&OBSTACLES, "reason", |kind| found == Some(*kind))
        },
    ),
    (
        gauge(
            "update_engine_last_check_timestamp_seconds",
            "When the update server last gave a usable answer, in Unix time.",
        ),
        |snapshot| time(snapshot.tally.last_answer.map(|time| time.0)),
    ),
    (
        gauge(
            "update_engine_next_check_timestamp_seconds",
            "When the next check comes by itself, in Unix time; missing if none will.",
        ),
        |snapshot| time(snapshot.overview.next_check.0.as_ref().and_then(|next| next.time)),
    ),
    (
        gauge(
            "update_engine_last_success_timestamp_seconds",
            "When an update was last installed, in Unix time.",
        ),
        |snapshot| time(snapshot.tally.last_installed.map(|time| time.0)),
    ),
    (
        gauge(
            "update_engine_last_failure_timestamp_seconds",
            "When a check or an update last failed, in Unix time.",
        ),
        |snapshot| time(snapshot.tally.last_failure.map(|(_, time)| time.0)),
    ),
    (
        gauge(
            "update_engine_last_failure_code",
            "Error code of the last failure, whatever came after it.",
        ),
        |snapshot| some(snapshot.tally.last_failure.map(|(code, _)| Sample::of(code))),
    ),
    (
        gauge(
            "update_engine_last_rollback_timestamp_seconds",
            "When the node was last found back in the version before, in Unix time.",
        ),
        |snapshot| time(snapshot.tally.last_rollback.map(|time| time.0)),
    ),
    (
        gauge(
            "update_engine_on_trial",
            "Whether the running slot is not marked good yet.",
        ),
        |snapshot| vec![Sample::of(!snapshot.overview.trial.is_empty())],
    ),
    (
        gauge(
            "update_engine_regressions",
            "What was worse than before in the slot of the last update that was compared, by whether it is certain to be the image's \
             doing; missing if none was.",
        ),
        regressions,
    ),
    (
        gauge(
            "update_engine_slot_info",
            "Version of each slot, empty if it is not known, and its partition; always 1.",
        ),
        |snapshot| {
            slots(snapshot, |slot, sample| {
                let version = slot.version.clone().unwrap_or_default();
                sample(1)
                    .with("version", version)
                    .with("partuuid", slot.partuuid.clone())
            })
        },
    ),
    (
        gauge(
            "update_engine_slot_priority",
            "Priority of each slot, 0 to 15: the loader takes the highest, and 0 never.",
        ),
        |snapshot| slots(snapshot, |slot, sample| sample(slot.priority)),
    ),
    (
        gauge(
            "update_engine_slot_tries",
            "Boots that are left to each slot before it must have been marked good, 0 to 15.",
        ),
        |snapshot| slots(snapshot, |slot, sample| sample(slot.tries)),
    ),
    (
        gauge(
            "update_engine_slot_successful",
            "Whether each slot was marked good.",
        ),
        |snapshot| slots(snapshot, |slot, sample| sample(slot.successful.into())),
    ),
    (
        gauge(
            "update_engine_slot_running",
            "Whether the system runs from the slot.",
        ),
        |snapshot| slots(snapshot, |slot, sample| sample(slot.running.into())),
    ),
    (
        gauge(
            "update_engine_payload_bytes",
            "Size of the payload that is being downloaded, or bytes that are fetched of a content package; missing if neither is.",
        ),
        |snapshot| download(snapshot, |transfer| transfer.bytes_total),
    ),
    (
        gauge(
            "update_engine_payload_present_bytes",
            "Bytes of these that are there.",
        ),
        |snapshot| download(snapshot, |transfer| transfer.bytes_done),
    ),
    (
        counter(
            "update_engine_downloaded_bytes_total",
            "Bytes of payloads and content packages that were downloaded, up to the last download that ended.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.downloaded_bytes)],
    ),
    (
        gauge(
            "update_engine_last_image_source",
            "1 for what the last image that was installed was made of, the payload or a content package, 0 for the other; missing if \
             none was.",
        ),
        image_source,
    ),
    (
        gauge(
            "update_engine_content_expected_bytes",
            "Bytes that were to be fetched of the content package of the last attempt that has ended; missing if none was tried, or \
             it was given up before that was known.",
        ),
        |snapshot| last_ended(snapshot, |attempt| attempt.content_expected),
    ),
    (
        gauge(
            "update_engine_content_fetched_bytes",
            "Bytes that were fetched of that package.",
        ),
        |snapshot| last_ended(snapshot, |attempt| attempt.content_fetched),
    ),
    (
        counter(
            "update_engine_content_images_total",
            "Images that were made of a content package.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.content_images)],
    ),
    (
        counter(
            "update_engine_content_failures_total",
            "Content packages that were given up, the payload being fetched instead.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.content_failures)],
    ),
    (
        gauge(
            "update_engine_last_download_duration_seconds",
            "How long the last download took that came to its end, in seconds; of a resumed one, its last part.",
        ),
        |snapshot| some(snapshot.tally.download_millis.map(Sample::of_millis)),
    ),
    (
        gauge(
            "update_engine_last_finish_duration_seconds",
            "How long it took to verify the last update, run its postinst and make it the next to boot, in seconds.",
        ),
        |snapshot| some(snapshot.tally.finish_millis.map(Sample::of_millis)),
    ),
    (
        counter(
            "update_engine_checks_total",
            "Checks by their end: no-update, taken (an update was begun), deferred, failed.",
        ),
        checks,
    ),
    (
        counter(
            "update_engine_staged_updates_total",
            "Updates that were staged, to be activated later.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.staged)],
    ),
    (
        counter("update_engine_updates_total", "Updates that were installed."),
        |snapshot| vec![Sample::of(snapshot.tally.installed)],
    ),
    (
        counter(
            "update_engine_failures_total",
            "Checks and updates that failed, but for those that were only put off.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.failures)],
    ),
    (
        counter(
            "update_engine_rollbacks_total",
            "Times that the node was found back in the version before.",
        ),
        |snapshot| vec![Sample::of(snapshot.tally.rollbacks)],
    ),
];

/// All metrics of `snapshot`, in Prometheus' text format.
#[must_use]
pub fn exposition(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (family, samples) in METRICS {
        append(&mut text, family, &samples(snapshot));
    }
    text
}

/// The Markdown table of all metrics, for `docs/monitoring.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = "| name | kind | says |\n|---|---|---|".to_owned();
    for (Family { name, kind, help }, _) in METRICS {
        // Writing to a string can't fail.
        let _ = write!(text, "\n| `{name}` | {kind} | {help} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::AttemptReport;
    use crate::status::AttemptState::{
        Failed, Interrupted, Kept, OnTrial, RolledBack, Staged, UnderWay, Unknown, Waiting, Withdrawn,
    };

    #[test]
    fn names_are_ours_and_each_stands_once() {
        let names: BTreeSet<&str> = METRICS.iter().map(|(family, _)| family.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for (Family { name, kind, .. }, _) in METRICS {
            assert!(name.starts_with("update_engine_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
        }
    }

    #[test]
    fn exactly_one_state_holds() {
        let text = exposition(&Snapshot::default());
        let states: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("update_engine_state{"))
            .collect();
        assert_eq!(states.len(), STANDS.len());
        assert_eq!(states.iter().filter(|line| line.ends_with(" 1")).count(), 1);
        assert!(states.contains(&"update_engine_state{state=\"idle\"} 1"));
    }

    /// One that failed, was cancelled or interrupted has made none: what was installed before counts.
    #[test]
    fn the_last_image_is_that_of_an_attempt_that_has_installed_one() {
        let attempt = |package: Option<&str>, outcome| AttemptReport {
            content_package: package.map(str::to_owned),
            outcome,
            ..AttemptReport::default()
        };
        let source = |attempts: &[AttemptReport]| {
            let text = exposition(&Snapshot {
                attempts: attempts.to_vec(),
                ..Snapshot::default()
            });
            let is_source = |line: &&str| line.starts_with("update_engine_last_image_source{");
            let lines: Vec<_> = text.lines().filter(is_source).map(str::to_owned).collect();
            match lines.as_slice() {
                [] => None,
                [content, payload] => {
                    assert_ne!(content.ends_with(" 1"), payload.ends_with(" 1"), "{text}");
                    Some(content.ends_with(" 1"))
                }
                other => panic!("{other:?}"),
            }
        };
        let content = Some("update.content");
        for without in [Failed, Interrupted, UnderWay, Unknown] {
            assert_eq!(source(&[attempt(content, without)]), None, "{without:?}");
            let before = attempt(None, Kept);
            assert_eq!(
                source(&[before, attempt(content, without)]),
                Some(false),
                "{without:?}"
            );
        }
        for with in [Staged, Waiting, Withdrawn, OnTrial, Kept, RolledBack] {
            assert_eq!(source(&[attempt(content, with)]), Some(true), "{with:?}");
            let given_up = AttemptReport {
                content_failure: Some("why".to_owned()),
                ..attempt(content, with)
            };
            assert_eq!(source(&[given_up]), Some(false), "{with:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let text = exposition(&Snapshot::default());
        for name in ["last_failure", "last_success", "slot_", "payload_"] {
            assert!(!text.contains(&format!("update_engine_{name}")), "{text}");
        }
    }
}
