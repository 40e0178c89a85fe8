//! A node of the model: its machine, its manager, and what it has asked the lock's server for.

use super::super::super::{
    AfterRollback, HoldRecord, InstalledOutcome, ManagerEffect, ManagerEvent, ManagerJob, ManagerPhase,
    ManagerState, step,
};
use super::EARLIER_BOOT;

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
    pub(super) runs_new: bool,
    pub(super) is_waiting: bool,
    pub(super) is_on_trial: bool,
    pub(super) hangs: bool,
    pub(super) outcome: Option<InstalledOutcome>,
    pub(super) has_failed: bool,
    /// Went down by our order, and is not found good since.
    pub(super) is_ordered: bool,
    /// The update waited when the engine was read for the last time.
    pub(super) was_confirmed: bool,
    /// A reboot was ordered for an update that was withdrawn before.
    pub(super) was_misled: bool,
    pub(super) touched_bad: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) manager: Option<ManagerState>,
    pub(super) disk: Option<HoldRecord>,
    pub(super) running: Option<Running>,
    pub(super) is_holder: bool,
    /// A write that nobody waits for any more, and that may still take effect.
    pub(super) ghost: Option<Write>,
    /// The engine has something to tell.
    pub(super) has_news: bool,
    /// The next record can't be written.
    pub(super) is_full: bool,
}

impl Node {
    /// Something is under way that nobody else sees.
    pub(super) fn is_amid_own_business(&self) -> bool {
        if self.machine.hangs || !self.machine.is_up {
            return false;
        }
        let is_own = |running: &Running| {
            matches!(
                running.job,
                ManagerJob::AwaitWindow
                    | ManagerJob::LookAtWindow
                    | ManagerJob::Prepare
                    | ManagerJob::Notify
                    | ManagerJob::Settle
                    | ManagerJob::Pause(_)
            )
        };
        self.manager.is_none() || self.has_news || self.running.as_ref().is_some_and(is_own)
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

    pub(super) fn go_down(&mut self) {
        self.abandon();
        self.manager = None;
        self.has_news = false;
        let machine = &mut self.machine;
        machine.is_up = false;
        machine.was_confirmed = false;
        if machine.is_on_trial {
            machine.is_on_trial = false;
            machine.runs_new = false;
            machine.outcome = Some(InstalledOutcome::RolledBack);
            machine.has_failed = true;
        }
    }

    pub(super) fn boot(&mut self, is_bad: bool) {
        let machine = &mut self.machine;
        machine.is_up = true;
        if std::mem::take(&mut machine.is_waiting) {
            machine.runs_new = true;
            machine.is_on_trial = true;
            machine.touched_bad = is_bad && machine.is_ordered;
        } else {
            machine.is_ordered = false;
        }
        if let Some(record) = &mut self.disk
            && !record.boot.is_empty()
        {
            EARLIER_BOOT.clone_into(&mut record.boot);
        }
    }

    /// Gives the manager an event, and carries out what follows; says so.
    pub(super) fn tell(&mut self, event: ManagerEvent, after_rollback: AfterRollback) -> String {
        let Some(manager) = &mut self.manager else {
            return String::new();
        };
        manager.after_rollback = after_rollback;
        let (mut after, effects) = step(manager, event);
        // Nothing is decided by these.
        after.tries = 0;
        after.obstacle = None;
        let mut said = format!(" -> {}", after.phase().word());
        *manager = after;
        for effect in effects {
            match effect {
                ManagerEffect::Save(_) if std::mem::take(&mut self.is_full) => {
                    said += &self.tell(ManagerEvent::NotSaved("full".to_owned()), after_rollback);
                    return said;
                }
                ManagerEffect::Save(record) => self.disk = Some(record),
                ManagerEffect::Forget => self.disk = None,
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

    pub(super) fn is_settled(&self, is_taken: bool) -> bool {
        let machine = &self.machine;
        if machine.hangs {
            return self.is_holder || !machine.is_ordered;
        }
        let Some(manager) = &self.manager else {
            return false;
        };
        if !machine.is_up || self.has_news || self.ghost.is_some() {
            return false;
        }
        match manager.phase() {
            ManagerPhase::Idle => {
                !self.is_holder && (machine.runs_new || machine.outcome.is_some()) && self.disk.is_none()
            }
            ManagerPhase::Held => self.is_holder && machine.has_failed,
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
