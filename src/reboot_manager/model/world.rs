//! Nodes, a lock's server, and everything that may happen to them.

mod engine;
mod faults;
mod jobs;
mod lock_server;
mod node;

use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::super::{AfterRollback, ManagerEvent, ManagerPhase, ManagerState};

use node::{Machine, Node};

const THIS_BOOT: &str = "this";
const EARLIER_BOOT: &str = "earlier";

/// The version that all nodes run at first.
const FIRST: u8 = 1;

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) nodes: usize,
    pub(super) places: usize,
    /// The server offers version 2 first, and all up to this one in the end.
    pub(super) newest: u8,
    /// The version whose trial fails.
    pub(super) bad: Option<u8>,
    pub(super) after_rollback: AfterRollback,
    /// Whether the lock's server tells who holds it.
    pub(super) tells_holders: bool,
    pub(super) activation: Activation,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) budget: Budget,
}

/// What activates an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// Its installation.
    AtOnce,
    /// It is staged, and an orderly reboot activates it.
    Reboot,
    /// It is staged, and an operator activates it.
    Order,
}

/// A fault that must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    ReleaseAtBoot,
    ExpiringLease,
    UnlockOfAnother,
    ReleaseOnRollback,
    LostWithdrawal,
    TwoManagers,
    NoFence,
    /// Writes take effect whatever stands there by now.
    BlindWrites,
    /// An answer of logind that is lost counts as a refusal.
    ForgottenOrder,
    /// An update that is only staged counts as the one that was installed last.
    StagedIsInstalled,
    /// Nobody tells that an update is staged still.
    UnactivatedIsBack,
}

/// How often what may go wrong may do so, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// A manager is killed.
    pub(super) kills: u8,
    /// A node loses power; one that hangs is reset.
    pub(super) cuts: u8,
    /// A node hangs, wherever it is. One on trial with the bad version does without.
    pub(super) hangs: u8,
    /// An update is withdrawn.
    pub(super) withdrawals: u8,
    /// An answer of the lock's server is lost; the request takes effect, doesn't, or does later.
    pub(super) losses: u8,
    /// A request is carried out twice.
    pub(super) repeats: u8,
    pub(super) vetoes: u8,
    /// A record can't be written.
    pub(super) unsaved: u8,
    /// Root asks for a reboot.
    pub(super) requests: u8,
    /// An operator releases a lock that is kept after a rollback.
    pub(super) releases: u8,
    /// An operator installs a version again that failed.
    pub(super) reinstalls: u8,
    /// An operator rolls a good version back.
    pub(super) rollbacks: u8,
    /// The engine doesn't answer for a while.
    pub(super) silences: u8,
    /// The engine can't tell its slots for a while.
    pub(super) blindness: u8,
    /// The engine is amid something for a while.
    pub(super) business: u8,
    /// logind refuses, inhibits, or its answer is lost.
    pub(super) refusals: u8,
    /// A record is damaged while its manager doesn't run.
    pub(super) damages: u8,
    /// An orderly reboot doesn't activate what is staged.
    pub(super) unactivated: u8,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    scenario: Scenario,
    budget: Budget,
    /// The version that the update server offers.
    offered: u8,
    nodes: Vec<Node>,
}

