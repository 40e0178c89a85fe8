//! Nodes, a lock's server, and everything that may happen to them.

mod faults;
mod lock_server;
mod node;

use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::super::{
    AfterRollback, Confirmation, EngineView, FailedVersion, InstalledOutcome, ManagerEvent, ManagerJob,
    ManagerPhase, ManagerState, NodeView, NoteAnswer, Reason, SlotHealth, WantedReboot,
};

use node::{Machine, Node, Running};

const THIS_BOOT: &str = "this";
const EARLIER_BOOT: &str = "earlier";
const OLD_SLOT: &str = "USR-A";
const NEW_SLOT: &str = "USR-B";
const VERSION: &str = "2";

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) nodes: usize,
    pub(super) places: usize,
    pub(super) is_bad: bool,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) budget: Budget,
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
}

/// How often what goes wrong may go wrong, in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// A manager is killed.
    pub(super) kills: u8,
    /// A node loses power.
    pub(super) cuts: u8,
    /// An update is withdrawn.
    pub(super) withdrawals: u8,
    /// An answer of the lock's server is lost; the request takes effect, doesn't, or does later.
    pub(super) losses: u8,
    pub(super) vetoes: u8,
    /// A record can't be written.
    pub(super) unsaved: u8,
    /// Root asks for a reboot.
    pub(super) requests: u8,
    /// An operator releases a lock that is kept after a rollback.
    pub(super) releases: u8,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    scenario: Scenario,
    budget: Budget,
    nodes: Vec<Node>,
}

