//! The reboot manager beside the real daemon, with a real etcd and a stand-in of logind.

use update_engine::disk::SlotName;

use crate::support::health::{REBOOT, become_healthy, require_a_file};
use crate::support::logind::FakeLogind;
use crate::support::node::{Daemon, client};
use crate::support::reboot_manager::RebootManager;
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::etcd::Etcd;
use test_support::fixtures;

/// A node with its daemon, its logind and its manager.
pub(super) struct Machine {
    // Dropped before the node, whose files they read.
    daemon: Option<Daemon>,
    pub(super) manager: Option<RebootManager>,
    pub(super) scene: Scene,
    pub(super) logind: FakeLogind,
    /// The manager's standard error is the journal's.
    pub(super) manager_in_journal: bool,
    id: String,
}

impl Machine {
    /// One whose manager takes the lock in `etcd`, by its v3 API, and whose slot is good once a file is there.
    pub(super) async fn with_lock_in(etcd: &Etcd, id: char, lines: &str) -> Self {
        let lines = format!(
            "REBOOT_STRATEGY=etcd-lock\nREBOOT_ETCD_API=v3\nLOCKSMITHD_ENDPOINT={}\n{lines}",
            etcd.url()
        );
        let machine = Self::with(id, &lines).await;
        require_a_file(&machine.scene.node);
        machine
    }

    /// One with these lines in its configuration, whose slot is good as soon as its daemon looks.
    pub(super) async fn with(id: char, lines: &str) -> Self {
        let scene = Scene::offering(&fixtures::payload("full.payload")).await;
        scene.configure(&format!("HEALTH_SETTLE=0\n{lines}"));
        let id = id.to_string().repeat(32);
        scene.node.write("/etc/machine-id", id.as_bytes());
        let logind = FakeLogind::start(&scene.bus).await;
        Self {
            scene,
            logind,
            daemon: None,
            manager: None,
            manager_in_journal: false,
            id,
        }
    }

    /// Boots `slot`, with daemon and manager.
    pub(super) async fn boot(&mut self, slot: SlotName) {
        let version = if slot == SlotName::A { "1.0.0" } else { "2.0.0" };
        self.scene.node.run_version(version);
        self.daemon = Some(self.scene.boot(slot).await);
        self.start_manager();
    }

    pub(super) fn start_manager(&mut self) {
        let start = if self.manager_in_journal {
            RebootManager::start_with_journal
        } else {
            RebootManager::start
        };
        self.manager = Some(start(&self.scene.node, &self.scene.bus));
    }

    pub(super) fn stop_daemon(&mut self) {
        self.daemon.take().unwrap().stop();
    }

    /// Kills the manager and starts it; what the one before has told is gone.
    pub(super) fn restart_manager(&mut self) {
        self.manager.take().unwrap().kill();
        let told = self.scene.node.path("/run/update-reboot-manager/status.json");
        std::fs::remove_file(told).unwrap();
        self.start_manager();
    }

    /// Ends the engine and starts it from `slot`; returns once the manager has noticed both.
    pub(super) async fn restart_engine(&mut self, slot: SlotName) {
        let heard = |machine: &Self, what: &str| machine.manager().log().matches(what).count();
        let (silent, known) = ("event=Engine(Silent(", "event=Engine(Known(");
        let before = heard(self, silent);
        self.daemon.take().unwrap().stop();
        eventually("the engine's end is noticed", || heard(self, silent) > before).await;
        let before = heard(self, known);
        self.daemon = Some(self.scene.boot(slot).await);
        eventually("the engine's start is noticed", || heard(self, known) > before).await;
    }

    pub(super) fn manager(&self) -> &RebootManager {
        self.manager.as_ref().unwrap()
    }

    pub(super) async fn update(&mut self) {
        self.scene.attempt(NEED_REBOOT).await;
    }