/// Worlds by what leads to them.
pub(super) type Successors = Vec<(String, World)>;

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        // Started, with nothing to do.
        let manager = ManagerState {
            phase: ManagerPhase::Idle,
            ..ManagerState::new(THIS_BOOT.to_owned(), scenario.after_rollback(), None)
        };
        Self {
            scenario,
            budget: scenario.budget,
            offered: FIRST + 1,
            nodes: vec![Node::new(Machine::new(FIRST), manager); scenario.nodes],
        }
    }

    /// The same for worlds that differ in the order of their nodes only.
    pub(super) fn fingerprint(&self) -> u128 {
        let hash = |seed: u8, value: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            value(&mut hasher);
            hasher.finish()
        };
        // With the same id the first two are no more like the third.
        let twins = if self.is_sabotaged(Sabotage::TwoManagers) {
            2
        } else {
            0
        };
        let mut nodes: Vec<u64> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| hash(u8::from(at < twins), &|hasher| node.hash(hasher)))
            .collect();
        nodes.sort_unstable();
        let half = |seed| hash(seed, &|hasher| (&nodes, self.budget, self.offered).hash(hasher));
        u128::from(half(2)) << 64 | u128::from(half(3))
    }

    fn is_sabotaged(&self, sabotage: Sabotage) -> bool {
        self.scenario.sabotage == Some(sabotage)
    }

    /// The rule that is broken here, if one is.
    pub(super) fn violation(&self) -> Option<String> {
        let holders = self.nodes.iter().filter(|node| node.is_holder).count();
        let out = |node: &&Node| {
            let machine = &node.machine;
            machine.is_ordered && (!machine.is_up || machine.is_on_trial)
        };
        let touched = self.nodes.iter().filter(|node| node.machine.touched_bad).count();
        let released = usize::from(self.scenario.budget.releases - self.budget.releases);
        let places = self.scenario.places;
        if holders > places {
            return Some(format!("{holders} holders"));
        }
        if self.nodes.iter().filter(out).count() > places {
            return Some("more nodes are down or on trial than there are places".to_owned());
        }
        if self.nodes.iter().filter(out).any(|node| !node.is_holder) {
            return Some("a node is down or on trial without the lock".to_owned());
        }
        if self.scenario.after_rollback == AfterRollback::Hold {
            // Where a later version has ended the hold, nothing tells the others what failed.
            let mended = self.nodes.iter().filter(|node| node.machine.was_mended).count();
            if touched > places + released + mended {
                return Some(format!("{touched} nodes have run the bad version"));
            }
            let is_lost = |node: &Node| node.machine.must_hold && !node.is_holder;
            if self.nodes.iter().any(is_lost) {
                return Some("a node that rolled back has lost the lock".to_owned());
            }
        }
        let is_held_for_nothing = |node: &Node| {
            let is_held = |manager: &ManagerState| manager.phase() == ManagerPhase::Held;
            !node.has_news && node.machine.failed.is_none() && node.manager.as_ref().is_some_and(is_held)
        };
        if self.scenario.activation != Activation::AtOnce && self.nodes.iter().any(is_held_for_nothing) {
            return Some("the lock is kept for a rollback that never was".to_owned());
        }
        let misled = self.nodes.iter().any(|node| node.machine.was_misled);
        misled.then(|| "a reboot for an update that was withdrawn".to_owned())
    }

    /// Everything is as it should be in the end: who holds the lock has a reason, everybody else runs what can be run, or
    /// waits for who holds it.
    pub(super) fn is_settled(&self) -> bool {
        let is_taken = self.nodes.iter().filter(|node| node.is_holder).count() >= self.scenario.places;
        let newest = self.scenario.newest;
        self.offered == newest && self.nodes.iter().all(|node| node.is_settled(newest, is_taken))
    }

    pub(super) fn successors(&self) -> Successors {
        let mut found = Vec::new();
        if self.offered < self.scenario.newest {
            let mut world = self.clone();
            world.offered += 1;
            found.push((format!("version {} is offered", world.offered), world));
        }
        // What nobody else sees and nothing stands against goes first, with what may happen to the same node meanwhile.
        match self.nodes.iter().position(Node::is_amid_own_business) {
            Some(at) => self.of_node(at, &mut found),
            None => (0..self.nodes.len()).for_each(|at| self.of_node(at, &mut found)),
        }
        found
    }

    fn of_node(&self, at: usize, found: &mut Successors) {
        let node = &self.nodes[at];
        self.faults(at, found);
        self.lock_server(at, found);
        if node.machine.hangs {
            return;
        }
        self.machine(at, found);
        match &node.manager {
            None if node.machine.is_up => found.push(self.changed("manager starts", at, |node, _| {
                node.start_manager(self.scenario.after_rollback());
            })),
            None => {}
            Some(_) => {
                if node.has_news {
                    found.push(self.told("engine is read", at, &ManagerEvent::Engine(self.view(at))));
                }
                self.job(at, found);
            }
        }
    }

    fn changed(
        &self,
        action: &str,
        at: usize,
        change: impl FnOnce(&mut Node, &mut Budget),
    ) -> (String, Self) {
        let mut world = self.clone();
        change(&mut world.nodes[at], &mut world.budget);
        (format!("node {at}: {action}"), world)
    }

    /// The manager takes an event, and begins what follows from it.
    fn told(&self, action: &str, at: usize, event: &ManagerEvent) -> (String, Self) {
        let (mut name, mut world) = self.changed(action, at, |_, _| {});
        if matches!(event, ManagerEvent::Engine(_)) {
            world.nodes[at].has_news = false;
        } else {
            // Answered: what it had asked for has been done, or is refused.
            world.nodes[at].running = None;
        }
        name += &world.nodes[at].tell(event);
        (name, world)
    }
}

impl Scenario {
    fn after_rollback(self) -> AfterRollback {
        if self.sabotage == Some(Sabotage::ReleaseOnRollback) {
            AfterRollback::Release
        } else {
            self.after_rollback
        }
    }
}
