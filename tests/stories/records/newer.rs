//! What a later version may leave: fields, words and causes that nobody knows yet keep the rest
//! usable, and nobody is forgiven for a cause that isn't known.

use serde_json::{Map, Value, json};
use update_engine::disk::SlotName;
use update_engine::policy::{Attempts, History, TrialOutcome, TrialProgress};
use update_engine::status::{AttemptState, UnixTime};

use super::older::{A, B, Meaning, history, meanings, payload};
use super::{ATTEMPTS, HISTORY, VERSIONS, contents, kept, record_of_version};
use crate::support::scene::Scene;
use crate::trial::rollback::scheduled_check;
use test_support::fixtures;

/// A history of today's, as JSON.
fn json_of(moment: &str) -> Value {
    serde_json::to_value(history(VERSIONS[VERSIONS.len() - 1], moment)).unwrap()
}

fn read(json: &Value) -> History {
    serde_json::from_value(json.clone()).unwrap()
}

/// A field that nobody knows, in every object.
fn grown(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(grown).collect(),
        Value::Object(object) => {
            // The slots' names are no fields.
            let is_map = object.keys().any(|key| key.len() == A.len());
            let mut object: Map<_, _> = object
                .iter()
                .map(|(key, value)| (key.clone(), grown(value)))
                .collect();
            if !is_map {
                object.insert("from-tomorrow".to_owned(), json!({"a": [1, null]}));
            }
            object.into()
        }
        other => other.clone(),
    }
}

#[test]
fn fields_that_nobody_knows_change_nothing() {
    for (moment, meaning) in meanings() {
        let mut json = json_of(moment);
        let progress = json["trial"]["progress"].take();
        let mut json = grown(&json);
        // Its word stands where a field's name does.
        if !progress.is_null() {
            json["trial"]["progress"] = progress;
        }
        assert_eq!(Meaning::of(&read(&json)), meaning, "{moment}");
    }
}

#[test]
fn what_a_later_version_knows_of_the_whole_is_kept_for_it() {
    let mut json = json_of("rolled-back");
    json["trials"] = json!({"an": "hour apart"});
    let mut history = read(&json);
    history.reported();
    let kept = serde_json::to_value(&history).unwrap();
    assert_eq!(kept["trials"], json["trials"]);
    assert_eq!(kept["unreported"], false);
}

/// One part in a form that nobody knows; the others count.
#[test]
fn a_part_that_cannot_be_read_is_forgotten_and_the_rest_is_not() {
    let whole = json_of("rolled-back");
    for (key, _) in whole.as_object().unwrap() {
        for strange in [json!({"now": "otherwise"}), json!([[7]]), json!(-1), json!("so")] {
            let mut json = whole.clone();
            json[key] = strange;
            let history = read(&json);
            assert_eq!(
                history.blocked_payloads().find(&payload()).is_some(),
                key != "blamed",
                "{json}"
            );
            assert_eq!(history.is_unreported(), key != "unreported", "{json}");
            assert_eq!(history.version_in(A).is_some(), key != "held", "{json}");
            assert_eq!(history.tally().installed == 2, key != "tally", "{json}");
        }
    }
    let mut json = whole.clone();
    json["tally"]["failures"] = json!("many");
    json["held"]["another disk's"] = json!(7);
    json["filled"].as_array_mut().unwrap().push(json!({"slot": 1}));
    let history = read(&json);
    assert_eq!((history.tally().installed, history.tally().failures), (2, 0));
    assert!(history.is_filled(B) && history.version_in(A).is_some());
}

#[test]
fn an_unknown_cause_is_still_a_cause() {
    let blames = [
        json!({"cause": {"unit": "kubelet"}, "version": 7, "noticed": "today"}),
        json!({"cause": null}),
        json!({"sort": "regression"}),
    ];
    for blame in blames {
        let mut json = json_of("rolled-back");
        let mut blame = blame.clone();
        blame["sha256"] = json!(payload());
        json["blamed"] = json!([{"image": "alone"}, blame, 7]);
        let history = read(&json);
        let blame = history
            .blocked_payloads()
            .find(&payload())
            .unwrap_or_else(|| panic!("{json}"));
        assert!(!blame.cause.is_empty(), "{json}");
        assert_eq!(history.blocked_payloads().iter().count(), 1, "{json}");
    }
}

