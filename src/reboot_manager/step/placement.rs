//! The state of the node after a start, after a reboot, and on trial: from the record, which says what was intended, and the
//! engine, which says what has happened.

use super::super::event::{
    Arrival, InstalledOutcome, ManagerEffect, ManagerJob, NodeView, NoteAnswer, Notice, Pause, SlotHealth,
};
use super::super::state::{
    AfterRollback, FailedVersion, HoldRecord, ManagerPhase, Reason, RebootObstacle, WantedReboot,
};
use super::Next;

impl Next {
    /// After a start, and while a slot is on trial: where the node stands.
    pub(super) fn place(&mut self, view: &NodeView) {
        let Some(record) = self.state.record.clone() else {
            return self.place_without_record(view);
        };
        let Some(wanted) = record.wanted.clone() else {
            return self.hold_on();
        };
        if !self.state.has_rebooted() && record.ordered {
            // Until it is certain that the machine doesn't go down: what is called off now would be too late.
            self.state.phase = ManagerPhase::Rebooting;
            return self.start(ManagerJob::Pause(Pause::Shutdown));
        }
        if !self.state.has_rebooted() {
            return if self.state.wanted().is_some() {
                self.wait();
            } else {
                self.call_off();
            };
        }
        match (view.arrival(&wanted), &view.health) {
            // The lock is there already. Not for a reboot that root asks for, which would take the trial's record away:
            // it waits for the end of the trial.
            (Arrival::Back | Arrival::Unknown, _) | (Arrival::There, SlotHealth::NotYet(_))
                if self.state.waiting.is_some() =>
            {
                self.wait_for_another(record, &wanted, view);
            }
            (Arrival::Unknown, _) => self.stay_on_trial("which slot runs can't be told"),
            (Arrival::There, SlotHealth::NotYet(why)) => self.stay_on_trial(why),
            (Arrival::There, SlotHealth::Good) => self.found_good(record, wanted.reason, view),
            // Not of one that was withdrawn after another one had failed. One that is staged still was not activated
            // by the reboot: it has not failed.
            (Arrival::Back, _)
                if (view.is_staged || view.last_outcome == Some(InstalledOutcome::Withdrawn))
                    && view.rollback_since(&record).is_none() =>
            {
                self.call_off();
            }
            (Arrival::Back, _) => self.came_back(record.prepared, view.failure_of(&wanted)),
        }
    }

    /// Whether an earlier process may have ordered a reboot that nobody knows of any more.
    pub(super) fn knows_no_order(&self) -> bool {
        self.state.is_record_lost && self.state.record.is_none()
    }

    /// Until it is certain that the machine doesn't go down: what is given back now would be too early.
    pub(super) fn outlast_a_shutdown(&mut self) {
        self.state.phase = ManagerPhase::Rebooting;
        self.pause(RebootObstacle::RecordLost, Pause::Shutdown);
    }

    /// The first start on this node, or the record is lost. Another manager may have taken the lock in this node's name.
    fn place_without_record(&mut self, view: &NodeView) {
        match &view.health {
            // Only the record has said whether the lock is kept for it. An operator who has released it is believed
            // after the first look at the lock.
            _ if self.state.is_record_lost
                && self.state.after_rollback == AfterRollback::Hold
                && (view.rollback.is_some() || view.last_outcome == Some(InstalledOutcome::RolledBack)) =>
            {
                let failed = view.rollback.clone().unwrap_or_else(|| FailedVersion {
                    version: String::new(),
                    cause: "the node has rolled back, and the record of its lock is lost".to_owned(),
                });
                // What was drained comes back, if anything was.
                self.came_back(true, failed);
            }
            _ if self.state.waiting.is_some() => self.wait(),
            // If the slot isn't known, a record couldn't tell later how its trial ended.
            SlotHealth::NotYet(why) if view.slot.is_none() => self.stay_on_trial(why),
            SlotHealth::NotYet(why) => {
                self.save(HoldRecord {
                    boot: String::new(),
                    wanted: Some(WantedReboot {
                        reason: Reason::Update,
                        version: view.version.clone(),
                        slot: view.slot.clone(),
                    }),
                    prepared: false,
                    failed: None,
                    known_rollback: self.state.known_rollback.clone(),
                    known_installed: self.state.known_installed,
                    ordered: false,
                });
                self.stay_on_trial(why);
            }
            SlotHealth::Good => self.unlock(),
        }
    }

