//! etcd, manager and engine started anew in each state of the manager: nothing is lost, and no two nodes hold one place.

use serde_json::json;
use update_engine::disk::SlotName;

use super::manager::Machine;
use crate::support::health::{REBOOT, become_healthy};
use crate::support::scene::eventually;
use test_support::etcd::Etcd;

/// Two nodes, and one place in a real etcd.
struct Fleet {
    first: Machine,
    second: Machine,
    etcd: Etcd,
}

impl Fleet {
    /// Nodes with these lines in their configuration; none where there is no etcd.
    async fn new(lines: &str) -> Option<Self> {
        let etcd = Etcd::start()?;
        Some(Self {
            first: Machine::with_lock_in(&etcd, '1', lines).await,
            second: Machine::with_lock_in(&etcd, '2', lines).await,
            etcd,
        })
    }

    /// The first node has an update, and logind its order to reboot; the second one waits for the lock.
    async fn first_holds(lines: &str) -> Option<Self> {
        let mut fleet = Self::new(lines).await?;
        fleet.first.boot(SlotName::A).await;
        fleet.first.update().await;
        fleet.first.is_asked_to_reboot(1).await;
        fleet.second_waits().await;
        Some(fleet)
    }

    async fn second_waits(&mut self) {
        self.second.boot(SlotName::A).await;
        self.second.update().await;
        self.second.tells("is taken").await;
    }

    /// Restarts etcd, the first node's manager and its engine, one after the other. Each time the first node comes to
    /// `phase` again, and the same node holds the lock.
    async fn restart_each(&mut self, slot: SlotName, phase: &str) {
        let holders = self.etcd.holders_v3();
        self.restart_etcd().await;
        self.is_unchanged(phase, &holders).await;
        self.first.restart_manager();
        self.is_unchanged(phase, &holders).await;
        self.first.restart_engine(slot).await;
        self.is_unchanged(phase, &holders).await;
    }

    /// etcd dies, and comes back once those who wait for the lock have noticed.
    async fn restart_etcd(&mut self) {
        let waits = |machine: &&Machine| {
            let manager = machine.manager.as_ref();
            manager.is_some_and(|manager| manager.report().phase == "waiting-for-lock")
        };
        let waiting: Vec<_> = [&self.first, &self.second].into_iter().filter(waits).collect();
        self.etcd.die();
        for machine in &waiting {
            machine.tells("can't be used").await;
        }
        self.etcd.come_back();
        for machine in &waiting {
            machine.tells("is taken").await;
        }
    }

    async fn is_unchanged(&self, phase: &str, holders: &[String]) {
        self.first.manager().reaches(phase).await;
        assert_eq!(self.etcd.holders_v3(), holders, "in {phase}");
    }

    /// The first node has given the lock back: the second one takes it. Never were there two holders.
    async fn second_goes(&self) {
        self.first.manager().reaches("idle").await;
        self.second.is_asked_to_reboot(1).await;
        self.went_one_after_the_other(&['1', '2']);
    }

