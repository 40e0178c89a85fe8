//! A lock among nodes that reboot, as locksmith takes it, in a real etcd.

use std::path::PathBuf;

use serde_json::{Value, json};
use update_engine::disk::SlotName;

use crate::support::health::require_a_file;
use crate::support::node::client;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::etcd::{Answer, Etcd};
use test_support::fixtures;

const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/recordings/etcd/locksmithctl-v2"
);
const KEY: &str = "/coreos.com/updateengine/rebootlock/semaphore";

/// The indices in `value` less `offset`: other versions count from elsewhere.
fn shift(value: &mut Value, offset: i64) {
    let Value::Object(fields) = value else { return };
    for (name, field) in fields {
        match (name.as_str(), field.as_i64()) {
            ("modifiedIndex" | "createdIndex" | "index", Some(index)) => *field = json!(index - offset),
            _ => shift(field, offset),
        }
    }
}

/// What locksmithctl said in the recording is said again, in order; what it is answered must be
/// what it was then.
#[test]
fn locksmiths_recorded_exchange_is_answered_as_it_was() {
    let Some(etcd) = Etcd::start() else { return };
    let mut requests: Vec<PathBuf> = std::fs::read_dir(RECORDED)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".request.http"))
        .collect();
    requests.sort();
    assert_eq!(requests.len(), 40);
    let mut offset = None;
    for path in requests {
        let request = std::fs::read_to_string(&path).unwrap();
        let answer = path.to_str().unwrap().replace(".request.", ".response.");
        let recorded = Answer::read(std::fs::File::open(answer).unwrap());
        let request = match (request.split_once("prevIndex="), offset) {
            (Some((before, after)), Some(offset)) => {
                let (index, rest) = after.split_once(' ').unwrap();
                let index: i64 = index.parse().unwrap();
                format!("{before}prevIndex={} {rest}", index + offset)
            }
            _ => request,
        };
        let mut answer = etcd.exchange(request.as_bytes());
        let offset = *offset.get_or_insert_with(|| answer.index.unwrap() - recorded.index.unwrap());
        answer.index = answer.index.map(|index| index - offset);
        shift(&mut answer.body, offset);
        // In a lost race it names indices.
        if offset != 0 && recorded.body["errorCode"] == 101 {
            answer.body["cause"] = recorded.body["cause"].clone();
        }
        assert_eq!(answer, recorded, "{}", path.display());
    }
}

/// Takes and gives back the lock as the recording shows.
struct Locksmith<'a> {
    etcd: &'a Etcd,
    machine: &'static str,
}

impl Locksmith<'_> {
    /// The lock and its index; makes it if there is none, as before everything.
    fn look(&self) -> (Value, u64) {
        let first = json!({"semaphore": 1, "max": 1, "holders": null});
        self.etcd
            .ask(&format!("{KEY}?prevExist=false"), Some(&form(&first)));
        let query = "?quorum=false&recursive=false&sorted=false";
        let node = &self.etcd.ask(&format!("{KEY}{query}"), None).body["node"];
        let lock = serde_json::from_str(node["value"].as_str().unwrap()).unwrap();
        (lock, node["modifiedIndex"].as_u64().unwrap())
    }

    fn change(&self, places: i64, holders: &[&str]) -> bool {
        let (mut lock, index) = self.look();
        let left = lock["semaphore"].as_i64().unwrap() + places;
        if left < 0 {
            return false;
        }
        lock["semaphore"] = json!(left);
        lock["holders"] = json!(holders);
        let changed = self
            .etcd
            .ask(&format!("{KEY}?prevIndex={index}"), Some(&form(&lock)));
        changed.status == 200
    }

    fn lock(&self) -> bool {
        self.change(-1, &[self.machine])
    }

    fn unlock(&self) -> bool {
        let (lock, _) = self.look();
        lock["holders"] == json!([self.machine]) && self.change(1, &[])
    }
}

fn form(lock: &Value) -> String {
    let lock = lock.to_string();
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("value", &lock)
        .finish()
}

/// The node reboots only when its turn comes, into what waited all the time. Its lock is given back
/// as soon as the daemon is there: long before anybody knows whether the new slot is good.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_the_lock_and_gives_it_back_before_its_trial_is_over() {
    let Some(etcd) = Etcd::start() else { return };
    let other = Locksmith {
        etcd: &etcd,
        machine: "22222222222222222222222222222222",
    };
    let ours = Locksmith {
        machine: "11111111111111111111111111111111",
        ..other
    };
    assert!(other.lock());

    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    assert!(!ours.lock(), "another node holds it");
    assert!(!ours.unlock(), "nor can it give back what it hasn't got");
    let (waiting, _) = client(&scene.bus, "-status").await;
    assert!(waiting.contains(NEED_REBOOT), "{waiting}");

    assert!(other.unlock());
    assert!(ours.lock());
    assert!(!other.lock());
    daemon.stop();
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    let _daemon = scene.boot(SlotName::B).await;
    // What it looks at before it unlocks.
    let (status, _) = client(&scene.bus, "-status").await;
    assert!(status.contains(IDLE), "{status}");
    assert!(ours.unlock());
    assert!(other.lock(), "the next node may begin");
    let told = scene.overview(|_| true).await;
    assert_ne!(told.trial, "", "the first isn't known to be good yet");
}