    fn stay_on_trial(&mut self, why: &str) {
        self.state.phase = ManagerPhase::Trial;
        self.state.obstacle = Some(RebootObstacle::OnTrial(why.to_owned()));
    }

    /// The trial is over, or there was none. A cut from here on finds the same again.
    fn found_good(&mut self, record: HoldRecord, reason: Reason, view: &NodeView) {
        if reason == Reason::Request
            && let Some(failed) = view.rollback_since(&record)
        {
            return self.came_back(record.prepared, failed);
        }
        // An earlier rollback is made good by a later update alone: the one that was meant, or one that was installed
        // before the machine went down for root's request.
        let is_made_good = reason == Reason::Update || self.state.is_update_kept;
        let failed = record.failed.filter(|_| !is_made_good);
        self.remember(HoldRecord { failed, ..record });
        self.enter_and_start(ManagerPhase::Settling, ManagerJob::Settle);
    }

    /// Another update waits already, and takes the lock over. If it is withdrawn, the lock is kept for the rollback.
    fn wait_for_another(&mut self, record: HoldRecord, wanted: &WantedReboot, view: &NodeView) {
        let is_back = view.arrival(wanted) == Arrival::Back;
        let is_of_it = |failed: &FailedVersion| is_back && failed.version == wanted.version;
        let failed = view.rollback_since(&record);
        let failed = failed.or_else(|| view.rollback.clone().filter(is_of_it));
        if let Some(failed) = failed
            && self.state.after_rollback == AfterRollback::Hold
        {
            self.effects
                .push(ManagerEffect::Say(Notice::Held(failed.clone())));
            self.save(HoldRecord {
                boot: self.state.boot.clone(),
                failed: Some(failed),
                ordered: false,
                ..record
            });
        }
        self.wait();
    }

    fn came_back(&mut self, prepared: bool, failed: FailedVersion) {
        match self.state.after_rollback {
            AfterRollback::Hold => {
                self.effects
                    .push(ManagerEffect::Say(Notice::Held(failed.clone())));
                self.save(HoldRecord {
                    boot: self.state.boot.clone(),
                    wanted: None,
                    prepared,
                    failed: Some(failed),
                    known_rollback: self.state.known_rollback.clone(),
                    known_installed: self.state.known_installed,
                    ordered: false,
                });
                self.hold_on();
            }
            AfterRollback::Release => {
                self.effects.push(ManagerEffect::Say(Notice::NotHeld(failed)));
                self.call_off();
            }
        }
    }

    /// The lock is kept after a rollback, unless another update waits: it has the lock already.
    pub(super) fn hold_on(&mut self) {
        match &self.state.record {
            // What was drained before the reboot comes back, although the lock stays.
            Some(record) if record.prepared => {
                self.enter_and_start(ManagerPhase::Settling, ManagerJob::Settle);
            }
            // Configured since, or a record that holds it for nothing.
            _ if self.state.after_rollback == AfterRollback::Release => self.unlock(),
            Some(record) if record.failed.is_none() => self.unlock(),
            // One that nobody was asked for, as after a power cut, or that came while post-good.d ran.
            _ if self.state.is_update_kept => self.unlock(),
            _ if self.state.wanted().is_some() => self.wait(),
            _ => {
                self.state.phase = ManagerPhase::Held;
                self.state.obstacle = None;
                self.note();
            }
        }
    }

    pub(super) fn note(&mut self) {
        if let Some(failed) = self
            .state
            .record
            .as_ref()
            .and_then(|record| record.failed.clone())
        {
            self.start(ManagerJob::Note(failed));
        }
    }

    pub(super) fn noted(&mut self, answer: NoteAnswer) {
        self.state.obstacle = None;
        match answer {
            NoteAnswer::Noted => {
                self.state.tries = 0;
                self.start(ManagerJob::Pause(Pause::Look));
            }
            // What was asked for before a cut may still make it one.
            NoteAnswer::NotHeld => self.unlock(),
            NoteAnswer::CannotTell => {}
            NoteAnswer::Failed(why) => self.again_later(RebootObstacle::LockFailed(why)),
        }
    }
}