#[test]
fn a_slot_left_in_a_way_that_nobody_knows_is_blamed_and_what_is_told_is_told() {
    let said = "error rate 3 % above the version before";
    for (progress, cause) in [
        (
            json!({"Regressed": {"cause": said, "said": "2 of 2", "trials": 2}}),
            said,
        ),
        (json!({"GivenUp": {"cause": said, "severity": 7}}), said),
        (
            json!({"GivenUp": {"cause": {"unit": "kubelet"}, "said": "x"}}),
            "kubelet",
        ),
        (json!({"GivenUp": {}}), "doesn't know"),
        (json!({"GivenUp": "late"}), "doesn't know"),
        (json!("Regressed"), "doesn't know"),
        (json!(["Regressed", 2]), "doesn't know"),
    ] {
        let mut json = json_of("on-trial");
        json["trial"]["progress"] = progress.clone();
        let mut history = read(&json);
        // The next start in the same slot changes nothing about it.
        let attributes = |tried: &str| {
            let good = update_engine::disk::SlotAttributes::default()
                .with_priority(slots::Priority::new(2).unwrap());
            Some(if tried == B { good } else { good.marked_good() })
        };
        assert_eq!(history.looked(B, attributes, UnixTime(1)), TrialOutcome::OnTrial);
        let trial = history.trial().unwrap();
        assert_ne!(trial.progress, TrialProgress::CameUp, "{progress}");
        let TrialOutcome::RolledBack(rollback) = history.looked(A, attributes, UnixTime(2)) else {
            panic!("{progress}: not noticed");
        };
        assert!(rollback.cause.contains(cause), "{progress}: {}", rollback.cause);
        assert!(
            history.blocked_payloads().find(&payload()).is_some(),
            "{progress}"
        );
    }
}

#[test]
fn attempts_in_words_that_nobody_knows_are_listed() {
    let version = VERSIONS[VERSIONS.len() - 1];
    let whole: Value = serde_json::from_slice(contents(&kept(version, "failed", ATTEMPTS))).unwrap();
    let mut json = grown(&whole);
    json[0]["course"] = json!({"Postponed": {"until": 7}});
    json[0]["asked_by"] = json!("fleet");
    json[1]["course"] = json!("postponed");
    json[1].as_object_mut().unwrap().remove("times");
    json.as_array_mut().unwrap().push(json!({"all": "otherwise"}));
    let attempts: Attempts = serde_json::from_value(json).unwrap();
    let states: Vec<_> = attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(
        states,
        [AttemptState::Unknown, AttemptState::Unknown, AttemptState::Failed]
    );
    let to: Vec<_> = attempts.iter().map(|attempt| attempt.to.as_str()).collect();
    assert_eq!(to, ["2.0.0"; 3]);
    assert!(serde_json::from_value::<Attempts>(json!([{"all": "otherwise"}])).is_err());
}

/// The whole daemon, on a node that a later version has left.
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_goes_on_where_a_later_version_left_off() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.disk.set_attributes(SlotName::B, (2, 0, 0));
    let mut json = json_of("on-trial");
    json["trial"]["progress"] = json!({"Regressed": {"cause": "error rate", "said": ""}});
    json["schema"] = json!("tomorrow");
    let record = record_of_version(1, &serde_json::to_vec(&json).unwrap());
    scene.node.write(HISTORY, &record);
    let daemon = scene.boot(SlotName::A).await;
    let said = "rolled back from version \"2.0.0\": error rate";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    daemon.stop();
    assert_eq!(scheduled_check(&scene).await, Some(35));
    let kept = scene.node.read(HISTORY);
    assert!(String::from_utf8_lossy(&kept).contains("\"schema\":\"tomorrow\""));
}
