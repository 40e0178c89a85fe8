//! The engine of the model: what it does to its node, and what it says of it.

use super::super::super::{
    EngineView, FailedVersion, InstalledOutcome, NodeView, Reason, SlotHealth, WantedReboot,
};
use super::{Activation, Sabotage, Successors, World};

impl World {
    /// What happens to a node by itself.
    pub(super) fn machine(&self, at: usize, found: &mut Successors) {
        let machine = &self.nodes[at].machine;
        let bad = self.scenario.bad;
        if !machine.is_up {
            found.push(self.changed("boots", at, |node, _| node.boot(bad)));
            return;
        }
        if machine.goes_down {
            self.orderly_reboot(at, found);
        }
        if machine.is_silent {
            found.push(self.changed("engine answers again", at, |node, _| {
                node.machine.is_silent = false;
                node.has_news = true;
            }));
            return;
        }
        if machine.is_blind {
            found.push(self.changed("slots can be told again", at, |node, _| {
                node.machine.is_blind = false;
                node.has_news = true;
            }));
        }
        if machine.is_busy {
            found.push(self.changed("engine rests", at, |node, _| {
                node.machine.is_busy = false;
                node.has_news = true;
            }));
        }
        self.updates(at, found);
        if machine.is_on_trial && bad == Some(machine.runs) {
            found.push(self.changed("rolls back", at, |node, _| node.go_down()));
            found.push(self.changed("hangs", at, |node, _| node.machine.hangs = true));
        } else if machine.is_on_trial {
            found.push(self.changed("slot is found good", at, |node, _| node.found_good()));
        }
    }

    /// It activates what is staged, if that is meant and succeeds.
    fn orderly_reboot(&self, at: usize, found: &mut Successors) {
        let machine = &self.nodes[at].machine;
        let activates = machine.staged.is_some() && self.scenario.activation == Activation::Reboot;
        found.push(self.changed("goes down", at, |node, _| {
            node.machine.is_ordered = true;
            node.machine.was_misled |= node.machine.is_for_update && !node.machine.was_confirmed;
            if activates {
                node.activate();
            }
            node.go_down();
        }));
        if activates && self.budget.unactivated > 0 {
            found.push(
                self.changed("goes down, nothing is activated", at, |node, budget| {
                    budget.unactivated -= 1;
                    node.machine.reboots += 1;
                    node.machine.is_ordered = true;
                    node.go_down();
                }),
            );
        }
    }

    fn updates(&self, at: usize, found: &mut Successors) {
        let machine = &self.nodes[at].machine;
        let (offered, activation) = (self.offered, self.scenario.activation);
        if machine.is_on_trial || machine.runs == offered {
            return;
        }
        if machine.staged.is_some() && machine.staged_for_reboot(activation).is_none() {
            found.push(self.changed("operator activates", at, |node, _| node.activate()));
        }
        match machine.waiting.or(machine.staged) {
            Some(waiting) if waiting < offered && !machine.is_rollback => {
                found.push(
                    self.changed("waiting update is taken back for a newer one", at, |node, _| {
                        node.withdraw();
                    }),
                );
            }
            None if machine.blocked & (1 << offered) == 0 => {
                found.push(self.changed("update is installed", at, |node, _| {
                    node.install(offered, activation);
                }));
            }
            None if self.budget.reinstalls > 0 && machine.failed == Some(offered) => {
                found.push(self.changed("operator installs it again", at, |node, budget| {
                    budget.reinstalls -= 1;
                    node.install(offered, activation);
                }));
            }
            Some(_) | None => {}
        }
    }

    /// The engine's answer.
    pub(super) fn view(&self, at: usize) -> EngineView {
        let machine = &self.nodes[at].machine;
        if machine.is_silent {
            return EngineView::Silent("silent".to_owned());
        }
        let is_lost = self.is_sabotaged(Sabotage::LostWithdrawal)
            && machine.outcome == Some(InstalledOutcome::Withdrawn);
        let staged = machine.staged_for_reboot(self.scenario.activation);
        let waiting = machine.waiting.or(staged);
        let waiting = waiting.or_else(|| is_lost.then_some(self.offered));
        let is_misread = machine.staged.is_some() && self.is_sabotaged(Sabotage::StagedIsInstalled);
        let is_good = !machine.is_on_trial || self.is_sabotaged(Sabotage::ReleaseAtBoot);
        EngineView::Known(NodeView {
            waiting: waiting.map(|version| WantedReboot {
                reason: if machine.is_rollback {
                    Reason::Rollback
                } else {
                    Reason::Update
                },
                version: version.to_string(),
                slot: Some(slot(!machine.in_b)),
            }),
            is_resting: !machine.is_busy,
            slot: (!machine.is_blind).then(|| slot(machine.in_b)),
            version: machine.runs.to_string(),
            health: if is_good && !machine.is_blind {
                SlotHealth::Good
            } else {
                SlotHealth::NotYet("looked at".to_owned())
            },
            last_outcome: if is_misread {
                Some(InstalledOutcome::Other)
            } else {
                machine.outcome
            },
            rollback: machine
                .failed
                .filter(|_| !is_misread)
                .map(|version| FailedVersion {
                    version: version.to_string(),
                    cause: "bad".to_owned(),
                }),
            installed: Some(machine.installed.into()),
            is_staged: machine.staged.is_some() && !self.is_sabotaged(Sabotage::UnactivatedIsBack),
        })
    }
}

fn slot(in_b: bool) -> String {
    if in_b { "USR-B" } else { "USR-A" }.to_owned()
}