    /// Holders, in every state that etcd has ever had: these, one after the other.
    fn went_one_after_the_other(&self, ids: &[char]) {
        let history = self.etcd.history_v3();
        let mut holders = Vec::new();
        for state in &history {
            let now = state["holders"].as_array().cloned().unwrap_or_default();
            assert!(now.len() <= 1, "{state}");
            assert_eq!(state["semaphore"], json!(1 - now.len()), "{state}");
            holders.extend(now);
        }
        holders.dedup();
        let ids: Vec<_> = ids.iter().map(|id| json!(id.to_string().repeat(32))).collect();
        assert_eq!(holders, ids, "{history:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_window_is_waited_for() {
    let closed = super::manners::far_window();
    let lines = format!("REBOOT_WINDOW_START={closed}\nREBOOT_WINDOW_LENGTH=1h\nREBOOT_TIME_ZONE=UTC\n");
    let Some(mut fleet) = Fleet::new(&lines).await else {
        return;
    };
    fleet.first.boot(SlotName::A).await;
    fleet.first.update().await;
    fleet.first.manager().reaches("waiting-for-window").await;
    fleet.restart_each(SlotName::A, "waiting-for-window").await;
    assert_eq!(fleet.first.logind.reboots(), 0);

    fleet.first.scene.configure("REBOOT_WINDOWS=00:00 24h\n");
    fleet.first.restart_manager();
    fleet.first.is_asked_to_reboot(1).await;
    fleet.went_one_after_the_other(&['1']);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_lock_is_waited_for() {
    let Some(mut fleet) = Fleet::first_holds("").await else {
        return;
    };
    // The other way round: it is the waiting node that everything is started anew on.
    std::mem::swap(&mut fleet.first, &mut fleet.second);
    fleet.restart_each(SlotName::A, "waiting-for-lock").await;
    assert_eq!(fleet.first.logind.reboots(), 0);

    assert_eq!(fleet.second.reboot().await, SlotName::B);
    become_healthy(&fleet.second.scene.node);
    fleet.second.manager().reaches("idle").await;
    fleet.first.is_asked_to_reboot(1).await;
    fleet.went_one_after_the_other(&['1', '2']);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_lock_before_the_reboot() {
    let Some(mut fleet) = Fleet::new("").await else {
        return;
    };
    fleet.first.boot(SlotName::A).await;
    fleet.first.logind.inhibit(Some("block"));
    fleet.first.update().await;
    fleet.first.manager().reaches("confirming").await;
    fleet.second_waits().await;
    fleet.restart_each(SlotName::A, "confirming").await;
    assert_eq!(fleet.first.logind.reboots(), 0);

    fleet.first.logind.inhibit(None);
    fleet.first.is_asked_to_reboot(1).await;
    assert_eq!(fleet.first.reboot().await, SlotName::B);
    become_healthy(&fleet.first.scene.node);
    fleet.second_goes().await;
}

/// The record says that logind has its order: a manager that is started anew doesn't give it once more while the machine may be
/// going down.
#[tokio::test(flavor = "multi_thread")]
async fn once_the_reboot_is_ordered() {
    let Some(mut fleet) = Fleet::first_holds("").await else {
        return;
    };
    fleet.restart_each(SlotName::A, "rebooting").await;
    assert_eq!(fleet.first.logind.reboots(), 1);

    assert_eq!(fleet.first.reboot().await, SlotName::B);
    become_healthy(&fleet.first.scene.node);
    fleet.second_goes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_trial() {
    let Some(mut fleet) = Fleet::first_holds("").await else {
        return;
    };
    assert_eq!(fleet.first.reboot().await, SlotName::B);
    fleet.first.manager().reaches("on-trial").await;
    fleet.restart_each(SlotName::B, "on-trial").await;
    assert_eq!(fleet.second.logind.reboots(), 0);

    become_healthy(&fleet.first.scene.node);
    fleet.second_goes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback() {
    let Some(mut fleet) = Fleet::first_holds("HEALTH_DEADLINE=1\n").await else {
        return;
    };
    assert_eq!(fleet.first.reboot().await, SlotName::B);
    let gave_up = fleet.first.scene.node.path(REBOOT);
    eventually("the rollback", || gave_up.exists()).await;
    assert_eq!(fleet.first.reboot().await, SlotName::A);
    fleet.first.manager().reaches("held-after-rollback").await;
    let id = "1".repeat(32);
    let cause = || fleet.etcd.semaphore_v3()["notes"][&id]["cause"].clone();
    eventually("the note", || {
        cause().as_str().is_some_and(|cause| !cause.is_empty())
    })
    .await;
    let noted = cause();
    fleet.restart_each(SlotName::A, "held-after-rollback").await;
    assert_eq!(fleet.etcd.semaphore_v3()["notes"][&id]["cause"], noted);
    assert_eq!(fleet.second.logind.reboots(), 0);

    assert_eq!(fleet.first.lock_command(&["release"]).await.2, 0);
    fleet.second_goes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_lock_is_given_back() {
    let Some(mut fleet) = Fleet::first_holds("").await else {
        return;
    };
    assert_eq!(fleet.first.reboot().await, SlotName::B);
    fleet.first.manager().reaches("on-trial").await;
    fleet.etcd.die();
    become_healthy(&fleet.first.scene.node);
    fleet.first.tells("can't be used").await;
    assert_eq!(fleet.first.manager().report().phase, "releasing");
    fleet.first.restart_manager();
    fleet.first.tells("can't be used").await;
    assert_eq!(fleet.first.manager().report().phase, "releasing");
    fleet.first.restart_engine(SlotName::B).await;
    assert_eq!(fleet.first.manager().report().phase, "releasing");

    fleet.etcd.come_back();
    fleet.second_goes().await;
}
