//! Records of our own, those of other versions and damaged ones.

use std::fmt::Debug;

use payload_format::{Checkpoint, Sha256Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slots::SlotAttributes;
use update_engine::health::baseline::{Baseline, GateRecord};
use update_engine::install::ImageFacts;
use update_engine::policy::{
    Attempts, ClockStep, DiskView, History, HoldOff, KnownImages, PayloadState, RollbackCause, SlotPayload,
    StagedUpdate,
};
use update_engine::reboot_lock::ManagerReport;
use update_engine::reboot_manager::HoldRecord;
use update_engine::status::UnixTime;
use update_engine::store::record::{self, Version};
use update_engine::trial_deadline::ArmedDeadline;

use super::scratch;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "records",
    property: "What is read of a record and written again is read alike; of a record that another version wrote \
               the rest stays usable; whatever times and counts are in it, each decision ends; nothing that was \
               cut or changed passes for whole.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    match input.byte() % 11 {
        0 => history(&mut input, bug),
        1 => attempts(&mut input),
        2 => drop(stable::<KnownImages>(input.rest())),
        3 => tolerant::<Baseline>(input.rest()),
        4 => tolerant::<GateRecord>(input.rest()),
        5 => drop(stable::<HoldRecord>(input.rest())),
        6 => drop(stable::<ImageFacts>(input.rest())),
        7 => files(&mut input),
        8 => preferences(&mut input),
        9 => drop(stable::<StagedUpdate>(input.rest())),
        _ => drop(stable::<ArmedDeadline>(input.rest())),
    }
}

/// Reads, writes and reads again.
fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("a JSON form");
    let again: T = serde_json::from_slice(&written).expect("what was written");
    let twice = serde_json::to_vec(&again).expect("a JSON form");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&twice));
    Some(again)
}

/// Likewise, and any object is one.
fn tolerant<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    drop(stable::<T>(bytes));
    if let Ok(value @ Value::Object(_)) = serde_json::from_slice(bytes) {
        let read = serde_json::from_value::<T>(value.clone());
        assert!(read.is_ok(), "{value}: {read:?}");
    }
}

/// A time, often an extreme one.
fn time(input: &mut Input<'_>) -> UnixTime {
    UnixTime(match input.byte() % 4 {
        0 => i64::MAX - i64::from(input.byte()),
        1 => i64::MIN + i64::from(input.byte()),
        2 => input.long().cast_signed(),
        _ => 1_700_000_000 + i64::from(input.short()),
    })
}

const PARTUUIDS: [&str; 3] = ["a", "b", ""];

fn history(input: &mut Input<'_>, bug: Bug) {
    let steps: [u8; 6] = std::array::from_fn(|_| input.byte());
    let (now, since) = (time(input), time(input));
    let by = input.long().cast_signed();
    let slots = [input.short(), input.short()].map(|word| u64::from(word & 0x1ff) << 48);
    let bytes = input.rest();
    tolerant::<History>(bytes);
    let Some(mut history) = stable::<History>(bytes) else {
        return;
    };
    let attributes = |uuid: &str| {
        let at = PARTUUIDS.iter().position(|known| *known == uuid)?;
        slots.get(at).copied().map(SlotAttributes::from_word)
    };
    for step in steps {
        let running = PARTUUIDS[usize::from(step >> 6) % 3];
        match step % 9 {
            0 => drop(history.looked(running, attributes, now)),
            1 => history.kept(running),
            2 => history.given_up(running, "1", cause()),
            3 => history.ended_orderly(running),
            4 => history.leave(running, PARTUUIDS[usize::from(step >> 4) % 3], now),
            5 => {
                let hold_off = HoldOff::after_blocked_payload(now);
                assert!(hold_off.until >= now);
                history.hold_off(hold_off);
            }
            6 => {
                let rest = history.look_at_hold_off(since);
                assert!(
                    rest.is_none_or(|rest| rest.until > since),
                    "a hold-off that is over: {rest:?}"
                );
            }
            7 => history.clock_stepped(&ClockStep {
                since,
                until: now,
                by,
            }),
            _ => {
                let payload = SlotPayload {
                    sha256: Some(Sha256Digest::of(&[step])),
                    version: "2".to_owned(),
                };
                history.committed(running, payload);
                assert!(history.waiting().is_some());
                if bug.strikes(history.last_rollback().is_some()) {
                    history.kept(running);
                }
                assert!(history.trial().is_some(), "a trial that just began is over");
            }
        }
    }
    let written = serde_json::to_vec(&history).expect("a JSON form");
    assert!(stable::<History>(&written).is_some());
    for blocked in history.blocked_payloads().iter() {
        let _ = (blocked.blocks(now), blocked.blocks(since));
    }
}