    /// Output, errors and exit code of `update_engine_client reboot-lock`; what the manager is at aside.
    pub(super) async fn lock_command(&self, arguments: &[&str]) -> (String, String, i32) {
        let mut process = self.scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        process.arg("reboot-lock").args(arguments).arg("--root");
        process.arg(self.scene.node.path("/")).env("TZ", "UTC");
        let output = tokio::process::Command::from(process).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code().unwrap(),
        )
    }

    /// The manager says what stands in the way, with this in it.
    pub(super) async fn tells(&self, text: &str) {
        let told = || self.manager().report().obstacle.unwrap_or_default();
        eventually(text, || told().contains(text)).await;
    }

    /// logind was asked for a reboot so many times.
    pub(super) async fn is_asked_to_reboot(&self, times: usize) {
        eventually("the order to reboot", || self.logind.reboots() == times).await;
    }

    /// Goes down in order; returns what the loader takes next.
    pub(super) fn go_down(&mut self) -> SlotName {
        if let Some(manager) = self.manager.take() {
            assert!(manager.stop().success());
        }
        self.daemon.take().unwrap().stop();
        self.scene.node.reboot()
    }

    /// Goes down in order, and boots whatever the loader takes.
    pub(super) async fn reboot(&mut self) -> SlotName {
        let slot = self.go_down();
        self.boot(slot).await;
        slot
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_from_before_the_reboot_until_the_slot_is_good() {
    let Some(etcd) = Etcd::start() else { return };
    let mut machine = Machine::with_lock_in(&etcd, '1', "").await;
    machine.boot(SlotName::A).await;
    machine.manager().reaches("idle").await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(etcd.holders_v3(), [machine.id.clone()]);
    assert_eq!(machine.manager().report().phase, "rebooting");

    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("on-trial").await;
    assert_eq!(etcd.holders_v3(), [machine.id.clone()]);

    become_healthy(&machine.scene.node);
    machine.manager().reaches("idle").await;
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
    assert_eq!(machine.logind.reboots(), 1);
}

/// Three nodes, one place: the others stay on what works until an operator has looked.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_stops_at_the_first_node_and_the_lock_says_why() {
    let Some(etcd) = Etcd::start() else { return };
    let mut first = Machine::with_lock_in(&etcd, '1', "HEALTH_DEADLINE=1\n").await;
    first.boot(SlotName::A).await;
    first.update().await;
    first.is_asked_to_reboot(1).await;
    let mut others = Vec::new();
    for id in ['2', '3'] {
        let mut other = Machine::with_lock_in(&etcd, id, "HEALTH_DEADLINE=1\n").await;
        other.boot(SlotName::A).await;
        other.update().await;
        other.manager().reaches("waiting-for-lock").await;
        others.push(other);
    }

    assert_eq!(first.reboot().await, SlotName::B);
    eventually("the rollback", || first.scene.node.path(REBOOT).exists()).await;
    assert_eq!(first.reboot().await, SlotName::A);
    first.manager().reaches("held-after-rollback").await;
    let note = || etcd.semaphore_v3()["notes"][&first.id]["cause"].clone();
    eventually("the note", || {
        note().as_str().is_some_and(|cause| !cause.is_empty())
    })
    .await;
    assert_eq!(
        etcd.semaphore_v3()["notes"][&first.id],
        serde_json::json!({
            "version": "2.0.0",
            "cause": "health check /etc/update-engine/health.d/50-api ended with exit code 7"
        })
    );
    for other in &others {
        other.tells("health check").await;
    }
    assert_eq!(etcd.holders_v3(), [first.id.clone()]);

    // An operator, at another node: the bad version is withdrawn before the lock is free.
    for other in &others {
        client(&other.scene.bus, "-reset_status").await;
        other.manager().reaches("idle").await;
    }
    let (_, error, code) = others[0].lock_command(&["release", &first.id]).await;
    assert_eq!(code, 0, "{error}");
    first.manager().reaches("idle").await;
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
    assert!(others.iter().all(|other| other.logind.reboots() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_update_gives_the_lock_back_and_reboots_nobody() {
    let Some(etcd) = Etcd::start() else { return };
    let mut machine = Machine::with_lock_in(&etcd, '1', "").await;
    machine.boot(SlotName::A).await;
    machine.logind.inhibit(Some("block"));
    machine.update().await;
    machine.manager().reaches("confirming").await;
    let told = || machine.manager().report().obstacle.unwrap_or_default();
    let inhibited = "an inhibitor lock stands in the way: a backup (half done)";
    eventually("the inhibitor", || told() == inhibited).await;
    assert_eq!(etcd.holders_v3(), [machine.id.clone()]);
    client(&machine.scene.bus, "-reset_status").await;
    machine.manager().reaches("idle").await;
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
    assert_eq!(machine.logind.reboots(), 0);
}

/// An operator's view, and the way out.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_the_holder_and_its_reason_and_releases_it() {
    let Some(etcd) = Etcd::start() else { return };
    let mut machine = Machine::with_lock_in(&etcd, '1', "HEALTH_DEADLINE=1\n").await;
    machine.boot(SlotName::A).await;
    assert_eq!(
        machine.lock_command(&["status"]).await.0,
        "Available: 1\nMax: 1\n"
    );
    assert_eq!(
        machine.lock_command(&["set-max", "2"]).await.0,
        "Old-Max: 1\nMax: 2\n"
    );
    assert_eq!(
        machine.lock_command(&["set-max", "1"]).await.0,
        "Old-Max: 2\nMax: 1\n"
    );
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    let (_, error, code) = machine.lock_command(&["lock", "2"]).await;
    assert_eq!((error.as_str(), code), ("Error locking: semaphore is at 0\n", 1));
    let (_, error, code) = machine.lock_command(&["release", "2"]).await;
    assert_eq!(
        (error.as_str(), code),
        ("Error unlocking: holder does not exist\n", 1)
    );

    assert_eq!(machine.reboot().await, SlotName::B);
    eventually("the rollback", || machine.scene.node.path(REBOOT).exists()).await;
    assert_eq!(machine.reboot().await, SlotName::A);
    machine.manager().reaches("held-after-rollback").await;
    let note = || etcd.semaphore_v3()["notes"][&machine.id]["cause"].is_string();
    eventually("the note", note).await;
    let (told, _, _) = machine.lock_command(&["status"]).await;
    let why =
        "rolled back from 2.0.0: health check /etc/update-engine/health.d/50-api ended with exit code 7";
    let id = &machine.id;
    assert_eq!(told, format!("Available: 0\nMax: 1\n\nMACHINE ID\n{id}\t{why}\n"));
    let (told, _, _) = machine.lock_command(&["status", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["lock"]["holders"][0], **id);
    assert_eq!(told["manager"]["phase"], "held-after-rollback");
    assert_eq!(told["manager"]["failed_version"], "2.0.0");

    assert_eq!(machine.lock_command(&["release"]).await.2, 0);
    machine.manager().reaches("idle").await;
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
}

/// An update, and the end of a trial. What is started anew in which state: see `restarts`.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_manager_is_down_is_found_at_its_start() {
    let Some(etcd) = Etcd::start() else { return };
    let mut machine = Machine::with_lock_in(&etcd, '1', "").await;
    machine.boot(SlotName::A).await;
    machine.manager.take().unwrap().kill();
    machine.update().await;
    machine.start_manager();
    machine.is_asked_to_reboot(1).await;

    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("on-trial").await;
    machine.manager.take().unwrap().kill();
    become_healthy(&machine.scene.node);
    machine.scene.overview(|node| node.trial.is_empty()).await;
    assert_eq!(etcd.holders_v3(), [machine.id.clone()]);
    machine.start_manager();
    machine.manager().reaches("idle").await;
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
}

/// Three nodes, one place.
#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_update_one_after_the_other() {
    let Some(etcd) = Etcd::start() else { return };
    let mut machines = Vec::new();
    for id in ['1', '2', '3'] {
        let mut machine = Machine::with_lock_in(&etcd, id, "").await;
        machine.boot(SlotName::A).await;
        machine.update().await;
        machines.push(machine);
    }
    let mut left: Vec<usize> = (0..3).collect();
    while !left.is_empty() {
        let ordered = |at: &usize| machines[*at].logind.reboots() == 1;
        eventually("an order to reboot", || left.iter().any(ordered)).await;
        let at = left.iter().position(ordered).unwrap();
        assert_eq!(left.iter().filter(|at| ordered(at)).count(), 1);
        let machine = left.remove(at);
        assert_eq!(machines[machine].reboot().await, SlotName::B);
        machines[machine].manager().reaches("on-trial").await;
        assert_eq!(etcd.holders_v3(), [machines[machine].id.clone()]);
        assert!(left.iter().all(|at| machines[*at].logind.reboots() == 0));
        become_healthy(&machines[machine].scene.node);
        machines[machine].manager().reaches("idle").await;
    }
    assert_eq!(etcd.holders_v3(), [] as [String; 0]);
}

/// Locksmith's key in the v2 API, taken by another node with locksmith, given back, and taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_locksmith_holds_is_waited_for_and_left_as_locksmith_writes_it() {
    let Some(etcd) = Etcd::start() else { return };
    let lines = format!(
        "REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_ENDPOINT=http://127.0.0.1:1,{}\nLOCKSMITHD_GROUP=a b/c\n",
        etcd.url()
    );
    let key = "/coreos.com/updateengine/rebootlock/groups/a+b%252Fc/semaphore";
    let by_locksmith = |holders: &str, places: u8| {
        let value = format!(r#"{{"semaphore":{places},"max":1,"holders":{holders}}}"#);
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("value", &value)
            .finish();
        assert!(matches!(etcd.ask(key, Some(&form)).status, 200 | 201));
    };
    let stored = || etcd.ask(key, None).body["node"]["value"].clone();
    by_locksmith(r#"["22222222222222222222222222222222"]"#, 0);
    let mut machine = Machine::with('1', &lines).await;
    machine.boot(SlotName::A).await;
    machine.update().await;
    let told = || machine.manager().report().obstacle.unwrap_or_default();
    eventually("the holder", || {
        told().contains("by 22222222222222222222222222222222")
    })
    .await;
    by_locksmith("[]", 1);
    machine.is_asked_to_reboot(1).await;
    let id = &machine.id;
    assert_eq!(
        stored(),
        format!(r#"{{"semaphore":0,"max":1,"holders":["{id}"]}}"#)
    );
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("idle").await;
    assert_eq!(stored(), r#"{"semaphore":1,"max":1,"holders":[]}"#);
}