type Successors = Vec<(String, World)>;

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let machine = Machine {
            is_up: true,
            ..Machine::default()
        };
        // Started, with nothing to do.
        let manager = ManagerState {
            phase: ManagerPhase::Idle,
            ..ManagerState::new(THIS_BOOT.to_owned(), AfterRollback::Hold, None)
        };
        let node = Node {
            machine,
            manager: Some(manager),
            disk: None,
            running: None,
            is_holder: false,
            ghost: None,
            has_news: false,
            is_full: false,
        };
        Self {
            scenario,
            budget: scenario.budget,
            nodes: vec![node; scenario.nodes],
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
        let half = |seed| hash(seed, &|hasher| (&nodes, self.budget).hash(hasher));
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
        if touched > places + released {
            return Some(format!("{touched} nodes have run the bad version"));
        }
        let misled = self.nodes.iter().any(|node| node.machine.was_misled);
        misled.then(|| "a reboot for an update that was withdrawn".to_owned())
    }

    /// Everything is as it should be in the end: who holds the lock has a reason, and who doesn't reboot too.
    pub(super) fn is_settled(&self) -> bool {
        let is_taken = self.nodes.iter().filter(|node| node.is_holder).count() >= self.scenario.places;
        self.nodes.iter().all(|node| node.is_settled(is_taken))
    }

    pub(super) fn successors(&self) -> Successors {
        // What nobody else sees and nothing stands against goes first, with what may happen to the same node meanwhile.
        if let Some(at) = self.nodes.iter().position(Node::is_amid_own_business) {
            return self.of_node(at);
        }
        (0..self.nodes.len()).flat_map(|at| self.of_node(at)).collect()
    }

    fn of_node(&self, at: usize) -> Successors {
        let mut found = Vec::new();
        let node = &self.nodes[at];
        self.faults(at, &mut found);
        self.lock_server(at, &mut found);
        if node.machine.hangs {
            return found;
        }
        self.machine(at, &mut found);
        match &node.manager {
            None if node.machine.is_up => found.push(self.changed("manager starts", at, |node, _| {
                node.manager = Some(ManagerState::new(
                    THIS_BOOT.to_owned(),
                    AfterRollback::Hold,
                    node.disk.clone(),
                ));
                node.has_news = true;
            })),
            None => {}
            Some(_) => {
                if node.has_news {
                    found.push(self.told("engine is read", at, ManagerEvent::Engine(self.view(at))));
                }
                self.job(at, &mut found);
            }
        }
        found
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
    fn told(&self, action: &str, at: usize, event: ManagerEvent) -> (String, Self) {
        let (mut name, mut world) = self.changed(action, at, |_, _| {});
        if matches!(event, ManagerEvent::Engine(_)) {
            world.nodes[at].has_news = false;
        } else {
            // Answered: what it had asked for has been done, or is refused.
            world.nodes[at].running = None;
        }
        name += &world.nodes[at].tell(event, self.scenario.after_rollback());
        (name, world)
    }

    fn view(&self, at: usize) -> EngineView {
        let machine = &self.nodes[at].machine;
        let is_lost = self.is_sabotaged(Sabotage::LostWithdrawal)
            && machine.outcome == Some(InstalledOutcome::Withdrawn);
        let waits = machine.is_waiting || is_lost;
        let is_good = !machine.is_on_trial || self.is_sabotaged(Sabotage::ReleaseAtBoot);
        EngineView::Known(NodeView {
            waiting: waits.then(|| WantedReboot {
                reason: Reason::Update,
                version: VERSION.to_owned(),
                slot: Some(NEW_SLOT.to_owned()),
            }),
            is_resting: true,
            slot: Some(if machine.runs_new { NEW_SLOT } else { OLD_SLOT }.to_owned()),
            version: if machine.runs_new { VERSION } else { "1" }.to_owned(),
            health: if is_good {
                SlotHealth::Good
            } else {
                SlotHealth::NotYet("looked at".to_owned())
            },
            last_outcome: machine.outcome,
            rollback: machine.has_failed.then(failed),
        })
    }

    /// What happens to a node by itself.
    fn machine(&self, at: usize, found: &mut Successors) {
        let machine = &self.nodes[at].machine;
        if !machine.is_up {
            let is_bad = self.scenario.is_bad;
            found.push(self.changed("boots", at, |node, _| node.boot(is_bad)));
            return;
        }
        let may_install = !machine.runs_new
            && !machine.is_waiting
            && !machine.is_on_trial
            && !machine.has_failed
            && machine.outcome != Some(InstalledOutcome::Withdrawn);
        if may_install {
            found.push(self.changed("update is installed", at, |node, _| {
                node.machine.is_waiting = true;
                node.machine.outcome = Some(InstalledOutcome::Other);
                node.has_news = true;
            }));
        }
        if machine.is_on_trial && self.scenario.is_bad {
            found.push(self.changed("rolls back", at, |node, _| node.go_down()));
            found.push(self.changed("hangs", at, |node, _| node.machine.hangs = true));
        } else if machine.is_on_trial {
            found.push(self.changed("slot is found good", at, |node, _| {
                node.machine.is_on_trial = false;
                node.machine.is_ordered = false;
                node.has_news = true;
            }));
        }
    }

    /// What may become of the job under way.
    fn job(&self, at: usize, found: &mut Successors) {
        let Some(Running { job, sent }) = &self.nodes[at].running else {
            return;
        };
        if *job == ManagerJob::Confirm
            && self.nodes[at].machine.was_confirmed != self.nodes[at].machine.is_waiting
        {
            let (_, looked) = self.changed("", at, |node, _| {
                node.machine.was_confirmed = node.machine.is_waiting;
            });
            return looked.job(at, found);
        }
        let mut answer = |name: &str, event: ManagerEvent| found.push(self.told(name, at, event));
        match job {
            ManagerJob::AwaitWindow => answer("window opens", ManagerEvent::Window(true)),
            ManagerJob::LookAtWindow => {
                answer("window is open", ManagerEvent::Window(true));
                answer("window is closed", ManagerEvent::Window(false));
            }
            ManagerJob::Prepare => {
                answer("prepared", ManagerEvent::Prepared(Ok(())));
                if self.budget.vetoes > 0 {
                    let (name, mut world) =
                        self.told("veto", at, ManagerEvent::Prepared(Err("veto".to_owned())));
                    world.budget.vetoes -= 1;
                    found.push((name, world));
                }
            }
            ManagerJob::Notify => answer("users are told", ManagerEvent::UsersNotified),
            ManagerJob::Confirm => self.confirm_job(at, found),
            ManagerJob::Reboot => self.reboot_job(at, found),
            ManagerJob::Settle => answer("settled", ManagerEvent::Settled),
            ManagerJob::Pause(_) => answer("pause is over", ManagerEvent::PauseOver),
            ManagerJob::Note(_) => {
                let noted = if self.nodes[at].is_holder {
                    NoteAnswer::Noted
                } else {
                    NoteAnswer::NotHeld
                };
                answer("noted", ManagerEvent::Noted(noted));
            }
            ManagerJob::Lock { .. } | ManagerJob::Unlock { .. } => self.lock_job(at, job, *sent, found),
        }
    }

    fn confirm_job(&self, at: usize, found: &mut Successors) {
        let mut answer = |name: &str, event: ManagerEvent| found.push(self.told(name, at, event));
        let confirmation = |is_open, inhibitors: Option<&str>| {
            ManagerEvent::Confirmed(Confirmation {
                engine: self.view(at),
                is_open,
                inhibitors: inhibitors.map(str::to_owned),
            })
        };
        answer("confirmed", confirmation(true, None));
        answer("window has closed", confirmation(false, None));
        answer("inhibited", confirmation(true, Some("shutdown")));
    }

    fn reboot_job(&self, at: usize, found: &mut Successors) {
        found.push(self.changed("reboots", at, |node, _| {
            let is_request = node.disk.as_ref().and_then(|disk| disk.wanted.as_ref());
            let is_request = is_request.is_some_and(|wanted| wanted.reason == Reason::Request);
            node.machine.is_ordered = true;
            node.machine.was_misled = !is_request && !node.machine.was_confirmed;
            node.go_down();
        }));
        found.push(self.told(
            "logind refuses",
            at,
            ManagerEvent::RebootAnswered(Err("busy".to_owned())),
        ));
    }
}

impl Scenario {
    fn after_rollback(self) -> AfterRollback {
        if self.sabotage == Some(Sabotage::ReleaseOnRollback) {
            AfterRollback::Release
        } else {
            AfterRollback::Hold
        }
    }
}

fn failed() -> FailedVersion {
    FailedVersion {
        version: VERSION.to_owned(),
        cause: "bad".to_owned(),
    }
}
