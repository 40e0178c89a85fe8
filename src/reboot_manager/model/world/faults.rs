//! Faults of the model, as far as the scenario's budget goes.

use super::super::super::{InstalledOutcome, ManagerEvent, ManagerPhase, ManagerState};
use super::node::Write;
use super::{Sabotage, Successors, World};

impl World {
    /// What goes wrong, as far as the budget goes.
    pub(super) fn faults(&self, at: usize, found: &mut Successors) {
        let node = &self.nodes[at];
        if self.budget.kills > 0 && node.manager.is_some() {
            found.push(self.changed("manager is killed", at, |node, budget| {
                budget.kills -= 1;
                node.abandon();
                node.manager = None;
            }));
        }
        if self.budget.cuts > 0 && node.machine.is_up {
            found.push(self.changed("loses power", at, |node, budget| {
                budget.cuts -= 1;
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
                if node.machine.is_waiting && node.manager.as_ref().is_some_and(is_ready) {
                    node.machine.is_ordered = true;
                }
                node.go_down();
            }));
        }
        if self.budget.withdrawals > 0 && node.machine.is_waiting {
            found.push(self.changed("update is withdrawn", at, |node, budget| {
                budget.withdrawals -= 1;
                node.machine.is_waiting = false;
                node.machine.outcome = Some(InstalledOutcome::Withdrawn);
                node.has_news = true;
            }));
        }
        if self.budget.unsaved > 0 {
            found.push(self.changed("disk is full", at, |node, budget| {
                budget.unsaved -= 1;
                node.is_full = true;
            }));
        }
        let is_news = |manager: &ManagerState| !manager.requested;
        if self.budget.requests > 0 && node.manager.as_ref().is_some_and(is_news) {
            let (name, mut world) = self.changed("root asks", at, |_, budget| budget.requests -= 1);
            let said = world.nodes[at].tell(ManagerEvent::Requested, self.scenario.after_rollback());
            found.push((name + &said, world));
        }
        let is_held = |manager: &ManagerState| manager.phase() == ManagerPhase::Held;
        if self.budget.releases > 0 && node.is_holder && node.manager.as_ref().is_some_and(is_held) {
            let (name, mut world) = self.changed("operator releases", at, |_, budget| budget.releases -= 1);
            world.write(at, Write::Remove);
            found.push((name, world));
        }
        if self.is_sabotaged(Sabotage::ExpiringLease) && node.is_holder {
            found.push(self.changed("lease expires", at, |node, _| node.is_holder = false));
        }
    }
}
