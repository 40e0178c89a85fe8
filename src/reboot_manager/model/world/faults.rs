//! Faults of the model, and what people do, as far as the scenario's budget goes.

use super::super::super::{ManagerEvent, ManagerPhase, ManagerState};
use super::node::{Node, Write};
use super::{Budget, Sabotage, Successors, World};

/// An action: its name, its place in the budget, whether it can happen, and what it does.
type Fault = (
    &'static str,
    fn(&mut Budget) -> &mut u8,
    fn(&Node) -> bool,
    fn(&mut Node),
);

const FAULTS: [Fault; 10] = [
    (
        "manager is killed",
        |budget| &mut budget.kills,
        |node| node.manager.is_some(),
        |node| {
            node.abandon();
            node.manager = None;
        },
    ),
    (
        "loses power",
        |budget| &mut budget.cuts,
        |node| node.machine.is_up,
        lose_power,
    ),
    (
        "hangs anywhere",
        |budget| &mut budget.hangs,
        |node| node.machine.is_up && !node.machine.hangs,
        |node| node.machine.hangs = true,
    ),
    (
        "update is withdrawn",
        |budget| &mut budget.withdrawals,
        |node| {
            let machine = &node.machine;
            machine.staged.is_some() || machine.waiting.is_some() && !machine.is_rollback
        },
        |node| {
            // Nor is it offered to this node again.
            let version = node.machine.waiting.or(node.machine.staged);
            node.machine.blocked |= version.map_or(0, |version| 1 << version);
            node.withdraw();
        },
    ),
    (
        "disk is full",
        |budget| &mut budget.unsaved,
        |node| !node.is_full,
        |node| node.is_full = true,
    ),
    (
        "operator rolls back",
        |budget| &mut budget.rollbacks,
        |node| {
            let machine = &node.machine;
            let is_other = machine.previous != machine.runs;
            let is_free = machine.waiting.is_none() && machine.staged.is_none();
            machine.is_up && !machine.is_on_trial && is_free && is_other
        },
        |node| {
            node.machine.waiting = Some(node.machine.previous);
            node.machine.is_rollback = true;
            node.has_news = true;
        },
    ),
    (
        "engine falls silent",
        |budget| &mut budget.silences,
        |node| node.machine.is_up && !node.machine.is_silent,
        |node| {
            node.machine.is_silent = true;
            node.has_news = true;
        },
    ),
    (
        "engine can't tell slots",
        |budget| &mut budget.blindness,
        |node| node.machine.is_up && !node.machine.is_blind,
        |node| {
            node.machine.is_blind = true;
            node.has_news = true;
        },
    ),
    (
        "engine is amid something",
        |budget| &mut budget.business,
        |node| node.machine.is_up && !node.machine.is_busy,
        |node| {
            node.machine.is_busy = true;
            node.has_news = true;
        },
    ),
    (
        "record is damaged",
        |budget| &mut budget.damages,
        |node| node.manager.is_none() && node.disk.is_some() && !node.is_damaged,
        |node| node.is_damaged = true,
    ),
];

fn lose_power(node: &mut Node) {
    // Without the lock it is nobody's choice.
    let is_ready = |manager: &ManagerState| {
        matches!(
            manager.phase(),
            ManagerPhase::Preparing
                | ManagerPhase::Notifying
                | ManagerPhase::Confirming
                | ManagerPhase::Rebooting
        )
    };
    let is_ours = node.manager.as_ref().is_some_and(is_ready) || node.machine.goes_down;
    if node.machine.waiting.is_some() && is_ours {
        node.machine.is_ordered = true;
    }
    node.go_down();
}

impl World {
    /// What goes wrong, as far as the budget goes.
    pub(super) fn faults(&self, at: usize, found: &mut Successors) {
        let node = &self.nodes[at];
        for (name, price, may_happen, happens) in FAULTS {
            if *price(&mut self.budget.clone()) > 0 && may_happen(node) {
                found.push(self.changed(name, at, |node, budget| {
                    *price(budget) -= 1;
                    happens(node);
                }));
            }
        }
        let is_news = |manager: &ManagerState| !manager.requested;
        if self.budget.requests > 0 && node.manager.as_ref().is_some_and(is_news) {
            let (name, mut world) = self.changed("root asks", at, |_, budget| budget.requests -= 1);
            let said = world.nodes[at].tell(&ManagerEvent::Requested);
            found.push((name + &said, world));
        }
        let is_held = |manager: &ManagerState| manager.phase() == ManagerPhase::Held;
        if self.budget.releases > 0 && node.is_holder && node.manager.as_ref().is_some_and(is_held) {
            let (name, mut world) = self.changed("operator releases", at, |node, budget| {
                budget.releases -= 1;
                node.machine.must_hold = false;
            });
            world.write(at, Write::Remove);
            found.push((name, world));
        }
        if self.is_sabotaged(Sabotage::ExpiringLease) && node.is_holder {
            found.push(self.changed("lease expires", at, |node, _| node.is_holder = false));
        }
    }
}
