//! A node of the model: its machine, its manager, and what it has asked the lock's server for.

use super::super::super::{
    AfterRollback, HoldRecord, InstalledOutcome, ManagerEffect, ManagerEvent, ManagerJob, ManagerPhase,
    ManagerState, step,
};
use super::super::coverage;
use super::{Activation, EARLIER_BOOT, THIS_BOOT};

/// After so many orderly reboots that have not activated what is staged the engine asks for none any more. It is one more in
/// earnest.
const MOST_REBOOTS: u8 = 2;

/// A write that the lock's server was asked for, on condition that nothing was written since the read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Add,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) job: ManagerJob,
    /// Of a lock's job that has read and asked for a write: whether the condition still holds.
    pub(super) sent: Option<(Write, bool)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each may go with any of the others")]
pub(super) struct Machine {
    pub(super) is_up: bool,
    /// The version that runs, the one that ran in the other slot, and whether it runs in slot B.
    pub(super) runs: u8,
    pub(super) previous: u8,
    pub(super) in_b: bool,
    /// The version that boots next, and whether that is a rollback by an operator.
    pub(super) waiting: Option<u8>,
    pub(super) is_rollback: bool,
    /// The version that is staged in the other slot, and how many orderly reboots have not activated it.
    pub(super) staged: Option<u8>,
    pub(super) reboots: u8,
    pub(super) is_on_trial: bool,
    pub(super) hangs: bool,
    /// The engine doesn't answer, can't tell its slots, or is amid something.
    pub(super) is_silent: bool,
    pub(super) is_blind: bool,
    pub(super) is_busy: bool,
    /// logind has taken the order; and whether that was given for an update.
    pub(super) goes_down: bool,
    pub(super) is_for_update: bool,
    pub(super) outcome: Option<InstalledOutcome>,
    /// The version that was left last, if none was found good since.
    pub(super) failed: Option<u8>,
    /// Versions that are not installed any more without an operator: one bit each.
    pub(super) blocked: u8,
    /// Updates that were installed.
    pub(super) installed: u8,
    /// Went down by our order, and is not found good since.
    pub(super) is_ordered: bool,
    /// The update waited when the engine was read for the last time.
    pub(super) was_confirmed: bool,
    /// A reboot was ordered for an update that was withdrawn before.
    pub(super) was_misled: bool,
    pub(super) touched_bad: bool,
    /// Left a version that it had booted by our order: the lock is to be kept.
    pub(super) must_hold: bool,
    /// Was to keep it, and has found a later version good since.
    pub(super) was_mended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each may go with any of the others")]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) manager: Option<ManagerState>,
    pub(super) disk: Option<HoldRecord>,
    /// What is on the disk can't be read.
    pub(super) is_damaged: bool,
    pub(super) running: Option<Running>,
    pub(super) is_holder: bool,
    /// A write that nobody waits for any more, and that may still take effect.
    pub(super) ghost: Option<Write>,
    /// The engine has something to tell.
    pub(super) has_news: bool,
    /// The next record can't be written.
    pub(super) is_full: bool,
}

impl Machine {
    pub(super) fn new(version: u8) -> Self {
        Self {
            is_up: true,
            runs: version,
            previous: version,
            ..Self::default()
        }
    }
}

impl Node {
    pub(super) fn new(machine: Machine, manager: ManagerState) -> Self {
        Self {
            machine,
            manager: Some(manager),
            disk: None,
            is_damaged: false,
            running: None,
            is_holder: false,
            ghost: None,
            has_news: false,
            is_full: false,
        }
    }

    /// Something is under way that nobody else sees.
    pub(super) fn is_amid_own_business(&self) -> bool {
        if self.machine.hangs || !self.machine.is_up {
            return false;
        }
        let is_own = |running: &Running| match running.job {
            ManagerJob::AwaitWindow
            | ManagerJob::LookAtWindow
            | ManagerJob::Prepare
            | ManagerJob::Notify
            | ManagerJob::Settle => true,
            ManagerJob::Pause(_) => !self.machine.goes_down,
            _ => false,
        };
        self.manager.is_none() || self.has_news || self.running.as_ref().is_some_and(is_own)
    }

    pub(super) fn start_manager(&mut self, after_rollback: AfterRollback) {
        let record = self.disk.clone().filter(|_| !self.is_damaged);
        let manager = ManagerState::new(THIS_BOOT.to_owned(), after_rollback, record);
        self.manager = Some(if self.is_damaged {
            manager.with_lost_record()
        } else {
            manager
        });
        self.has_news = true;
    }

    /// What was asked for and isn't waited for any more may still take effect.
    pub(super) fn abandon(&mut self) {
        if let Some(Running {
            sent: Some((write, true)),
            ..
        }) = self.running.take()
        {
            self.ghost = Some(write);
        }
    }

    pub(super) fn install(&mut self, version: u8, activation: Activation) {
        self.machine.staged = Some(version);
        self.machine.reboots = 0;
        self.has_news = true;
        if activation == Activation::AtOnce {
            self.activate();
        }
    }