fn cause() -> RollbackCause {
    RollbackCause {
        cause: "a unit failed".to_owned(),
        output: String::new(),
        is_regression: false,
    }
}

fn attempts(input: &mut Input<'_>) {
    let running = *input.one_of(&PARTUUIDS);
    let slots = [("a", input.short()), ("b", input.short())].map(|(uuid, word)| {
        (
            uuid.to_owned(),
            SlotAttributes::from_word(u64::from(word & 0x1ff) << 48),
        )
    });
    let is_started = input.is_odd();
    let Some(mut attempts) = stable::<Attempts>(input.rest()) else {
        return;
    };
    let history = History::default();
    let view = DiskView {
        running,
        slots: &slots,
        staged: is_started.then_some("b"),
        history: &history,
    };
    let first = attempts.iter().next().cloned();
    if is_started {
        attempts.started(Some(view));
    } else {
        attempts.settle(view);
    }
    if let Some(first) = first {
        attempts.begin(first);
        attempts.end(|attempt| attempt.times = u32::MAX);
    }
    assert!(attempts.iter().count() <= 32);
    assert!(
        attempts.iter().all(|attempt| attempt.why.chars().count() <= 601),
        "{attempts:?}"
    );
    let settled = serde_json::to_string(&attempts).expect("a JSON form");
    attempts.settle(view);
    assert_eq!(
        serde_json::to_string(&attempts).expect("a JSON form"),
        settled,
        "settled twice"
    );
}

/// Whole files: a record's frame, a reader's checkpoint, the manager's report.
fn files(input: &mut Input<'_>) {
    const RECORD: &str = "/record";
    let version = Version(u32::from(input.byte()));
    let most = usize::from(input.byte());
    let bytes = input.rest();
    if let Ok(checkpoint) = Checkpoint::from_bytes(bytes) {
        assert_eq!(checkpoint.to_bytes(), bytes);
    }
    let host = scratch::host(&[
        (RECORD, Some(bytes)),
        ("/run/update-reboot-manager/status.json", Some(bytes)),
    ]);
    let _ = ManagerReport::read(&host);
    let path = host.path(RECORD);
    if let Ok(contents) = record::load_short(&path, version, most) {
        let contents = contents.expect("the file is there");
        assert!(contents.len() <= most);
        record::save(&path, version, &contents).expect("a record");
        assert_eq!(std::fs::read(&path).expect("the record"), bytes);
    }
}

fn preferences(input: &mut Input<'_>) {
    // No clock is set before 1970.
    let now = UnixTime(time(input).0.max(1));
    let values: [String; 5] = std::array::from_fn(|_| {
        if input.is_odd() {
            input.text()
        } else {
            input.long().cast_signed().to_string()
        }
    });
    let keys = PayloadState::default().prefs().map(|(key, _)| key);
    let read = |key| {
        let at = keys.iter().position(|known| *known == key)?;
        Some(values[at].clone())
    };
    let state = PayloadState::load(read, now);
    let prefs = state.prefs();
    let again = PayloadState::load(
        |key| {
            prefs
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| value.clone())
        },
        now,
    );
    assert_eq!(state, again);
}