    /// What is staged boots next.
    pub(super) fn activate(&mut self) {
        if let Some(version) = self.machine.staged.take() {
            self.machine.waiting = Some(version);
            self.machine.installed += 1;
            self.machine.outcome = Some(InstalledOutcome::Other);
            self.has_news = true;
        }
    }

    pub(super) fn withdraw(&mut self) {
        self.machine.waiting = None;
        self.machine.staged = None;
        self.machine.outcome = Some(InstalledOutcome::Withdrawn);
        self.has_news = true;
    }

    pub(super) fn found_good(&mut self) {
        let machine = &mut self.machine;
        machine.is_on_trial = false;
        machine.is_ordered = false;
        machine.was_mended |= machine.must_hold;
        machine.must_hold = false;
        machine.failed = None;
        self.has_news = true;
    }

    pub(super) fn go_down(&mut self) {
        self.abandon();
        self.manager = None;
        self.has_news = false;
        let machine = &mut self.machine;
        machine.is_up = false;
        machine.hangs = false;
        machine.goes_down = false;
        machine.is_silent = false;
        machine.is_blind = false;
        machine.is_busy = false;
        machine.was_confirmed = false;
        if machine.is_on_trial {
            machine.is_on_trial = false;
            machine.failed = Some(machine.runs);
            machine.outcome = Some(InstalledOutcome::RolledBack);
            machine.must_hold |= machine.is_ordered;
            machine.switch_slots();
        }
    }

    pub(super) fn boot(&mut self, bad: Option<u8>) {
        let machine = &mut self.machine;
        machine.is_up = true;
        let is_rollback = std::mem::take(&mut machine.is_rollback);
        match machine.waiting.take() {
            Some(_) if is_rollback => {
                machine.failed = Some(machine.runs);
                machine.outcome = Some(InstalledOutcome::RolledBack);
                machine.blocked |= 1 << machine.runs;
                machine.switch_slots();
                machine.is_ordered = false;
            }
            Some(version) => {
                machine.previous = version;
                machine.switch_slots();
                machine.is_on_trial = true;
                if bad == Some(version) {
                    machine.blocked |= 1 << version;
                    machine.touched_bad |= machine.is_ordered;
                }
            }
            None => machine.is_ordered = false,
        }
        if let Some(record) = &mut self.disk
            && !record.boot.is_empty()
        {
            EARLIER_BOOT.clone_into(&mut record.boot);
        }
    }

    /// Gives the manager an event, and carries out what follows; says so.
    pub(super) fn tell(&mut self, event: &ManagerEvent) -> String {
        let Some(manager) = &mut self.manager else {
            return String::new();
        };
        let (mut after, effects) = step(manager, event.clone());
        coverage::note(manager, event, &after, &effects);
        // Nothing is decided by these.
        after.tries = 0;
        after.obstacle = None;
        after.silence = None;
        let mut said = format!(" -> {}", after.phase().word());
        *manager = after;
        for effect in effects {
            match effect {
                ManagerEffect::Save(_) if std::mem::take(&mut self.is_full) => {
                    said += &self.tell(&ManagerEvent::NotSaved("full".to_owned()));
                    return said;
                }
                ManagerEffect::Save(record) => {
                    self.disk = Some(record);
                    self.is_damaged = false;
                }
                ManagerEffect::Forget => {
                    self.disk = None;
                    self.is_damaged = false;
                }
                ManagerEffect::Stop => self.abandon(),
                ManagerEffect::Start(job) => {
                    self.abandon();
                    self.running = Some(Running { job, sent: None });
                }
                ManagerEffect::Say(_) => {}
            }
        }
        said
    }

    /// Nothing has to follow any more; `newest` is offered, and `is_taken` says that no place is left.
    pub(super) fn is_settled(&self, newest: u8, is_taken: bool) -> bool {
        let machine = &self.machine;
        if machine.hangs {
            return self.is_holder || !machine.is_ordered;
        }
        let Some(manager) = &self.manager else {
            return false;
        };
        let is_unsettled = machine.is_silent || machine.is_blind || machine.is_busy || machine.goes_down;
        if !machine.is_up || self.has_news || self.ghost.is_some() || is_unsettled {
            return false;
        }
        let is_blocked = machine.blocked & (1 << newest) != 0;
        match manager.phase() {
            ManagerPhase::Idle => {
                !self.is_holder && (machine.runs == newest || is_blocked) && self.disk.is_none()
            }
            ManagerPhase::Held => self.is_holder && machine.failed.is_some() && is_blocked,
            // The others wait, and nothing else is wrong.
            ManagerPhase::Waiting | ManagerPhase::Locking => {
                is_taken
                    && !self.is_holder
                    && self
                        .running
                        .as_ref()
                        .is_some_and(|running| running.sent.is_none())
            }
            _ => false,
        }
    }
}

impl Machine {
    /// What is staged, if the engine asks for a reboot for its sake.
    pub(super) fn staged_for_reboot(&self, activation: Activation) -> Option<u8> {
        let is_meant = activation == Activation::Reboot && self.reboots < MOST_REBOOTS;
        self.staged.filter(|_| is_meant)
    }

    /// Runs what is in the other slot.
    fn switch_slots(&mut self) {
        std::mem::swap(&mut self.runs, &mut self.previous);
        self.in_b = !self.in_b;
    }
}
